// What is in a container's anonymous volume stays there, whatever becomes of the container; and what else the kind does
// by itself, without an agent, on a real engine.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createDocker } from '../../agent/providers/docker.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createMounts } from '../../agent/providers/mounts.ts';
import { changesOf, observe } from '../../kinds/container/found.ts';
import { container } from '../../kinds/container/index.ts';
import { bringAbout } from '../../kinds/container/replace.ts';
import { ContainerSpec, type D } from '../../kinds/container/schema.ts';
import { beforeOf, undo } from '../../kinds/container/undo.ts';
import { inspect } from '../../kinds/docker-engine.ts';
import { DOCKER, require } from '../support/capabilities.ts';
import { desiredOf } from '../support/desired.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';

const NAME = 'db';
const never = new AbortController().signal;
const OPTIONS = { timeout: 180_000 };
let engine: TestEngine;

before(async () => {
  if (DOCKER.missing() !== undefined) return;
  engine = await startDockerd();
  const made = ['ENTRYPOINT ["/sbin/tini", "--"]', 'CMD ["sleep", "100000"]', 'VOLUME /data'];
  await engine.image('test/db:1', made);
  await engine.image('test/db:2', made);
});
beforeEach(async () => {
  const all = (await engine?.docker('ps', '--all', '--quiet'))?.split('\n').filter(Boolean) ?? [];
  if (all.length > 0) await engine.docker('rm', '--force', '--volumes', ...all);
});
after(() => engine?.stop());

function host() {
  const io = {
    docker: createDocker(engine.address),
    files: createFiles(),
    mounts: createMounts(),
    clock: systemClock,
  };
  const desire = (more: object = {}, rest: Partial<D> = {}): D => {
    const spec = { name: NAME, image: 'test/db:1', pull: 'never', network: 'none', ...more };
    return desiredOf('Container/db', ContainerSpec.parse(spec), rest);
  };
  const what = async (d: D) => changesOf(d, await observe(d, io, never)).map((change) => change.what);
  const apply = async (d: D) => bringAbout(changesOf(d, await observe(d, io, never)), d, io, never);
  const held = async () => beforeOf(await inspect(io.docker, NAME, never));
  const back = (to: ReturnType<typeof beforeOf>, docker = io.docker) =>
    undo(to, { ...desire(), key: 'Container/db', owns: [] }, { ...io, docker }, never);
  const close = () => Promise.all([io.docker.close(), io.files.close()]);
  return { io, desire, what, apply, held, back, close };
}

const show = (format: string) => engine.docker('inspect', '--format', format, NAME);
const write = () => engine.docker('exec', NAME, 'sh', '-c', 'echo precious > /data/x');
const read = () => engine.docker('exec', NAME, 'cat', '/data/x');
const volumes = async () => (await engine.docker('volume', 'ls', '--quiet')).split('\n').filter(Boolean);
const containers = async () => (await engine.docker('ps', '--all', '--quiet')).split('\n').filter(Boolean);

test(
  'an image bump, a rollback, a heal and a removal keep what is in an anonymous volume',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { desire, apply, what, held, back, close } = host();
    t.after(close);
    const nothing = await held();
    const first = await apply(desire());
    await write();
    const made = await show('{{.Id}}');

    const one = await held();
    const second = await apply(desire({ image: 'test/db:2' }, { memory: first }));
    assert.equal(await show('{{.Config.Image}}'), 'test/db:2');
    assert.equal(await read(), 'precious', 'after an image bump');
    await back(one);
    assert.equal(await show('{{.Id}}'), made);
    assert.equal(await read(), 'precious', 'after a rollback');

    await apply(desire({ image: 'test/db:2' }, { memory: first }));
    const confirmed = desire({ image: 'test/db:2' }, { memory: second, heal: true });
    assert.deepEqual(
      await what({ ...confirmed, heal: false }),
      [],
      'the old one waits while it may be needed',
    );
    assert.match((await what(confirmed)).join(), /^also db\.homeostat-kept-/);
    await apply(confirmed);
    assert.deepEqual(await what(confirmed), []);
    assert.equal((await containers()).length, 1, 'the old one goes once the new one is confirmed');
    assert.equal(await read(), 'precious');

    await engine.docker('rm', '--force', NAME);
    await apply(confirmed);
    assert.equal(await read(), 'precious', 'after somebody removed the container');
    await back(one);
    assert.notEqual(await show('{{.Id}}'), made, 'it was gone, and is made again');
    assert.equal(await read(), 'precious', 'after a late rollback');
    const again = await show('{{.Id}} {{.State.StartedAt}}');
    await back(one);
    assert.equal(await show('{{.Id}} {{.State.StartedAt}}'), again, 'a second one changes nothing');

    await back(nothing);
    assert.deepEqual(await containers(), []);
    assert.equal((await volumes()).length, 1, 'data goes with no document');
  },
);

