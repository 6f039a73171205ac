// Ways out of what a host's owner granted, tried with a real engine by a controller that leaves out its own checks. Each
// is refused as NotAllowed, and nothing runs that sees more than was granted.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { createDocker } from '../../agent/providers/docker.ts';
import type { Docker } from '../../kinds/ports.ts';
import { DOCKER, require } from '../support/capabilities.ts';
import { GRANTS_NEEDED, LEADS_OUT } from '../support/container-escapes.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
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

interface Grants {
  readonly mounts?: readonly string[];
  readonly rootEquivalent?: readonly string[];
  readonly capabilities?: readonly string[];
}

/** @param wrap what a test puts between the agent and the engine */
function begin(t: TestContext, grants: (directory: string) => Grants, wrap = (docker: Docker) => docker) {
  const docker = createDocker(engine.address);
  const line = new Timeline(t, {
    ports: { docker: wrap(docker) },
    onHost: true,
    withinMs: 60_000,
    configWith: (directory) => ({
      allow: { kinds: ['Container'], images: ['test/app:1'], ...grants(directory) },
    }),
  });
  t.after(async () => {
    await line.stop();
    await docker.close();
    const left = (await engine.docker('ps', '--all', '--quiet')).split('\n').filter(Boolean);
    if (left.length > 0) await engine.docker('rm', '--force', ...left);
  });
  const at = (name: string): string => path.join(line.directory, name);
  const assign = (more: object = {}) =>
    line.assign(resource('Container', 'app', { name: 'app', image: 'test/app:1', network: 'none', ...more }));
  const bind = (source: string, more: object = {}) =>
    assign({ mounts: [{ type: 'bind', source, target: '/x', readOnly: true, ...more }] });
  return { line: line.start(), at, assign, bind };
}

const names = async () =>
  (await engine.docker('ps', '--all', '--format', '{{.Names}}')).split('\n').filter(Boolean);

async function refused(line: Timeline, words: RegExp): Promise<void> {
  await eventually(() => {
    const ready = line.condition(KEY, 'Ready');
    assert.match(`${ready?.reason} ${ready?.message}`, words);
  }, 60_000);
  await eventually(async () => assert.deepEqual(await names(), []), 60_000);
}

const inSrv = (directory: string) => ({
  mounts: [`${directory}/app/:rw`],
  rootEquivalent: [`mount:${directory}/app*`],
});

test('what is granted comes up, and a link within it is followed', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, at, bind } = begin(t, inSrv);
  fs.mkdirSync(at('app/releases/1'), { recursive: true });
  fs.writeFileSync(at('app/releases/1/a'), 'one');
  fs.symlinkSync('releases/1', at('app/current'));
  bind(at('app/current'));
  await line.expect(KEY, 'True');
  assert.equal(await engine.docker('exec', 'app', 'cat', '/x/a'), 'one');
  fs.mkdirSync(at('app/releases/2'));
  fs.writeFileSync(at('app/releases/2/a'), 'two');
  fs.rmSync(at('app/current'));
  fs.symlinkSync('releases/2', at('app/current'));
  line.agent.reconcile();
  await eventually(
    async () => assert.equal(await engine.docker('exec', 'app', 'cat', '/x/a'), 'two'),
    60_000,
  );
  await line.expect(KEY, 'True');
});

for (const [name, make, words] of LEADS_OUT) {
  test(`it is refused: ${name}`, OPTIONS, async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, at, bind } = begin(t, inSrv);
    fs.mkdirSync(at('app'));
    bind(path.normalize(make(at)));
    await refused(line, words);
  });
}

test('what holds the agent’s own is never mounted to be written to', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const all = { mounts: ['/:rw', '/tmp/:rw'], rootEquivalent: ['*'] };
  const { line, at, bind } = begin(t, () => all);
  for (const source of [at(''), '/']) {
    bind(source, { readOnly: false });
    await refused(line, /NotAllowed .*agent’s own, and no grant opens it/);
    bind(source, { propagation: 'rshared' });
    await refused(line, /NotAllowed .*agent’s own, and no grant opens it/);
  }
});

test('a granted directory does not bring its sockets and hard links', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, at, bind } = begin(t, (directory) => ({ mounts: [`${directory}/app/:ro`] }));
  fs.mkdirSync(at('app/deep/er'), { recursive: true });
  const server = net.createServer().listen(at('app/deep/er/any.name'));
  t.after(() => server.close());
  await eventually(() => assert.ok(fs.existsSync(at('app/deep/er/any.name'))));
  bind(at('app/deep'));
  await refused(line, /NotAllowed .*root-equivalent mount:.*\/app\/deep:ro .*any\.name/);
  fs.writeFileSync(at('secret'), 'x');
  fs.linkSync(at('secret'), at('app/other'));
  bind(at('app/other'));
  await refused(line, /NotAllowed .*root-equivalent mount:.*\/app\/other:ro .*another name/);
});

test('a volume is what its options make of it', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, assign } = begin(t, () => ({ mounts: ['data:rw', 'plain:rw', 'temp:rw', 'far:rw'] }));
  const create = (name: string, ...options: string[]) =>
    engine.docker('volume', 'create', ...options.flatMap((option) => ['--opt', option]), name);
  await create('data', 'type=none', 'o=bind', 'device=/etc');
  await create('far', 'type=nfs', 'o=addr=127.0.0.1', 'device=:/x');
  await create('temp', 'type=tmpfs', 'device=tmpfs');
  const volume = (source: string) => assign({ mounts: [{ type: 'volume', source, target: '/x' }] });
  volume('data');
  await refused(line, /NotAllowed .*mount \/etc:rw/);
  volume('far');
  await refused(line, /NotAllowed .*root-equivalent mount:far/);
  for (const name of ['temp', 'plain']) {
    volume(name);
    await line.expect(KEY, 'True');
    await eventually(async () => assert.match(await mounted(), new RegExp(name)), 60_000);
  }
  await engine.docker('rm', '--force', 'app');
});

