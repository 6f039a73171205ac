// Whatever a ComposeProject says, and with the controller's checks left out: what real `docker compose` would give to the
// services that it is to bring up was asked for, and was granted. compose itself says what it makes of the files.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { AllowList } from '../../agent/config.ts';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createMounts } from '../../agent/providers/mounts.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { isGranted } from '../../agent/reconcile/allow.ts';
import { allowOf, needsOf } from '../../agent/reconcile/needs.ts';
import { composeProject } from '../../kinds/compose-project/index.ts';
import { ComposeProjectSpec } from '../../kinds/compose-project/schema.ts';
import type { AnyKind, Permission } from '../../kinds/kind.ts';
import type { Docker, Processes } from '../../kinds/ports.ts';
import { arbitrarySpec } from '../support/arbitrary-spec.ts';
import { COMPOSE_PLUGIN, require } from '../support/capabilities.ts';
import { detachedContext } from '../support/fixture-host.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';

const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20_261_129);
const RUNS = Number(process.env['FAST_CHECK_RUNS'] ?? 40);
const IMAGE = 'test/app:1';
const BASE = `services:
  theirs: { image: ${IMAGE}, command: [run] }
volumes:
  out: { driver_opts: { type: none, o: bind, device: VAULT } }
`;

const oneOf = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const some = (...values: string[]): fc.Arbitrary<string[]> =>
  fc.array(oneOf(...values), { minLength: 1, maxLength: 2 });

const UNTOUCHING = [
  'networks',
  'depends_on',
  'logging',
  'tmpfs',
  'extra_hosts',
  'healthcheck',
  'mem_limit',
  'cpus',
  'expose',
  'user',
  'stop_grace_period',
];

/** By field, so that there is always something granted and something that is not. */
const chosen = (stack: string, vault: string) => ({
  directory: fc.constant(stack),
  project: fc.constant('p'),
  docker: fc.constant(undefined),
  image: oneOf(IMAGE, IMAGE, IMAGE, IMAGE, IMAGE, IMAGE, '${X:-test/other:1}', 'test/other:1'),
  volumes: fc.oneof(
    some('./app:/in:ro', `${stack}/app:/in:ro`, 'data:/data'),
    some(
      './app:/in',
      './app:/in:${X:-rw}',
      './out:/in:ro',
      './app/../out:/in:ro',
      '../vault:/in:ro',
      `${vault}:/in:ro`,
      `\${X:-${vault}}:/in:ro`,
      `${stack}/app/\${X:-../../vault}:/in:ro`,
      '${PLACE}:/in:ro',
      '~/:/in:ro',
      'out:/in:ro',
      '/:/in:ro',
      '/var/run/docker.sock:/s',
    ),
  ),
  ports: some(
    '127.0.0.1:9:9',
    '9:9',
    '9',
    '${X:-0.0.0.0}:9:9',
    '[::ffff:0.0.0.0]:9:9',
    '[::1]:9:9',
    '198.18.0.9:9:9',
  ),
  network_mode: oneOf('none', 'host', '${X:-host}', 'container:other'),
  pid: oneOf('host', '${X:-host}'),
  cap_add: some('CHOWN', 'SYS_ADMIN', '${X:-ALL}'),
  privileged: fc.boolean(),
  devices: some('/dev/null:/dev/x', '${X:-/dev/kmsg}:/dev/kmsg'),
  security_opt: some('no-new-privileges:true', 'seccomp=unconfined', 'apparmor:${X:-unconfined}'),
  environment: fc.constant({ A: '1', B: '${PLACE}' }),
  // What compose itself refuses for another reason shows nothing.
  ...Object.fromEntries(UNTOUCHING.map((field) => [field, fc.constant(undefined)])),
  labels: fc.constant({ a: 'b' }),
});

type Touched = Pick<Permission, 'type' | 'value' | 'mode'>;

interface Service {
  readonly image?: string;
  readonly volumes?: readonly { type: string; source?: string; read_only?: boolean }[];
  readonly ports?: readonly { host_ip?: string }[];
  readonly cap_add?: readonly string[];
  readonly privileged?: boolean;
  readonly pid?: string;
  readonly network_mode?: string;
  readonly devices?: readonly unknown[];
  readonly security_opt?: readonly string[];
}
interface Resolved {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes?: Readonly<Record<string, { name: string; driver_opts?: { device?: string } }>>;
}

/** What a service would have of the host, by compose's own account and by where links lead. */
function touchedBy(service: Service, { volumes = {} }: Resolved): Touched[] {
  const mounts = (service.volumes ?? []).flatMap(({ type, source = '', read_only }): Touched[] => {
    const device = type === 'volume' ? volumes[source]?.driver_opts?.device : source;
    const mode = read_only === true ? 'ro' : 'rw';
    if (device === undefined) return [{ type: 'mount', value: volumes[source]?.name ?? source, mode }];
    return [{ type: 'mount', value: fs.existsSync(device) ? fs.realpathSync(device) : device, mode }];
  });
  const named = (type: Permission['type'], value: string, isSo: boolean): Touched[] =>
    isSo ? [{ type, value }] : [];
  const { network_mode: network = '', pid = '' } = service;
  return [
    ...mounts,
    ...named('image', service.image ?? '', true),
    ...(service.ports ?? []).flatMap(({ host_ip = '' }) =>
      named('capability', `publish:${host_ip}`, !/^127\.|^::1$/.test(host_ip)),
    ),
    ...(service.cap_add ?? []).flatMap((name) =>
      named('capability', `CAP_${name.replace(/^CAP_/i, '').toUpperCase()}`, true),
    ),
    ...named('capability', `network:${network}`, network === 'host' || network.startsWith('container:')),
    ...named('root-equivalent', 'pid', pid !== ''),
    ...named('root-equivalent', 'privileged', service.privileged === true),
    ...named('root-equivalent', 'device', (service.devices ?? []).length > 0),
    ...named(
      'capability',
      'security',
      (service.security_opt ?? []).some((option) => !/^no-new/.test(option)),
    ),
  ];
}