test(
  'cut off at any step, at most one runs, and the old one can be put back or replaced',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { io, desire, apply, what, held, back, close } = host();
    t.after(close);
    const running = async () =>
      (await engine.docker('ps', '--quiet', '--no-trunc')).split('\n').filter(Boolean);
    /** As an agent that is killed before its n-th request that changes something. */
    const cutAt = (n: number) => {
      let left = n;
      const request: typeof io.docker.request = (method, ...rest) => {
        if (method !== 'GET' && --left === 0) throw new Error('cut off');
        return io.docker.request(method, ...rest);
      };
      return { ...io, docker: { ...io.docker, request } };
    };
    let memory = await apply(desire());
    await write();
    let image = 'test/db:1';
    let cuts = 0;
    for (let isCut = true, n = 1; isCut; n += 1) {
      image = image === 'test/db:1' ? 'test/db:2' : 'test/db:1';
      const d = desire({ image }, { memory });
      const old = await held();
      const begin = async () => {
        const changes = changesOf(d, await observe(d, io, never));
        isCut = await bringAbout(changes, d, cutAt(n), never).then(
          () => false,
          () => true,
        );
        assert.ok((await running()).length <= 1, `cut before step ${n}`);
        assert.notEqual(
          await inspect(io.docker, old.before!.id, never),
          undefined,
          `step ${n}: the old one is there`,
        );
      };
      await begin();
      await back(old, cutAt((n % 4) + 1).docker).catch(() => undefined);
      assert.ok((await running()).length <= 1, `undo cut off too, after step ${n}`);
      await back(old);
      assert.deepEqual(await running(), [old.before!.id], `undone after step ${n}`);
      assert.equal((await containers()).length, 1);
      await begin();
      memory = await apply(d);
      assert.deepEqual(await what(d), [], `finished after step ${n}`);
      assert.equal((await running()).length, 1);
      assert.equal(await read(), 'precious');
      await apply({ ...d, heal: true, memory });
      assert.equal((await containers()).length, 1);
      cuts = n;
    }
    assert.ok(cuts > 5, 'create, update, stop, rename twice, start');
  },
);

test('docker update is mended in place, or left where the spec says nothing', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { desire, apply, what, close } = host();
  t.after(close);
  const d = desire({ memory: '64m' });
  const memory = await apply(d);
  const heal = { ...d, heal: true, memory };
  await write();
  const before = await show('{{.Id}} {{.State.StartedAt}}');
  await engine.docker('update', '--cpu-shares=100', '--pids-limit=77', NAME);
  assert.deepEqual(await what(heal), [], 'a limit that the spec does not name is nobody’s drift');
  await engine.docker('update', '--memory=128m', '--memory-swap=-1', '--restart=no', NAME);
  assert.deepEqual(await what(heal), ['memory', 'restart']);
  await apply(heal);
  assert.deepEqual(await what(heal), []);
  const limits = '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.RestartPolicy.Name}}';
  assert.equal(await show(limits), `${64 * 1024 ** 2} ${128 * 1024 ** 2} always`);
  assert.equal(await show('{{.Id}} {{.State.StartedAt}}'), before);
  assert.equal(await read(), 'precious');
});

test('one that ends at once is judged, and not started again at once', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { io, desire, apply, what, close } = host();
  t.after(close);
  const command = ['sh', '-c', 'echo cannot read it; exit 3'];
  for (const [restart, reason] of [
    ['no', 'Exited'],
    ['always', 'CrashLoop'],
  ]) {
    const d = desire({ command, restart });
    const memory = await apply(d);
    await eventually(async () =>
      assert.match(await show('{{.RestartCount}} {{.State.Status}}'), /exited|[1-9]/),
    );
    const trial = { before: { before: null }, elapsedMs: 0 };
    const observed = await observe(d, io, never);
    const found = container.assess(d, observed, trial);
    assert.ok('evidence' in found);
    assert.deepEqual([found.verdict, found.reason], ['No', reason]);
    assert.match(found.evidence, /cannot read it/);
    // As an agent that knows nothing of it sees it.
    const heal = { ...d, heal: true, memory };
    assert.deepEqual(await what({ ...heal, heal: false }), []);
    const later = container.assess(heal, await observe(heal, io, never));
    assert.deepEqual(['reason' in later && later.reason, later.verdict], ['CrashLoop', 'No']);
  }
});

test(
  'one in another’s network follows it: to its next start, and to the next container',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { io, desire, apply, what, close } = host();
    t.after(close);
    const tunnel = (...args: string[]) => engine.docker(...args, 'tunnel');
    const start = () => engine.docker('run', '--detach', '--network=none', '--name=tunnel', 'test/db:1');
    await start();
    const d = desire({ network: 'container:tunnel' });
    const heal = { ...d, heal: true, memory: await apply(d) };
    assert.deepEqual(await what(heal), []);
    const first = await show('{{.Id}}');
    await tunnel('restart', '--time=0');
    assert.deepEqual(await what(heal), ['process']);
    await apply(heal);
    assert.deepEqual([await show('{{.Id}}'), await what(heal)], [first, []]);

    await tunnel('rm', '--force');
    assert.deepEqual(await what(heal), []);
    const lost = container.assess(heal, await observe(heal, io, never));
    assert.deepEqual('reason' in lost && [lost.verdict, lost.reason], ['No', 'NetworkGone']);
    await start();
    assert.deepEqual(await what(heal), ['container', 'process']);
    await apply(heal);
    assert.deepEqual(await what(heal), []);
    const peer = await engine.docker('inspect', '--format', '{{.Id}}', 'tunnel');
    assert.equal(await show('{{.HostConfig.NetworkMode}} {{.State.Status}}'), `container:${peer} running`);
  },
);
