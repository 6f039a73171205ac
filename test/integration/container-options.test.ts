// Container with a real engine: devices, limits, names and logs that a spec asks for, and what is done to them by hand.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createDocker } from '../../agent/providers/docker.ts';
import { createMounts } from '../../agent/providers/mounts.ts';
import { DOCKER, require } from '../support/capabilities.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';

const KEY = 'Container/app';
const OPTIONS = { timeout: 180_000 };
let engine: TestEngine;

before(async () => {
  if (DOCKER.missing() !== undefined) return;
  engine = await startDockerd();
  await engine.image('test/app:1', ['ENTRYPOINT ["/sbin/tini", "--"]', 'CMD ["sleep", "100000"]']);
});
after(() => engine?.stop());

async function begin(t: TestContext, config?: Record<string, unknown>) {
  const docker = createDocker(engine.address);
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() * 5 };
  const line = new Timeline(t, {
    ports: { docker, clock, mounts: createMounts() },
    withinMs: 60_000,
    ...(config === undefined ? {} : { config }),
  }).start();
  t.after(async () => {
    await line.stop();
    await docker.close();
    await engine.docker('rm', '-f', 'app').catch(() => undefined);
  });
  const assign = (more: object) =>
    line.assign(
      resource('Container', 'app', {
        name: 'app',
        image: 'test/app:1',
        pull: 'never',
        network: 'none',
        stopTimeoutSeconds: 0,
        ...more,
      }),
    );
  const show = (format: string) => engine.docker('inspect', '-f', format, 'app');
  const sh = (command: string) => engine.docker('exec', 'app', 'sh', '-c', command);
  return { line, assign, show, sh };
}

test(
  'a device is there under its name; a link is followed, and another one behind it is noticed',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, assign, show, sh } = await begin(t);
    const link = path.join(temporaryDirectory(t), 'by-id');
    fs.symlinkSync('/dev/zero', link);
    assign({ devices: [`${link}:/dev/gps:r`, '/dev/full'] });
    await line.expect(KEY, 'True');
    assert.equal(await sh('test -c /dev/gps && test -c /dev/full && echo there'), 'there');
    const mapped = () =>
      show(
        '{{range .HostConfig.Devices}}{{.PathOnHost}} {{.PathInContainer}} {{.CgroupPermissions}};{{end}}',
      );
    assert.equal(await mapped(), '/dev/zero /dev/gps r;/dev/full /dev/full rwm;');
    // It was plugged in again, and is another one now.
    fs.unlinkSync(link);
    fs.symlinkSync('/dev/null', link);
    line.agent.reconcile(KEY);
    await eventually(async () => assert.match(await mapped(), /^\/dev\/null \/dev\/gps r;/), 60_000);
    await line.expect(KEY, 'True');
    // It is pulled out: what runs goes on.
    const id = await show('{{.Id}}');
    fs.unlinkSync(link);
    line.agent.reconcile(KEY);
    await line.expect(KEY, 'False', 'DeviceMissing');
    assert.match(line.condition(KEY, 'Ready')!.message, new RegExp(`there is no device ${link}`));
    assert.equal(await show('{{.State.Running}} {{.Id}}'), `true ${id}`);
  },
);

test('a device is granted by where it leads', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const allow = { kinds: ['Container'], images: ['test/app:1'], rootEquivalent: ['device:/dev/null'] };
  const { line, assign, show } = await begin(t, { allow });
  const link = path.join(temporaryDirectory(t), 'disk');
  fs.symlinkSync('/dev/zero', link);
  assign({ devices: [`${link}:/dev/null`] });
  await line.expect(KEY, 'False', 'NotAllowed');
  assert.match(line.condition(KEY, 'Ready')!.message, /root-equivalent device:\/dev\/zero/);
  fs.unlinkSync(link);
  fs.symlinkSync('/dev/null', link);
  line.agent.reconcile(KEY);
  await line.expect(KEY, 'True');
  assert.equal(await show('{{.State.Running}}'), 'true');
});

test(
  'limits are as the spec says, also after docker update; groups and names are in the container',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, assign, show, sh } = await begin(t);
    assign({
      cpus: 0.5,
      pidsLimit: 50,
      memory: '64m',
      ulimits: { nofile: { soft: 100, hard: 200 } },
      groupAdd: ['999'],
      extraHosts: { 'db.local': '10.0.0.5' },
    });
    await line.expect(KEY, 'True');
    const limits = () => show('{{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.Memory}}');
    const right = '500000000 50 67108864';
    assert.equal(await limits(), right);
    assert.equal(await sh('ulimit -Sn; ulimit -Hn'), '100\n200');
    assert.match(await sh('grep Groups: /proc/1/status'), /\b999\b/);
    assert.match(await sh('cat /etc/hosts'), /^10\.0\.0\.5\s+db\.local$/m);
    const id = await show('{{.Id}}');
    await engine.docker('update', '--cpus=1', '--pids-limit=7', 'app');
    await eventually(async () => assert.equal(await limits(), right), 60_000);
    assert.equal(await show('{{.Id}}'), id, 'the same container');
    // What can't be changed of one that exists makes another one.
    assign({ cpus: 0.5, pidsLimit: 50, memory: '64m', extraHosts: { 'db.local': '10.0.0.6' } });
    await eventually(
      async () => assert.match(await sh('cat /etc/hosts'), /^10\.0\.0\.6\s+db\.local$/m),
      60_000,
    );
    await line.expect(KEY, 'True');
    assert.equal(await limits(), right);
  },
);

test(
  'what it writes goes where the spec says, and another way makes another container',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, assign, show } = await begin(t);
    const config = () => show('{{.HostConfig.LogConfig.Type}} {{json .HostConfig.LogConfig.Config}}');
    assign({ logging: { driver: 'local', options: { 'max-size': '1m', 'max-file': '2' } } });
    await line.expect(KEY, 'True');
    assert.equal(await config(), 'local {"max-file":"2","max-size":"1m"}');
    assign({ logging: { options: { 'max-size': '5m' } } });
    await eventually(async () => assert.equal(await config(), 'json-file {"max-size":"5m"}'), 60_000);
    await line.expect(KEY, 'True');
    assign({ logging: { driver: 'local', options: { nonsense: 'x' } } });
    await line.expect(KEY, 'False', 'RolledBack');
    assert.match(line.condition(KEY, 'Ready')!.message, /Refused: .*nonsense/);
    assert.equal(await config(), 'json-file {"max-size":"5m"}');
  },
);
