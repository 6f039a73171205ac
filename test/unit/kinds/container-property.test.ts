// For any spec, with `check` left out, and any links on the host: whatever a container gets was asked for. What reaches
// the engine is read here by itself, not by what the kind says of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { container } from '../../../kinds/container/index.ts';
import type { Permission } from '../../../kinds/kind.ts';
import type { Ports } from '../../../kinds/ports.ts';
import { FakeClock } from '../../support/clock.ts';
import { desiredOf } from '../../support/desired.ts';
import { plainMounts } from '../../support/mounts.ts';
import { type CreateBody, recordingEngine } from '../../support/recording-engine.ts';

const never = new AbortController().signal;
const OWN = ['/var/lib/homeostat', '/etc/homeostat/agent.json', '/run/homeostat/agent.sock'];

const word = fc.constantFrom('srv', 'etc', 'run', 'var', 'lib', 'homeostat', 'app', 'data', 'proc', 'root');
const path = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => `/${words.join('/')}`);
const mount = fc.oneof(
  fc.record(
    {
      type: fc.constant('bind'),
      source: fc.oneof(path, fc.constant('/')),
      target: path,
      readOnly: fc.boolean(),
      propagation: fc.constantFrom('rprivate', 'rslave', 'rshared'),
    },
    { requiredKeys: ['type', 'source', 'target'] },
  ),
  fc.record({ type: fc.constant('volume'), source: fc.constantFrom('data', 'other'), target: path }),
  fc.record({ type: fc.constant('tmpfs'), target: path }),
);
const address = fc.constantFrom(
  ...['', '127.0.0.1:', '0.0.0.0:', '127.9.9.9:', '10.0.0.1:', '012.0.0.1:', '300.0.0.1:'],
  ...[
    '[::]:',
    '[::1]:',
    '[0:0::1]:',
    '[::ffff:127.0.0.1]:',
    '[::ffff:0.0.0.0]:',
    '[::ffff:0:0]:',
    '[fe80::1]:',
  ],
);
const spec = fc.record(
  {
    name: fc.constant('app'),
    image: fc.constantFrom('app', 'a/b:1', 'docker.io/a/b', 'r:5000/x', `a/b:1@sha256:${'0'.repeat(64)}`),
    mounts: fc.array(mount, { maxLength: 4 }),
    network: fc.constantFrom('host', 'none', 'bridge', 'default', 'container:db', 'db_default'),
    networks: fc.array(
      fc.record(
        { name: fc.constantFrom('bridge', 'db_default', 'x'), aliases: fc.constant(['web']) },
        { requiredKeys: ['name'] },
      ),
      { minLength: 1, maxLength: 2 },
    ),
    devices: fc.array(
      fc.tuple(path, fc.constantFrom('', ':/dev/x', ':r', ':/dev/x:rw')).map(([at, more]) => at + more),
      { maxLength: 2 },
    ),
    ulimits: fc.record({ nofile: fc.nat(), rtprio: fc.nat() }, { requiredKeys: [] }),
    extraHosts: fc.constant({ db: '10.0.0.5' }),
    groupAdd: fc.constant(['999']),
    cpus: fc.constant(0.5),
    logging: fc.record(
      { driver: fc.constantFrom('json-file', 'syslog'), options: fc.constantFrom({}, { a: 'b' }) },
      { requiredKeys: [] },
    ),
    pidsLimit: fc.constant(100),
    ports: fc.array(
      fc.tuple(address, fc.nat(70_000)).map(([a, port]) => `${a}${port}:${port}`),
      { maxLength: 3 },
    ),
    pid: fc.constant('host'),
    privileged: fc.boolean(),
    capAdd: fc.array(fc.constantFrom('ALL', 'NET_ADMIN', 'CAP_SYS_ADMIN', 'CAP_ALL', 'X'), { maxLength: 3 }),
    labels: fc.dictionary(
      fc.constantFrom('team', 'traefik.enable', 'dev.homeostat.run', 'dev.homeostat.x'),
      fc.string(),
    ),
    restart: fc.constantFrom('no', 'always'),
  },
  { requiredKeys: ['name', 'image'] },
);
const links = fc.dictionary(path, fc.oneof(path, fc.constant('/')), { maxKeys: 2 }).filter(ends);

/** Links that don't lead to themselves. */
function ends(found: Readonly<Record<string, string>>): boolean {
  try {
    for (const from of Object.keys(found)) plainMounts('', { links: found }).resolve(`${from}/x`);
    return true;
  } catch {
    return false;
  }
}

const HARMLESS = ['ExtraHosts', 'GroupAdd', 'NanoCpus', 'PidsLimit', 'Ulimits'];

