// How a unit's runs end, with a real agent under a real systemd. Runs inside a booted host (../systemd.test.ts). All at
// once, since each of them has to wait: for a gate to settle, or for a minute.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import { createFiles } from '../../../agent/providers/files.ts';
import { createSystemd } from '../../../agent/providers/systemd.ts';
import { file } from '../../../kinds/file/index.ts';
import { service } from '../../../kinds/service/index.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const units = createSystemd();
const files = createFiles();
after(async () => {
  await units.close();
  await files.close();
});

const WITHIN_MS = 100_000;
const SLEEP = '/bin/sleep 1000';
const systemctl = (...args: string[]): string =>
  execFileSync('systemctl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
const text = (program: string, more = '') =>
  `[Service]\nExecStart=${program}\n${more}\n[Install]\nWantedBy=multi-user.target\n`;

/** A Service document and an agent for it; `again` is the next agent on the same state. */
function setting(t: TestContext, name: string) {
  const directory = temporaryDirectory(t);
  const unit = `${name}.service`;
  const key = `Service/${name}`;
  const start = () =>
    new Timeline(t, {
      directory,
      kinds: new Map([service, file].map((kind) => [kind.kind, kind])),
      ports: { files, units },
      withinMs: WITHIN_MS,
    }).start();
  const document = (spec: object) => resource('Service', name, { unit, ...spec });
  const of = (content: string) => document({ unitFile: { content } });
  return { unit, key, start, document, of, line: start() };
}

const reads = (line: Timeline, key: string, pattern: RegExp) =>
  eventually(() => assert.match(line.condition(key, 'Ready')?.message ?? '', pattern), WITHIN_MS);

describe('runs', { concurrency: 20 }, () => {
  test('one that dies three seconds after its start is never confirmed', async (t) => {
    const { unit, key, line, of } = setting(t, 'dies');
    line.assign(of(text(SLEEP)));
    await line.expect(key, 'True');
    line.assign(of(text("/bin/sh -c 'sleep 3; exit 7'")));
    await line.expect(key, 'False', 'RolledBack');
    await reads(
      line,
      key,
      /CrashLoop: .*ended by itself 3\.\d s after its start \(exit-code\).*journalctl -u dies/,
    );
    assert.equal(fs.readFileSync(`/etc/systemd/system/${unit}`, 'utf8'), text(SLEEP));
    await eventually(async () => assert.equal((await units.show(unit)).activeState, 'active'));
  });

  test('and neither is one that systemd starts again and again', async (t) => {
    const { key, line, of } = setting(t, 'loops');
    line.assign(of(text("/bin/sh -c 'sleep 2; exit 7'", 'Restart=always\nRestartSec=10ms')));
    await line.expect(key, 'False', 'RolledBack');
    await reads(line, key, /CrashLoop/);
  });

  test('start-limit-hit: nothing is started, by this agent or by the next, until a person mends it', async (t) => {
    const { unit, key, line, start, of } = setting(t, 'limited-starts');
    const broken = '/run/limited-starts-is-broken';
    const program = `/bin/sh -c 'test -e ${broken} || exec sleep 1000; exit 7'`;
    const wanted = of(text(program, 'Restart=always\nRestartSec=10ms'));
    line.assign(wanted);
    await line.expect(key, 'True');
    fs.writeFileSync(broken, '');
    systemctl('kill', '--signal=KILL', unit);
    await line.expect(key, 'False', 'CrashLoop');
    await reads(line, key, /restarted \d+ times before; it is started again in \d+ s/);
    const { invocationID } = await units.show(unit);
    await line.stop();
    const next = start().assign(wanted);
    await next.expect(key, 'False', 'CrashLoop');
    next.agent.reconcile();
    await next.expect(key, 'False', 'CrashLoop');
    assert.equal((await units.show(unit)).invocationID, invocationID);
    fs.unlinkSync(broken);
    systemctl('reset-failed', unit);
    systemctl('start', unit);
    await next.expect(key, 'True');
  });

  test('a long RestartSec is systemd’s to wait for, and no new commit’s', async (t) => {
    const { unit, key, line, of } = setting(t, 'waits');
    const more = 'Restart=on-failure\nRestartSec=1h';
    line.assign(of(text(SLEEP, more)));
    await line.expect(key, 'True');
    systemctl('kill', '--signal=KILL', unit);
    await line.expect(key, 'False', 'Restarting');
    await reads(line, key, /its manager starts it again in 3[56]\d\d s/);
    assert.equal((await units.show(unit)).subState, 'auto-restart');
    line.assign(of(text('/bin/sleep 2000', more)));
    await line.expect(key, 'True');
  });

  test('one that is killed young is started again after a minute', async (t) => {
    const { unit, key, line, of } = setting(t, 'killed');
    line.assign(of(text(SLEEP)));
    await line.expect(key, 'True');
    systemctl('kill', '--signal=KILL', unit);
    await line.expect(key, 'False', 'CrashLoop');
    const ended = (await units.show(unit)).inactiveSinceMs;
    await line.expect(key, 'True');
    assert.ok((await units.show(unit)).startedAtMs >= ended + 60_000);
  });

  test('one that is stopped is started at once, also one that fails when it is stopped', async (t) => {
    const program = '/bin/sh -c \'trap "exit 143" TERM; while :; do sleep 0.01; done\'';
    for (const [name, content] of [
      ['stopped', text(SLEEP)],
      ['fails-when-stopped', text(program)],
    ] as const) {
      const { unit, key, line, of } = setting(t, name);
      line.assign(of(content));
      await line.expect(key, 'True');
      const { startedAtMs } = await units.show(unit);
      systemctl('stop', unit);
      await eventually(async () => {
        const now = await units.show(unit);
        assert.deepEqual([now.activeState, now.startedAtMs > startedAtMs], ['active', true]);
      });
      await line.expect(key, 'True');
    }
  });

  test('a oneshot that takes long is reported as running, and ends with its document', async (t) => {
    const { unit, key, line, of } = setting(t, 'long-job');
    line.assign(of(text(SLEEP, 'Type=oneshot')));
    await line.expect(key, 'Unknown', 'Activating');
    line.assign();
    await line.expectGone(key);
    await eventually(async () => assert.equal((await units.show(unit)).activeState, 'inactive'));
  });

  test('a start that takes too long for the unit is rolled back', async (t) => {
    const { key, line, of } = setting(t, 'never-ready');
    line.assign(of(text(SLEEP, 'Type=notify\nTimeoutStartSec=7')));
    await line.expect(key, 'False', 'RolledBack');
    await reads(line, key, /timeout/);
  });

  test('one whose condition does not hold is reported, and started when it holds', async (t) => {
    const { unit, key, line, of } = setting(t, 'conditional');
    const flag = '/run/conditional-may-run';
    fs.writeFileSync(flag, '');
    line.assign(of(`[Unit]\nConditionPathExists=${flag}\n${text(SLEEP)}`));
    await line.expect(key, 'True');
    fs.unlinkSync(flag);
    systemctl('stop', unit);
    await line.expect(key, 'False', 'StartSkipped');
    fs.writeFileSync(flag, '');
    await line.expect(key, 'True');
  });

  test('a drop-in that the document has no longer is out of force, and the unit restarted once', async (t) => {
    const { unit, key, line, document } = setting(t, 'dropped');
    const directory = `/etc/systemd/system/${unit}.d`;
    const dropIn = (content: string) => ({ content: `[Service]\n${content}\n` });
    const env = { '20-env.conf': dropIn('Environment=STAGE=one') };
    const memory = { '10-memory.conf': dropIn('MemoryMax=64M') };
    const unitFile = { content: text(SLEEP) };
    const show = (property: string) => systemctl('show', `--property=${property}`, '--value', unit);
    line.assign(document({ unitFile, dropIns: { ...memory, ...env } }));
    await line.expect(key, 'True');
    assert.equal(show('MemoryMax'), '67108864');
    const first = (await units.show(unit)).invocationID;
    line.assign(document({ unitFile, dropIns: env }));
    const { invocationID } = await eventually(async () => {
      const now = await units.show(unit);
      assert.notEqual(now.invocationID, first);
      return now;
    });
    await line.expect(key, 'True');
    assert.deepEqual(fs.readdirSync(directory), ['20-env.conf']);
    assert.deepEqual([show('MemoryMax'), show('Environment')], ['infinity', 'STAGE=one']);
    assert.equal(show('NeedDaemonReload'), 'no');
    fs.writeFileSync(path.join(directory, '30-hand.conf'), dropIn('Nice=3').content);
    await eventually(
      () => assert.match(line.condition(key, 'ForeignUnitFiles')?.message ?? '', /by \S*30-hand\.conf;/),
      WITHIN_MS,
    );
    assert.equal((await units.show(unit)).invocationID, invocationID);
    line.assign();
    await line.expectGone(key);
    assert.deepEqual(fs.readdirSync(directory), ['30-hand.conf']);
  });

  test('static and indirect units are refused, in words, and nothing is reloaded for them', async (t) => {
    const { key, line, document } = setting(t, 'indirect');
    const place = '/etc/systemd/system/indirect';
    fs.writeFileSync(`${place}.service`, `[Service]\nExecStart=${SLEEP}\n[Install]\nAlso=indirect.socket\n`);
    fs.writeFileSync(
      `${place}.socket`,
      '[Socket]\nListenStream=/run/indirect.sock\n[Install]\nWantedBy=sockets.target\n',
    );
    await units.daemonReload();
    assert.equal((await units.show('indirect.service')).unitFileState, 'indirect');
    line.assign(document({ enabled: true }));
    await line.expect(key, 'False', 'CannotBeEnabled');
    await reads(line, key, /indirect.*enabled: true in a Service for indirect\.socket/);
    assert.equal((await units.show('indirect.socket')).unitFileState, 'disabled');
    line.assign(document({}));
    await line.expect(key, 'True');
  });

  test('a frozen unit is not Ready', async (t) => {
    const { unit, key, line, of } = setting(t, 'frozen');
    line.assign(of(text(SLEEP)));
    await line.expect(key, 'True');
    try {
      systemctl('freeze', unit);
    } catch (error) {
      return t.skip(`this kernel or cgroup cannot freeze: ${String(error)}`);
    }
    line.agent.reconcile();
    await line.expect(key, 'False', 'Frozen');
    systemctl('thaw', unit);
    line.agent.reconcile();
    await line.expect(key, 'True');
  });
});