/** compose itself for everything but `up`, which is written down with what compose would have made. */
function recording(real: Processes, touched: Touched[]): Processes {
  return {
    locate: (command) => real.locate?.(command),
    async run(command, args, options) {
      const up = args.indexOf('up');
      if (up < 0) return await real.run(command, args, options);
      const { stdout } = await real.run(
        command,
        [...args.slice(0, up), 'config', '--format', 'json'],
        options,
      );
      const resolved = JSON.parse(stdout) as Resolved;
      for (const name of args.slice(args.indexOf('--') + 1)) {
        const service = resolved.services[name];
        if (service !== undefined) touched.push(...touchedBy(service, resolved));
      }
      return { exitCode: 1, stdout: '', stderr: 'nothing is brought up here' };
    },
  };
}

const docker: Docker = {
  address: 'unix:///run/none.sock',
  version: async () => ({ engine: '28.1.1', api: '1.49' }),
  pull: async () => ({ state: 'done' }),
  logs: async () => '',
  watch: async (_, wake) => wake(),
  async request(method, at) {
    if (at.startsWith('/images/')) return { status: 200, headers: {}, body: '{"Id":"sha256:a","Config":{}}' };
    if (at === '/info') return { status: 200, headers: {}, body: '{"DockerRootDir":"/var/lib/docker"}' };
    if (method === 'GET' && at === '/containers/json') return { status: 200, headers: {}, body: '[]' };
    return { status: 404, headers: {}, body: '{"message":"no such object"}' };
  },
};

function asking(kind: AnyKind, asked: Permission[]): AnyKind {
  const { check: _, ...rest } = kind;
  const note = (permissions: readonly Permission[]): readonly Permission[] => {
    asked.push(...permissions);
    return permissions;
  };
  return {
    ...rest,
    permissions: (spec) => note(kind.permissions(spec)),
    resolve: async (...args) => note(await kind.resolve!(...args)),
  };
}

/** @returns whether anything would have been brought up. */
async function tried(spec: object, directory: string): Promise<boolean> {
  const { t, end } = detachedContext();
  try {
    const stack = path.join(directory, 'stack');
    for (const name of fs.readdirSync(stack).filter((each) => each.startsWith('compose.')))
      fs.rmSync(path.join(stack, name));
    fs.writeFileSync(path.join(stack, 'compose.yaml'), BASE.replace('VAULT', path.join(directory, 'vault')));
    fs.writeFileSync(path.join(stack, '.env'), `PLACE=${directory}/vault\n`);
    const allow = AllowList.parse({
      kinds: ['*'],
      exec: ['docker'],
      images: [IMAGE],
      mounts: [`${stack}/app/:ro`, 'p_data:rw', 'data:rw'],
      capabilities: [`compose:${stack}`, `compose:${stack}#theirs`, 'label:a', 'CAP_CHOWN'],
      secrets: [`compose:${stack}:*`],
    });
    const [files, processes] = [createFiles(), createProcesses()];
    const [touched, asked]: [Touched[], Permission[]] = [[], []];
    const line = new Timeline(t, {
      config: { allow },
      kinds: new Map([['ComposeProject', asking(composeProject, asked)]]),
      ports: {
        files,
        docker,
        clock: systemClock,
        mounts: createMounts({}),
        processes: recording(processes, touched),
      },
    });
    line.start().assign(resource('ComposeProject', 'a', spec));
    await line.agent.idle();
    await line.stop();
    await Promise.all([files.close(), processes.close()]);
    const found = needsOf([{ key: 'a', kind: 'ComposeProject', permissions: asked, fallback: [] }], {
      allow,
    });
    const requested = AllowList.parse(allowOf(found));
    for (const permission of touched) {
      const what = JSON.stringify(permission);
      assert.ok(isGranted(permission, { allow }), `touched and not granted: ${what}`);
      assert.ok(isGranted(permission, { allow: requested }), `touched and not asked for: ${what}`);
    }
    return touched.length > 0;
  } finally {
    await end();
  }
}

test('ComposeProject: what compose would give was asked for and granted', { timeout: 240_000 }, async (t) => {
  if (!require(t, COMPOSE_PLUGIN)) return;
  const directory = fs.realpathSync(temporaryDirectory(t));
  const [stack, vault] = [path.join(directory, 'stack'), path.join(directory, 'vault')];
  for (const each of [path.join(stack, 'app'), vault]) fs.mkdirSync(each, { recursive: true });
  fs.symlinkSync(vault, path.join(stack, 'out'));
  // There is no other document, and what names one waits for it.
  const fields = { ...chosen(stack, vault), restartOn: fc.constant(undefined) };
  const texts = ['ours', 'theirs', '/in', 'no'];
  // Without a service of ours nothing is asked for.
  const services = arbitrarySpec(ComposeProjectSpec.shape.services.unwrap(), texts, fields);
  const specs = fc
    .tuple(arbitrarySpec(ComposeProjectSpec, texts, fields), services)
    .map(([spec, ours]) => ({ ...(spec as object), services: ours }))
    .filter((spec) => ComposeProjectSpec.safeParse(spec).success);
  let touching = 0;
  const property = fc.asyncProperty(specs, async (spec) => {
    if (await tried(spec, directory)) touching += 1;
  });
  await fc.assert(property, { numRuns: RUNS, seed });
  assert.ok(touching > RUNS / 20, `only ${touching} of ${RUNS} would have brought anything up`);
});
