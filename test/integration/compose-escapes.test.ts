// Ways out of what a host's owner granted by our part of a compose project, with a real compose and engine, and without
// the controller's checks.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { createDocker } from '../../agent/providers/docker.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import type { Processes } from '../../kinds/ports.ts';
import { COMPOSE, require } from '../support/capabilities.ts';
import { IMAGE, Stack, stackImage } from '../support/compose-stack.ts';
import { SERVICES_NEEDING_GRANTS } from '../support/container-escapes.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
import { resource, Timeline } from '../support/timeline.ts';

const KEY = 'ComposeProject/stack';
const OPTIONS = { timeout: 180_000 };
let engine: TestEngine;

before(async () => {
  if (COMPOSE.missing() !== undefined) return;
  engine = await startDockerd();
  await stackImage(engine);
});
after(() => engine?.stop());

const BASE = `
services:
  web: { image: ${IMAGE}, network_mode: none, restart: "no", volumes: ["/opt:/theirs"] }
volumes:
  bound: { driver_opts: { type: none, o: bind, device: "\${DEVICE:-/etc}" } }
  named: {}
`;
let projects = 0;

/** @param wrap what a test puts between the agent and compose */
async function begin(
  t: TestContext,
  grants: (directory: string) => Record<string, readonly string[]> = () => ({}),
  wrap = (processes: Processes) => processes,
) {
  const docker = createDocker(engine.address);
  const processes = createProcesses();
  const project = `out${++projects}`;
  const ours = (at: string) => [`compose:${at}`, `compose:${at}#web`];
  const line = new Timeline(t, {
    ports: { docker, processes: wrap(processes) },
    onHost: true,
    withinMs: 60_000,
    configWith: (at) => {
      const more = grants(path.join(at, project));
      const capabilities = [...ours(path.join(at, project)), ...(more['capabilities'] ?? [])];
      const allow = { kinds: ['ComposeProject'], images: [IMAGE], exec: ['docker'], ...more, capabilities };
      return { allow };
    },
  });
  const directory = path.join(line.directory, project);
  const stack = new Stack(engine, directory, project);
  stack.write('compose.yaml', BASE);
  t.after(async () => {
    await line.stop();
    await stack.destroy();
    await Promise.all([docker.close(), processes.close()]);
  });
  const assign = (spec: object) => line.assign(resource('ComposeProject', 'stack', { directory, ...spec }));
  const add = (more: object) =>
    assign({ services: { side: { image: IMAGE, network_mode: 'none', restart: 'no', ...more } } });
  const extend = (more: object) => assign({ extend: { web: more } });
  return { line: line.start(), stack, directory, assign, add, extend };
}

async function refused(line: Timeline, words: RegExp): Promise<void> {
  await eventually(() => {
    const ready = line.condition(KEY, 'Ready');
    assert.match(`${ready?.reason} ${ready?.message}`, words);
  }, 60_000);
}

for (const [name, part, words] of SERVICES_NEEDING_GRANTS) {
  test(`an added service needs a grant: ${name}`, OPTIONS, async (t) => {
    if (!require(t, COMPOSE)) return;
    const { line, stack, add } = await begin(t);
    add(part);
    await refused(line, new RegExp(`NotAllowed .*${words.source}`));
    assert.deepEqual(await stack.names(), []);
    assert.ok(!stack.has('compose.override.yaml'));
  });
}