/** What a create call gives, in the words of grants. */
function given(body: CreateBody, joined: readonly string[]): string[] {
  const { HostConfig: host, Labels } = body;
  const known = [
    'NetworkMode',
    'PidMode',
    'Privileged',
    'CapAdd',
    'CapDrop',
    'Devices',
    'Memory',
    'ReadonlyRootfs',
  ];
  for (const field of Object.keys(host)) {
    assert.ok(
      [...known, ...HARMLESS, 'LogConfig', 'RestartPolicy', 'PortBindings', 'Mounts'].includes(field),
      `nobody judges ${field}`,
    );
  }
  const binds = Object.entries(host.PortBindings).flatMap(([, all]) => all.map(({ HostIp }) => HostIp));
  return [
    ...binds
      .filter((ip) => !/^(?:127\.(?:9\.9\.9|0\.0\.1)|::1|0:0::1|::ffff:127\.0\.0\.1)$/.test(ip))
      .map(() => 'publish'),
    ...(host.CapAdd ?? []).map((name) => `capability ${name}`),
    ...(host.Privileged === true ? ['root-equivalent privileged:app'] : []),
    ...(host.PidMode === 'host' ? ['root-equivalent pid:host:app'] : []),
    ...[host.NetworkMode, ...Object.keys(body.NetworkingConfig?.EndpointsConfig ?? {}), ...joined]
      .filter((network) => !['none', 'bridge', 'default'].includes(network))
      .map((network) => `capability network:${network}`),
    ...((host['Devices'] ?? []) as { PathOnHost: string }[]).map(
      ({ PathOnHost }) => `root-equivalent device:${PathOnHost}`,
    ),
    ...logs(host['LogConfig']),
    ...((host['Ulimits'] ?? []) as { Name: string }[])
      .filter(({ Name }) => Name === 'rtprio')
      .map(({ Name }) => `capability ulimit:${Name}`),
    ...host.Mounts.filter(({ Type }) => Type !== 'tmpfs').map(
      ({ Source, ReadOnly = false }) => `mount ${Source}:${ReadOnly ? 'ro' : 'rw'}`,
    ),
    ...Object.keys(Labels)
      .filter((label) => !['dev.homeostat.resource', 'dev.homeostat.spec'].includes(label))
      .map((label) => `capability label:${label}`),
  ];
}

function logs(config: unknown): string[] {
  const { Type, Config } = (config ?? { Type: '', Config: {} }) as { Type: string; Config: object };
  if (Type === 'syslog') return ['capability logging:syslog'];
  return Type === '' && Object.keys(Config).length > 0 ? ['capability logging:default'] : [];
}

const named = ({ type, value, mode }: Permission): string =>
  value.startsWith('publish:') ? 'publish' : `${type} ${value}${mode === undefined ? '' : `:${mode}`}`;

/** Whether something of the agent's own can be seen through the mounts of a create call. */
function shows(body: CreateBody, own: string): boolean {
  const { Mounts } = body.HostConfig;
  return Mounts.some(({ Type, Source = '', Target }) => {
    if (Type !== 'bind') return false;
    const isIn = own === Source || own.startsWith(Source === '/' ? '/' : `${Source}/`);
    if (!isIn && !Source.startsWith(`${own}/`)) return false;
    const sight = isIn ? `${Target}${Source === '/' ? own : own.slice(Source.length)}` : Target;
    const isUnder = (directory: string) => sight === directory || sight.startsWith(`${directory}/`);
    return !Mounts.some(
      (other) => other.Type === 'tmpfs' && other.ReadOnly === true && isUnder(other.Target),
    );
  });
}

test('whatever reaches the engine was asked for, and the agent’s own is never in it', async () => {
  await fc.assert(
    fc.asyncProperty(spec, links, async (wanted, leads) => {
      const types = Object.fromEntries(OWN.slice(1).map((own) => [own, 'file' as const]));
      const mounts = plainMounts('', { links: leads, types });
      const { docker, created, joined } = recordingEngine();
      const ports = { docker, mounts, files: {}, clock: new FakeClock() } as unknown as Ports;
      const refused = new Set<string>();
      const isOwn = ({ type, value, covers = [] }: Permission) =>
        type === 'mount' &&
        OWN.some(
          (own) => `${value}/`.startsWith(`${own}/`) || (isAbove(value, own) && !covers.includes(own)),
        );
      const d = desiredOf('Container/app', container.spec.parse(wanted), {
        own: OWN,
        refusal: (permissions) => {
          const own = permissions.filter(isOwn);
          for (const permission of own) refused.add(permission.value);
          return own.length === 0 ? undefined : 'it is the agent’s own';
        },
      });
      const asked = [...container.permissions(d.spec), ...(await container.resolve!(d, ports, never))];
      const words = new Set(asked.map(named));
      await container.apply([], d, ports, never).catch((error: unknown) => {
        if (refused.size === 0) throw error;
      });
      for (const body of created) {
        for (const power of given(body, joined)) assert.ok(words.has(power), `${power} was not asked for`);
        assert.ok(asked.some(({ type }) => type === 'image'));
        for (const own of OWN) assert.ok(!shows(body, mounts.resolve(own).path), `${own} can be seen`);
      }
      assert.equal(created.length, refused.size === 0 ? 1 : 0);
    }),
    { numRuns: 200 },
  );
});

const isAbove = (directory: string, own: string): boolean =>
  own.startsWith(directory === '/' ? '/' : `${directory}/`);