const mounted = () => engine.docker('inspect', '--format', '{{range .Mounts}}{{.Name}} {{end}}', 'app');

for (const [name, spec, words] of GRANTS_NEEDED) {
  test(`it needs a grant: ${name}`, OPTIONS, async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, assign } = begin(t, () => ({}));
    assign(spec);
    await refused(line, words);
  });
}

/** Calls `before` ahead of each request that fits. */
function intercept(docker: Docker, fits: RegExp, before: () => void): Docker {
  return {
    ...docker,
    request(method, url, options) {
      if (fits.test(`${method} ${url}`)) before();
      return docker.request(method, url, options);
    },
  };
}

for (const request of ['POST /containers/create', 'POST /containers/[0-9a-f]+/start']) {
  test(`a directory becomes a link just before ${request}`, OPTIONS, async (t) => {
    if (!require(t, DOCKER)) return;
    let swap: (() => void) | undefined;
    const { line, at, bind } = begin(t, inSrv, (docker) =>
      intercept(docker, new RegExp(request), () => swap?.()),
    );
    fs.mkdirSync(at('app/x'), { recursive: true });
    swap = () => {
      fs.rmSync(at('app/x'), { recursive: true });
      fs.symlinkSync('/etc', at('app/x'));
      swap = undefined;
    };
    bind(at('app/x'));
    await refused(line, /NotAllowed.*(?:sees \/x: .*mount \/etc:ro)/);
  });
}

test('a directory becomes a link, and the engine starts the container again', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, at, bind } = begin(t, inSrv);
  fs.mkdirSync(at('app/x'), { recursive: true });
  bind(at('app/x'));
  await line.expect(KEY, 'True');
  fs.renameSync(at('app/x'), at('app/was'));
  fs.symlinkSync('/etc', at('app/x'));
  await engine.docker('restart', '--time=0', 'app');
  await refused(line, /NotAllowed/);
  fs.rmSync(at('app/x'));
  fs.mkdirSync(at('app/x'));
  line.agent.reconcile();
  await line.expect(KEY, 'True');
});

test('all of the host can be mounted, and the agent’s own is not in it', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, at, assign } = begin(t, () => ({
    mounts: ['/:ro', '/proc:ro', '/sys:ro'],
    rootEquivalent: ['mount:/:ro', 'mount:/proc:ro'],
    capabilities: ['network:host'],
  }));
  const key = at('state/agent.key');
  fs.writeFileSync(key, 'the agent’s key');
  fs.writeFileSync(at('seen'), 'seen');
  assign({
    network: 'host',
    mounts: [
      { type: 'bind', source: '/', target: '/host/root', readOnly: true, propagation: 'rslave' },
      { type: 'bind', source: '/proc', target: '/host/proc', readOnly: true },
      { type: 'bind', source: '/sys', target: '/host/sys', readOnly: true },
    ],
  });
  await line.expect(KEY, 'True');
  const inside = (...command: string[]) => engine.docker('exec', 'app', ...command);
  assert.equal(await inside('cat', `/host/root${at('seen')}`), 'seen');
  assert.equal(await inside('ls', `/host/root${at('state')}`), '');
  assert.equal(await inside('ls', '/host/root/run'), '');
  await assert.rejects(inside('cat', `/host/root${key}`), /No such file/);
  await assert.rejects(inside('touch', `/host/root${at('state')}/x`), /Read-only/);
  // What is mounted over it later comes below what covers it.
  const inEngine = (...command: string[]) =>
    execFileSync('nsenter', ['--target', String(engine.pid()), '--mount', ...command]);
  inEngine('mount', '-t', 'tmpfs', 'late', at('state'));
  inEngine('touch', at('state/late'));
  assert.equal(await inside('ls', `/host/root${at('state')}`), '');
  line.agent.reconcile();
  await line.agent.idle();
  await line.expect(KEY, 'True');

  // By another way the covers go: it is removed, and made anew with them.
  const id = await engine.docker('inspect', '--format', '{{.Id}}', 'app');
  inEngine('umount', at('state'));
  const uncover = ['/bin/busybox', 'umount', `/host/root${at('state')}`];
  execFileSync('nsenter', ['--target', initOf(id), '--mount', ...uncover]);
  line.agent.reconcile();
  await eventually(async () => {
    assert.notEqual(await engine.docker('inspect', '--format', '{{.Id}}', 'app'), id);
    await assert.rejects(inside('cat', `/host/root${key}`), /No such file/);
  }, 60_000);
});

/** Of the first process of a container, as this process counts. */
function initOf(id: string): string {
  const found = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name) && has(`/proc/${name}`, id));
  return found.sort((a, b) => Number(a) - Number(b))[0]!;
}

function has(process: string, id: string): boolean {
  try {
    if (fs.readFileSync(`${process}/comm`, 'utf8').trim() === 'containerd-shim') return false;
    return fs.readFileSync(`${process}/mountinfo`, 'utf8').includes(`/${id}/hostname /etc/hostname`);
  } catch {
    return false;
  }
}
