// The cases of ../shared/cases that need systemd or apt, each as its README says: inputs that failed once, tried with the
// command line on a booted host (../cases.test.ts). Read from beside the repository; nothing else refers to them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { createFiles } from '../../../agent/providers/files.ts';
import { createHttp } from '../../../agent/providers/http.ts';
import { createProcesses } from '../../../agent/providers/processes.ts';
import { aptRepository } from '../../../kinds/apt-repository/index.ts';
import { SHARED_CASES } from '../../support/capabilities.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';
import { begin, shell, systemctl, WITHIN_MS } from './cases-support.ts';

const shows = (unit: string, property: string): string => systemctl('show', '-P', property, unit);

test('15: units that can’t be enabled run, and say why they are not enabled', (t) => {
  const { once, directory } = begin(t, '15');
  shell(`cp ${directory}/units/* /etc/systemd/system/ && systemctl daemon-reload`);
  t.after(() => shell('systemctl stop bug15-indirect bug15-queue@1; rm -f /etc/systemd/system/bug15-*'));
  const first = once();
  for (const said of [first, once()]) {
    assert.match(said.text, /bug15-indirect\.service is indirect: .*bug15-indirect\.socket/);
    assert.match(said.text, /bug15-queue@1\.service is static: it has no \[Install\]/);
    assert.notEqual(said.status, 0);
  }
  for (const unit of ['bug15-indirect.service', 'bug15-queue@1.service']) {
    assert.equal(shows(unit, 'ActiveState'), 'active', `${unit}\n${first.text}`);
  }
  const invocations = ['bug15-indirect.service', 'bug15-queue@1.service'].map((u) =>
    shows(u, 'InvocationID'),
  );
  once();
  assert.deepEqual(
    ['bug15-indirect.service', 'bug15-queue@1.service'].map((u) => shows(u, 'InvocationID')),
    invocations,
  );
});

test('18: a job that its timer runs is neither started nor killed', async (t) => {
  const { once, edit } = begin(t, '18');
  const runs = '/var/lib/bug18.runs';
  t.after(() => fs.rmSync(runs, { force: true }));
  edit((text) =>
    text.replace('  unit: bug18-job.service\n', '  unit: bug18-job.service\n  state: unmanaged\n'),
  );
  const first = once();
  assert.equal(first.status, 0, first.text);
  edit((text) => text.replace('sleep 20', 'sleep 3'));
  const second = once();
  assert.equal(second.status, 0, second.text);
  assert.equal(fs.existsSync(runs), false, 'it ran');
  assert.match(fs.readFileSync('/etc/systemd/system/bug18-job.service', 'utf8'), /sleep 3/);
  systemctl('start', '--no-block', 'bug18-job.service');
  const third = once();
  assert.equal(third.status, 0, third.text);
  await eventually(() => assert.match(fs.readFileSync(runs, 'utf8'), /done/), WITHIN_MS);
});

test('19: a drop-in that leaves the manifest is gone, and one by hand is reported', (t) => {
  const { once, edit } = begin(t, '19');
  const first = once();
  assert.equal(first.status, 0, first.text);
  assert.equal(shows('bug19.service', 'MemoryMax'), String(64 * 1024 * 1024));
  const started = shows('bug19.service', 'ExecMainStartTimestampMonotonic');
  edit((text) => text.replace(/ {4}10-memory\.conf:[\s\S]*?(?= {4}20-env)/, ''));
  const second = once();
  assert.equal(second.status, 0, second.text);
  assert.deepEqual(fs.readdirSync('/etc/systemd/system/bug19.service.d'), ['20-env.conf']);
  assert.equal(shows('bug19.service', 'MemoryMax'), 'infinity');
  assert.equal(shows('bug19.service', 'Environment'), 'STAGE=one');
  const restarted = shows('bug19.service', 'ExecMainStartTimestampMonotonic');
  assert.notEqual(restarted, started);
  fs.writeFileSync('/etc/systemd/system/bug19.service.d/30-hand.conf', '[Service]\nEnvironment=HAND=1\n');
  const third = once();
  assert.match(third.text, /30-hand\.conf/);
  assert.equal(shows('bug19.service', 'NeedDaemonReload'), 'no');
  assert.equal(shows('bug19.service', 'ExecMainStartTimestampMonotonic'), restarted);
});

test('21: a process of an older package is restarted, or its deleted program is reported', (t) => {
  const { directory, once, edit } = begin(t, '21');
  shell(`${directory}/make-repo.sh`);
  t.after(() => shell('apt-get -qy purge bug21-agent; rm -rf /srv/bug21 /etc/apt/sources.list.d/bug21.list'));
  const first = once();
  assert.equal(first.status, 0, first.text);
  const program = (): string => fs.readlinkSync(`/proc/${shows('bug21-agent', 'MainPID')}/exe`);
  assert.doesNotMatch(program(), /deleted/);
  edit((text) => text.replace('1.0-1', '1.1-1'));
  const upgraded = once();
  if (/deleted/.test(program()))
    assert.match(upgraded.text, /bug21-agent-bin \(deleted\)|replaced/, upgraded.text);
  edit((text) => text.replace('  state: running', '  state: running\n  restartOn: [Package/bug21]'));
  const restarted = once();
  assert.equal(restarted.status, 0, restarted.text);
  assert.doesNotMatch(program(), /deleted/);
  assert.equal(fs.readFileSync('/run/bug21.version', 'utf8').trim(), '1.1');
  // By hand, behind its back.
  edit((text) => text.replace('1.1-1', '1.*'));
  shell('apt-get -qy --allow-downgrades install bug21-agent=1.0-1 && apt-get -qy install bug21-agent=1.1-1');
  const again = once();
  assert.doesNotMatch(program(), /deleted/, again.text);
});

