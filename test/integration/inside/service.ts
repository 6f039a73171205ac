// Service with a real agent under a real systemd. Runs inside a booted host (../systemd.test.ts).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { after, type TestContext, test } from 'node:test';
import { createFiles } from '../../../agent/providers/files.ts';
import { createSystemd } from '../../../agent/providers/systemd.ts';
import { file } from '../../../kinds/file/index.ts';
import { service } from '../../../kinds/service/index.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const units = createSystemd();
const files = createFiles();
after(async () => {
  await units.close();
  await files.close();
});

const systemctl = (...args: string[]): string =>
  execFileSync('systemctl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const text = (program: string, more = '') =>
  `[Service]\nExecStart=${program}\n${more}\n[Install]\nWantedBy=multi-user.target\n`;
const SLEEP = '/bin/sleep 1000';

function agent(t: TestContext): Timeline {
  return new Timeline(t, {
    kinds: new Map([service, file].map((kind) => [kind.kind, kind])),
    ports: { files, units },
  }).start();
}

async function state(unit: string) {
  const { activeState, unitFileState, loadState } = await units.show(unit);
  return `${activeState} ${unitFileState} ${loadState}`;
}

for (const ours of [true, false]) {
  const unit = ours ? 'ours.service' : 'packaged.service';
  const place = `${ours ? '/etc' : '/lib'}/systemd/system/${unit}`;
  test(`whatever happens to a unit ${ours ? 'of ours' : 'of a package'}, it is mended`, async (t) => {
    if (!ours) {
      fs.writeFileSync(place, text(SLEEP));
      await units.daemonReload();
    }
    const key = 'Service/s';
    const line = agent(t).assign(
      resource('Service', 's', {
        unit,
        enabled: true,
        ...(ours ? { unitFile: { content: text(SLEEP) } } : {}),
      }),
    );
    await line.expect(key, 'True');
    assert.equal(await state(unit), 'active enabled loaded');
    const enabling = `/etc/systemd/system/multi-user.target.wants/${unit}`;
    const breakages: Record<string, () => void> = {
      stop: () => systemctl('stop', unit),
      disable: () => systemctl('disable', unit),
      'disable and stop': () => systemctl('disable', '--now', unit),
      'enabling link removed': () => fs.unlinkSync(enabling),
      'mask until reboot': () => systemctl('mask', '--runtime', unit),
      ...(ours
        ? {
            'unit file edited': () => fs.writeFileSync(place, text('/bin/false')),
            'unit file edited, loaded and restarted': () => {
              fs.writeFileSync(place, text('/bin/sleep 2000'));
              systemctl('daemon-reload');
            },
            'unit file deleted': () => fs.unlinkSync(place),
            'a mask in its place': () => {
              fs.unlinkSync(place);
              fs.symlinkSync('/dev/null', place);
              systemctl('daemon-reload');
            },
          }
        : {
            mask: () => systemctl('mask', unit),
            'mask and stop': () => systemctl('mask', '--now', unit),
          }),
    };
    for (const [name, breakIt] of Object.entries(breakages)) {
      const before = line.status(key).healedTotal;
      const began = performance.now();
      breakIt();
      await eventually(async () => {
        assert.ok(
          line.status(key).healedTotal > before || name === 'mask until reboot',
          `${name}: not healed`,
        );
        assert.equal(await state(unit), 'active enabled loaded', name);
        assert.equal((await units.show(unit)).needDaemonReload, false, name);
        if (ours) assert.equal(fs.readFileSync(place, 'utf8'), text(SLEEP), name);
      });
      t.diagnostic(`healed: ${name}, ${(performance.now() - began).toFixed(0)} ms with the command itself`);
    }
    await line.expect(key, 'True');
    line.assign();
    await line.expectGone(key);
    assert.equal(await state(unit), ours ? 'inactive  not-found' : 'inactive disabled loaded');
    assert.equal(fs.existsSync(place), !ours);
  });
}

test('what does not load, start or stay is undone: the old unit runs again', async (t) => {
  const unit = 'gate.service';
  const key = 'Service/gate';
  const place = `/etc/systemd/system/${unit}`;
  const line = agent(t);
  const assign = (content: string) =>
    line.assign(resource('Service', 'gate', { unit, unitFile: { content } }));
  assign(text(SLEEP));
  await line.expect(key, 'True');
  const bad: Record<string, string> = {
    'no such setting': '[Service]\nNonsense\n',
    'no such program': text('/no/such/program', 'Type=exec'),
    'ends at once': text('/bin/false'),
    'ends at once, again and again': text('/bin/false', 'Restart=always\nRestartSec=10ms'),
    'ends within the second': text("/bin/sh -c 'sleep 0.3; exit 1'"),
    'not ready in time': text(SLEEP, 'Type=notify\nTimeoutStartSec=1'),
  };
  for (const [name, content] of Object.entries(bad)) {
    assign(content);
    await line.expect(key, 'False', 'RolledBack').catch((error) => {
      throw new Error(`${name}: ${error.message}`);
    });
    t.diagnostic(`healed: ${name}: ${line.condition(key, 'Ready')!.message}`);
    assert.equal(fs.readFileSync(place, 'utf8'), text(SLEEP), name);
    await eventually(async () => assert.equal((await units.show(unit)).activeState, 'active', name));
    assign(text(SLEEP));
    await line.expect(key, 'True');
  }
});

test('what is stopped while systemd or the bus is started anew, and after, is started again', async (t) => {
  const unit = 'rearmed.service';
  const key = 'Service/rearmed';
  const line = agent(t).assign(resource('Service', 'rearmed', { unit, unitFile: { content: text(SLEEP) } }));
  await line.expect(key, 'True');
  const stop = () => systemctl('stop', unit);
  const anew: Record<string, () => void> = {
    'systemd re-executes': () => systemctl('daemon-reexec'),
    'the bus restarts': () => systemctl('restart', 'dbus.service'),
    'the bus is killed': () => systemctl('kill', '--signal=KILL', 'dbus.service'),
    'stopped right after systemd re-executes': () => {
      systemctl('daemon-reexec');
      stop();
    },
    'stopped while there is no bus': () => {
      systemctl('stop', 'dbus.socket', 'dbus.service');
      stop();
      systemctl('start', 'dbus.socket', 'dbus.service');
    },
  };
  const runs = (name: string) =>
    eventually(async () => assert.equal((await units.show(unit)).activeState, 'active', name));
  for (const [name, act] of Object.entries(anew)) {
    act();
    await runs(name);
    await line.expect(key, 'True');
    stop();
    await runs(`${name}, and stopped then`);
  }
});

test('a drop-in is in force at once, also in a directory that is new to systemd', async (t) => {
  const unit = 'limited.service';
  const key = 'Service/limited';
  fs.writeFileSync(`/lib/systemd/system/${unit}`, text(SLEEP));
  systemctl('daemon-reload');
  const line = agent(t);
  const dropIns = (nice: number) => ({ '10-nice.conf': { content: `[Service]\nNice=${nice}\n` } });
  line.assign(resource('Service', 'limited', { unit, dropIns: dropIns(7) }));
  await line.expect(key, 'True');
  const nice = () => systemctl('show', '--property=Nice', '--value', unit).trim();
  assert.equal(nice(), '7');
  line.assign(resource('Service', 'limited', { unit, dropIns: dropIns(9) }));
  await eventually(() => assert.equal(nice(), '9'));
  await line.expect(key, 'True');
  line.assign();
  await line.expectGone(key);
  assert.equal(nice(), '0');
  assert.equal(fs.existsSync(`/etc/systemd/system/${unit}.d`), false);
});

test('restartOn restarts once for a changed file, and not for what was there before', async (t) => {
  const unit = 'reader.service';
  const key = 'Service/reader';
  fs.writeFileSync(`/lib/systemd/system/${unit}`, text(SLEEP));
  fs.writeFileSync('/etc/reader.conf', 'a');
  systemctl('daemon-reload');
  systemctl('start', unit);
  const { invocationID } = await units.show(unit);
  const line = agent(t);
  const assign = (content: string) =>
    line.assign(
      resource('File', 'conf', { path: '/etc/reader.conf', content }),
      resource('Service', 'reader', { unit, restartOn: ['File/conf'] }),
    );
  assign('a');
  await line.expect(key, 'True');
  await line.expect('File/conf', 'True');
  assert.equal((await units.show(unit)).invocationID, invocationID, 'adopted as it ran');
  assign('b');
  const second = await eventually(async () => {
    const now = (await units.show(unit)).invocationID;
    assert.notEqual(now, invocationID);
    return now;
  });
  await line.expect(key, 'True');
  line.agent.reconcile();
  fs.writeFileSync('/etc/reader.conf', 'edited'); // healed: the process has what it began with
  await eventually(() => assert.equal(fs.readFileSync('/etc/reader.conf', 'utf8'), 'b'));
  await line.expect(key, 'True');
  assert.equal((await units.show(unit)).invocationID, second);
});

test('a oneshot runs once, and again when its unit changes', async (t) => {
  const unit = 'once.service';
  const key = 'Service/once';
  const content = (word: string) => text(`/bin/sh -c 'echo ${word} >>/run/once'`, 'Type=oneshot');
  const line = agent(t).assign(resource('Service', 'once', { unit, unitFile: { content: content('one') } }));
  await line.expect(key, 'True');
  line.agent.reconcile();
  await line.expect(key, 'True');
  line.assign(resource('Service', 'once', { unit, unitFile: { content: content('two') } }));
  await eventually(() => assert.equal(fs.readFileSync('/run/once', 'utf8'), 'one\ntwo\n'));
  await line.expect(key, 'True');
});