test(
  'what is granted comes up; what theirs have is theirs; a service of theirs needs a grant to be changed',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const { line, stack, assign } = await begin(t, (at) => ({
      mounts: [`${at}/data:ro`],
      rootEquivalent: [`mount:${at}/data*`],
      secrets: [`compose:${at}:WHERE`],
    }));
    fs.mkdirSync(path.join(stack.directory, 'data'));
    stack.write('.env', 'WHERE=127.0.0.1\n');
    assign({
      services: {
        side: { image: IMAGE, network_mode: 'none', volumes: ['./data:/data:ro'], ports: ['${WHERE}:9:9'] },
      },
      extend: { web: { environment: { A: 1 }, volumes: ['./data:/more:ro'] } },
    });
    await line.expect(KEY, 'True');
    const names = await stack.containers();
    assert.deepEqual(Object.keys(names).sort(), ['side', 'web']);
    assign({ extend: { web: { volumes: ['/etc:/more:ro'] } } });
    await refused(line, /NotAllowed .*mount \/etc:ro/);
    stack.write('compose.yaml', BASE.replace('web:', 'db:'));
    assign({ extend: { db: { healthcheck: { test: 'true' } } } });
    await refused(line, /NotAllowed .*capability compose:\S+#db/);
  },
);

test('a link is swapped just before compose makes the container', OPTIONS, async (t) => {
  if (!require(t, COMPOSE)) return;
  let swap: (() => void) | undefined;
  const wrap = (processes: Processes): Processes => ({
    ...processes,
    run(command, args, options) {
      if (args.includes('up')) swap?.();
      return processes.run(command, args, options);
    },
  });
  const grants = (at: string) => ({ mounts: [`${at}/data:ro`], rootEquivalent: [`mount:${at}/data*`] });
  const { line, stack, add } = await begin(t, grants, wrap);
  const data = path.join(stack.directory, 'data');
  fs.mkdirSync(data);
  swap = () => {
    fs.rmdirSync(data);
    fs.symlinkSync('/etc', data);
    swap = undefined;
  };
  add({ volumes: ['./data:/x:ro'] });
  await refused(line, /NotAllowed.*sees \/x: .*mount \/etc:ro/);
  await eventually(async () => assert.deepEqual(await stack.names(), []), 60_000);
});

test('a link is swapped, and the engine starts the container again', OPTIONS, async (t) => {
  if (!require(t, COMPOSE)) return;
  const grants = (at: string) => ({ mounts: [`${at}/data:ro`], rootEquivalent: [`mount:${at}/data*`] });
  const { line, stack, add } = await begin(t, grants);
  const data = path.join(stack.directory, 'data');
  fs.mkdirSync(data);
  add({ volumes: ['./data:/x:ro'] });
  await line.expect(KEY, 'True');
  fs.rmdirSync(data);
  fs.symlinkSync('/etc', data);
  await engine.docker('restart', '--time=0', ...(await stack.names()));
  await refused(line, /NotAllowed/);
  await eventually(async () => assert.deepEqual(await stack.names(), []), 60_000);
});

test('a variable is another one just before compose makes the container', OPTIONS, async (t) => {
  if (!require(t, COMPOSE)) return;
  let swap: (() => void) | undefined;
  const wrap = (processes: Processes): Processes => ({
    ...processes,
    run(command, args, options) {
      if (args.includes('up')) swap?.();
      return processes.run(command, args, options);
    },
  });
  const { line, stack, add } = await begin(t, (at) => ({ secrets: [`compose:${at}:*`] }), wrap);
  stack.write('.env', 'WHERE=127.0.0.1\nWHO=private\nOPTION=no-new-privileges:true\n');
  swap = () => {
    stack.write('.env', 'WHERE=0.0.0.0\nWHO=host\nOPTION=seccomp=unconfined\n');
    swap = undefined;
  };
  add({ ports: ['${WHERE}:9:9'], security_opt: ['${OPTION}'] });
  await refused(line, /NotAllowed.*(?=.*publish:0\.0\.0\.0)(?=.*security:seccomp=unconfined:side)/);
  await eventually(async () => assert.deepEqual(await stack.names(), []), 60_000);
});

test('the project’s directory is a link to one that is not granted', OPTIONS, async (t) => {
  if (!require(t, COMPOSE)) return;
  const { line, stack, add } = await begin(t);
  fs.renameSync(stack.directory, `${stack.directory}-other`);
  fs.symlinkSync(`${stack.directory}-other`, stack.directory);
  add({});
  await refused(line, /NotAllowed .*capability compose:\S+-other/);
});