test('23: a pin of the host’s owner is kept, and named where it stands in the way', (t) => {
  const { directory, once, edit } = begin(t, '23');
  const maker = path.join(
    SHARED_CASES,
    fs.readdirSync(SHARED_CASES).find((name) => name.startsWith('21-'))!,
    'make-repo.sh',
  );
  shell(`sh -e ${maker}`);
  const purge = (): string => shell('apt-get -qy purge bug21-agent || true');
  t.after(() => {
    purge();
    shell('rm -rf /srv/bug21 /etc/apt/sources.list.d/bug21.list /etc/apt/preferences.d/bug23');
  });
  const installed = (): string => shell("dpkg-query -W -f '${Version}' bug21-agent 2>/dev/null || true");
  const version = (wanted: string): void => edit((text) => text.replace(/version: .*/, `version: ${wanted}`));
  for (const [pin, wanted] of [
    ['a', '1.*'],
    ['a', 'latest'],
    ['a', 'present'],
    ['b', '1.*'],
    ['b', 'latest'],
  ] as const) {
    shell(`sh ${directory}/pins.sh ${pin}`);
    purge();
    version(`'${wanted}'`);
    const said = once();
    assert.equal(installed(), '1.0-1', `${pin} ${wanted}: ${said.text}`);
    assert.equal(said.status, 0, said.text);
    const again = once();
    assert.doesNotMatch(again.text, /Applied|downgrade/i, again.text);
  }
  // A host that never had it: nothing that was confirmed is kept up instead.
  shell(`sh ${directory}/pins.sh a`);
  purge();
  fs.rmSync(path.join(directory, 'state'), { recursive: true });
  version('1.1-1');
  const refused = once();
  assert.equal(installed(), '', refused.text);
  assert.match(refused.text, /pin/i);
  assert.match(refused.text, /-1/);
});

test('24: another source with another keyring is named, apt works on, and it goes on by itself', async (t) => {
  const { directory, once, edit, document } = begin(t, '24');
  const OTHER = '/etc/apt/sources.list.d/old-way.list';
  const fingerprint = shell(`sh -e ${directory}/make-signed-repo.sh`).split('\n').at(-1)!;
  t.after(() => shell(`rm -rf /srv/bug24 ${OTHER} /usr/share/keyrings/bug24.gpg`));
  edit((text) => text.replace(/fingerprint: .*/, `fingerprint: '${fingerprint}'`));
  // Whatever apt is doing meanwhile: ours must not come to stand beside the other one.
  let ours = 0;
  const watcher = fs.watch('/etc/apt/sources.list.d', (_, name) => {
    if (name === 'bug24.sources') ours += 1;
  });
  const said = once();
  assert.notEqual(said.status, 0);
  assert.match(said.text, /old-way\.list names the same repository/);
  assert.match(said.text, /\/usr\/share\/keyrings\/bug24\.gpg/);
  assert.match(said.text, /\/etc\/apt\/keyrings\/bug24\.gpg/);
  shell('apt-get update -qq');
  await new Promise((resolve) => setImmediate(resolve));
  watcher.close();
  assert.equal(ours, 0, 'it was written');

  const other = fs.readFileSync(OTHER);
  const { spec } = load(fs.readFileSync(document, 'utf8')) as { spec: object };
  const [files, http, processes] = [createFiles(), createHttp(), createProcesses()];
  t.after(() => Promise.all([files.close(), http.close()]));
  const line = new Timeline(t, {
    kinds: new Map([[aptRepository.kind, aptRepository]]),
    ports: { files, http, processes },
    withinMs: WITHIN_MS,
  }).start();
  line.assign(resource('AptRepository', 'bug24', spec));
  await line.expect('AptRepository/bug24', 'False', 'SourceConflict');
  fs.rmSync(OTHER);
  await line.expect('AptRepository/bug24', 'True');
  shell('apt-get update -qq');
  // The other order: it appears after ours was confirmed.
  fs.writeFileSync(OTHER, other);
  await line.expect('AptRepository/bug24', 'False', 'SourceConflict');
  fs.rmSync(OTHER);
  await line.expect('AptRepository/bug24', 'True');
  line.assign();
  await line.expectGone('AptRepository/bug24');
});

test('25: a signing subkey that was renewed is fetched by itself', async (t) => {
  const { directory, once, edit } = begin(t, '25');
  const fingerprint = shell(`sh -e ${directory}/keys.sh start`).split('\n').at(-1)!;
  const server = spawn('python3', ['-m', 'http.server', '8325', '--bind', '127.0.0.1'], {
    cwd: '/srv/bug25',
    stdio: 'ignore',
  });
  t.after(() => {
    server.kill();
    shell('rm -rf /srv/bug25');
  });
  await eventually(() => void shell('curl -fsS http://127.0.0.1:8325/key.asc >/dev/null'), WITHIN_MS);
  edit((text) => text.replace(/fingerprint: .*/, `fingerprint: '${fingerprint}'`));
  const first = once();
  assert.equal(first.status, 0, first.text);
  shell(`sh -e ${directory}/keys.sh rotate; rm -f /var/lib/apt/lists/*bug25*`);
  const second = once();
  assert.equal(second.status, 0, second.text);
  shell('apt-get update -qq');
});
