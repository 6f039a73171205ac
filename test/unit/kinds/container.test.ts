// What a container's spec means, without an engine: what it asks for, what is wrong with it, what is made of it.
// test/integration/container.test.ts has the engine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkContainer } from '../../../kinds/container/check.ts';
import { createBody, specDigest } from '../../../kinds/container/create.ts';
import { devicesOf } from '../../../kinds/container/devices.ts';
import { configChanges, isUsable, stateChanges } from '../../../kinds/container/drift.ts';
import { container } from '../../../kinds/container/index.ts';
import { networksWanted } from '../../../kinds/container/networks.ts';
import { ContainerSpec, type D } from '../../../kinds/container/schema.ts';
import { bindsOf } from '../../../kinds/container/sources.ts';
import type { Container } from '../../../kinds/docker-engine.ts';
import { mountPermissions } from '../../../kinds/mount-powers.ts';
import type { Docker, Ports } from '../../../kinds/ports.ts';
import { desiredOf } from '../../support/desired.ts';
import { plainMounts } from '../../support/mounts.ts';

const parse = (more: object = {}): ContainerSpec =>
  ContainerSpec.parse({ name: 'alloy', image: 'grafana/alloy:v1.18.0', ...more });

const permissions = (more: object) =>
  container
    .permissions(parse(more))
    .map(({ type, value }) => `${type} ${value}`)
    .slice(1);
const complaints = (more: object) =>
  checkContainer(parse(more)).map(({ path, message }) => `${path.join('.')}: ${message}`);

const SECRET = { secretFrom: { env: 'TOKEN' } };
function desire(more: object = {}, rest: Partial<D> = {}): D {
  return desiredOf('Container/alloy', parse(more), {
    host: { name: 'droplet', labels: {} },
    content: (value) =>
      typeof value === 'string'
        ? { bytes: Buffer.from(value), secret: false }
        : { bytes: Buffer.from('the secret'), secret: true },
    ...rest,
  });
}

/** As the engine shows one that was made from a spec. */
function made(d: D, more: Partial<Container['State']> = {}): Container {
  const body = createBody(d, { image: d.spec.image, binds: [] });
  return {
    Id: 'id',
    Name: `/${d.spec.name}`,
    Image: 'sha256:1',
    RestartCount: 0,
    State: {
      Status: 'running',
      Running: true,
      Paused: false,
      Restarting: false,
      OOMKilled: false,
      Pid: 1,
      ExitCode: 0,
      Error: '',
      StartedAt: '2026-01-01T00:00:00.5Z',
      FinishedAt: '0001-01-01T00:00:00Z',
      ...more,
    },
    Config: {
      Image: d.spec.image,
      Env: body['Env'] as string[],
      Labels: body['Labels'] as Record<string, string>,
    },
    HostConfig: body['HostConfig'] as Container['HostConfig'],
    NetworkSettings: {
      Networks: Object.fromEntries([...networksWanted(d.spec)].map(([name, Aliases]) => [name, { Aliases }])),
    },
    Mounts: [],
  };
}

test('everything that a host’s owner may not want is asked for', () => {
  const [image] = container.permissions(parse());
  assert.deepEqual(image, { type: 'image', value: 'docker.io/grafana/alloy:v1.18.0' });
  assert.deepEqual(permissions({}), []);
  assert.deepEqual(permissions({ network: 'host', capAdd: ['NET_ADMIN', 'CAP_SYSLOG'] }), [
    'capability network:host',
    'capability CAP_NET_ADMIN',
    'capability CAP_SYSLOG',
  ]);
  const ports = ['127.0.0.1:80:80', '0.0.0.0:81:81', '[::]:82:82', '83:83', '[::ffff:0.0.0.0]:84:84'];
  assert.deepEqual(permissions({ ports: [...ports, '[::ffff:127.0.0.9]:1:1', '10.0.0.1:2:2'] }), [
    'capability publish:0.0.0.0',
    'capability publish:::',
    'capability publish:0.0.0.0',
    'capability publish:0.0.0.0',
    'capability publish:10.0.0.1',
  ]);
  assert.deepEqual(permissions({ network: 'container:db', labels: { team: 'ops' }, adopt: true }), [
    'capability adopt:alloy',
    'capability network:container:db',
    'capability label:team',
  ]);
  assert.deepEqual(permissions({ mounts: [{ type: 'volume', source: 'data', target: '/data' }] }), [
    'mount data',
  ]);
});

test('networks beside the first one are asked for, made, compared, and what can’t be is told', () => {
  const networks = [{ name: 'mine', aliases: ['web', 'www'] }, { name: 'theirs' }];
  assert.deepEqual(permissions({ network: 'first', networks }), [
    'capability network:first',
    'capability network:mine',
    'capability network:theirs',
  ]);
  const body = createBody(desire({ networks }), { image: 'x', binds: [] });
  assert.equal((body['HostConfig'] as Record<string, unknown>)['NetworkMode'], 'mine', 'in place of bridge');
  assert.deepEqual(body['NetworkingConfig'], { EndpointsConfig: { mine: { Aliases: ['web', 'www'] } } });
  const d = desire({ network: 'first', networks });
  const has = (Networks: Record<string, { Aliases?: string[] | null }>) =>
    configChanges(d, { ...made(d), NetworkSettings: { Networks } });
  const mine = { Aliases: ['0123456789ab', 'www', 'web'] };
  assert.deepEqual(has({ first: {}, mine, theirs: { Aliases: null } }), []);
  assert.deepEqual(has({ mine: { Aliases: ['web'] }, other: {} }), [
    { what: 'network', from: 'mine as web, other', to: 'first, mine as web as www, theirs' },
  ]);
  const told = (more: object) => complaints(more).join('\n');
  assert.match(told({ network: 'host', networks }), /^networks: with network host it can join no other/);
  assert.match(told({ networks: [...networks, { name: 'mine' }] }), /^networks\.2: mine is named twice/);
  assert.match(told({ networks: [{ name: 'bridge', aliases: ['x'] }] }), /^networks\.0\.aliases: .*bridge/);
  for (const name of ['host', 'none', 'container:x'])
    assert.ok(!ContainerSpec.safeParse({ name: 'a', image: 'a', networks: [{ name }] }).success, name);
});

test('devices become what the engine is asked for, each as a link leads now', () => {
  const mounts = plainMounts('/sandbox', { links: { '/dev/serial/by-id/gps': '/dev/ttyUSB0' } });
  const d = desire({ devices: ['/dev/serial/by-id/gps:/dev/gps:r', '/dev/fuse', '/dev/dri:rw'] });
  const devices = devicesOf(d.spec, mounts);
  const { HostConfig } = createBody(d, { image: 'x', binds: [], devices }) as {
    HostConfig: Container['HostConfig'];
  };
  assert.deepEqual(HostConfig['Devices'], [
    { PathOnHost: '/sandbox/dev/ttyUSB0', PathInContainer: '/dev/gps', CgroupPermissions: 'r' },
    { PathOnHost: '/sandbox/dev/fuse', PathInContainer: '/dev/fuse', CgroupPermissions: 'rwm' },
    { PathOnHost: '/sandbox/dev/dri', PathInContainer: '/dev/dri', CgroupPermissions: 'rw' },
  ]);
  const container = { ...made(d), HostConfig };
  assert.deepEqual(configChanges(d, container, { devices }), []);
  const moved = devicesOf(d.spec, plainMounts('/sandbox'));
  assert.equal(configChanges(d, container, { devices: moved })[0]?.what, 'container');
  for (const text of ['ttyUSB0', '/dev/a:b', '/dev/a:/dev/b:x', '/dev/a:/b:rw:/c'])
    assert.ok(!ContainerSpec.safeParse({ name: 'a', image: 'a', devices: [text] }).success, text);
});

test('limits, groups and names become what the engine is asked for; limits are mended in place', () => {
  const d = desire({
    cpus: 1.5,
    pidsLimit: 200,
    ulimits: { nofile: 1024, memlock: { soft: -1, hard: -1 }, rtprio: 5 },
    groupAdd: ['999', 'video'],
    extraHosts: { db: '10.0.0.5', 'host.local': 'host-gateway', six: 'fd00::5' },
  });
  const { HostConfig } = createBody(d, { image: 'x', binds: [] }) as { HostConfig: Container['HostConfig'] };
  const { NanoCpus, PidsLimit, Ulimits, GroupAdd, ExtraHosts } = HostConfig;
  assert.deepEqual([NanoCpus, PidsLimit, GroupAdd], [1_500_000_000, 200, ['999', 'video']]);
  assert.deepEqual(Ulimits, [
    { Name: 'memlock', Soft: -1, Hard: -1 },
    { Name: 'nofile', Soft: 1024, Hard: 1024 },
    { Name: 'rtprio', Soft: 5, Hard: 5 },
  ]);
  assert.deepEqual(ExtraHosts, ['db:10.0.0.5', 'host.local:host-gateway', 'six:fd00::5']);
  assert.deepEqual(permissions(d.spec), ['capability ulimit:memlock', 'capability ulimit:rtprio']);
  const updated = { ...made(d), HostConfig: { ...HostConfig, NanoCpus: 5e8, PidsLimit: null } };
  assert.deepEqual(configChanges(d, updated), [
    { what: 'cpus', from: '0.5', to: '1.5' },
    { what: 'pidsLimit', from: 'no limit', to: '200' },
  ]);
  assert.ok(isUsable(d, updated), 'none is made anew for it');
  assert.match(complaints({ ulimits: { nofile: { soft: 2, hard: 1 } } })[0]!, /^ulimits\.nofile: its soft/);
  assert.match(
    complaints({ network: 'container:x', extraHosts: { a: '10.0.0.1' } })[0]!,
    /^extraHosts: with network/,
  );
  assert.ok(!ContainerSpec.safeParse({ name: 'a', image: 'a', extraHosts: { db: 'elsewhere' } }).success);
});

test('what a mount needs is said by where it leads', async () => {
  const mounts = plainMounts('', { links: { '/srv/app/current': '/etc' }, sockets: ['/srv/app/run/x.sock'] });
  const docker = { request: async () => ({ status: 200, headers: {}, body: '{}' }) } as unknown as Docker;
  const needed = async (source: string, readOnly: boolean) => {
    const d = desire({ mounts: [{ type: 'bind', source, target: '/x', readOnly }] });
    const found = await container.resolve!(
      d,
      { docker, mounts } as unknown as Ports,
      new AbortController().signal,
    );
    return found.map(({ type, value, mode }) =>
      mode === undefined ? `${type} ${value}` : `${value}:${mode}`,
    );
  };
  assert.deepEqual(
    await needed('/srv/app', true),
    ['/srv/app:ro', 'root-equivalent mount:/srv/app:ro'],
    'a socket',
  );
  assert.deepEqual(await needed('/srv/app/data', false), ['/srv/app/data:rw']);
  const link = await needed('/srv/app/current/ssl', false);
  assert.deepEqual(link, ['/etc/ssl:rw', 'root-equivalent mount:/etc/ssl']);
});

test('what amounts to root is asked for in words', () => {
  const root = (more: object) => permissions(more).filter((ask) => ask.startsWith('root-equivalent'));
  const bind = (source: string, readOnly = false) =>
    mountPermissions(source, readOnly)
      .slice(1)
      .map(({ value }) => value);
  assert.deepEqual(root({ privileged: true }), ['root-equivalent privileged:alloy']);
  assert.deepEqual(root({ pid: 'host' }), ['root-equivalent pid:host:alloy']);
  for (const name of ['SYS_ADMIN', 'CAP_SYS_PTRACE', 'SOME_LATER_ONE']) {
    assert.equal(root({ capAdd: [name] }).length, 1, name);
  }
  assert.deepEqual(root({ capAdd: ['ALL'] }), ['root-equivalent capability:ALL']);
  assert.deepEqual(root({ capAdd: ['NET_ADMIN'] }), []);
  for (const path of [
    ...['/', '/run', '/var/run/docker.sock', '/home/me/.colima/docker.sock', '/run/dbus', '/run/tailscale'],
    ...[
      '/run/systemd',
      '/etc',
      '/etc/shadow',
      '/etc/ssh',
      '/root',
      '/home/me/.ssh',
      '/proc',
      '/dev',
      '/var/lib',
    ],
    ...['/var/lib/docker/volumes', '/var', '/var/lib/tailscale'],
  ]) {
    assert.deepEqual(bind(path, true), [`mount:${path}:ro`], 'reading is enough');
    assert.deepEqual(bind(path), [`mount:${path}`]);
  }
  for (const path of [
    '/etc/crontab',
    '/usr/local/bin',
    '/opt',
    '/sys',
    '/var/log',
    '/var/spool/cron',
    '/tmp',
  ]) {
    assert.deepEqual(bind(path), [`mount:${path}`]);
  }
  for (const path of ['/srv/data', '/mnt/disk', '/data', '/media/usb']) assert.deepEqual(bind(path), []);
  for (const path of ['/sys', '/var/log', '/etc/machine-id', '/run/log/journal', '/etc/alloy', '/usr']) {
    assert.deepEqual(bind(path, true), []);
  }
});

test('what can’t be meant is told with what would be right', () => {
  assert.deepEqual(complaints({ ports: ['127.0.0.1:9090:9090/tcp', '[::1]:53:53/udp'] }), []);
  assert.match(
    complaints({ ports: ['9090:9090'] })[0]!,
    /^ports\.0: .*127\.0\.0\.1:9090:9090.*0\.0\.0\.0:9090:9090/,
  );
  assert.match(complaints({ ports: ['127.0.0.1:0:99999'] })[0]!, /1 to 65535/);
  assert.match(complaints({ network: 'host', ports: ['127.0.0.1:80:80'] })[0]!, /^ports: with network host/);
  assert.match(complaints({ labels: { 'dev.homeostat.resource': 'x' } })[0]!, /homeostat’s own/);
  const twice = { type: 'tmpfs', target: '/tmp/' };
  assert.match(
    complaints({ mounts: [{ type: 'tmpfs', target: '/tmp' }, twice] })[0]!,
    /^mounts\.1\.target: two/,
  );
  assert.match(complaints({ network: 'container:other', hostname: 'x' })[0]!, /^hostname: /);
  for (const image of ['Grafana/Alloy:1', 'alloy@sha256:12', 'alloy:', 'http://x/alloy']) {
    assert.ok(!ContainerSpec.safeParse({ name: 'alloy', image }).success, image);
  }
  for (const image of ['alloy', 'localhost:5000/a/b:1', `grafana/alloy:v1@sha256:${'0'.repeat(64)}`]) {
    assert.ok(ContainerSpec.safeParse({ name: 'alloy', image }).success, image);
  }
});

test('a spec becomes what the Engine API is asked for', () => {
  const d = desire({
    command: ['run', '/etc/alloy/config.alloy'],
    env: { A: '1', TOKEN: SECRET },
    mounts: [
      { type: 'bind', source: '/', target: '/host/root', readOnly: true, propagation: 'rslave' },
      { type: 'tmpfs', target: '/tmp', size: '64m' },
    ],
    ports: ['127.0.0.1:9090:9090', '[::1]:9090:9090', '127.0.0.1:53:53/udp'],
    capAdd: ['NET_ADMIN'],
    memory: '1g',
    healthcheck: { command: ['true'], intervalSeconds: 1.5 },
    labels: { team: 'ops' },
  });
  const body = createBody(d, { image: 'sha256:1', binds: bindsOf(d.spec, d.own, plainMounts('/sandbox')) });
  const { Labels, HostConfig, ...config } = body as { Labels: Record<string, string>; HostConfig: object };
  assert.deepEqual(config, {
    Image: 'sha256:1',
    Cmd: ['run', '/etc/alloy/config.alloy'],
    Env: ['A=1', 'TOKEN=the secret'],
    ExposedPorts: { '9090/tcp': {}, '53/udp': {} },
    Healthcheck: { Test: ['CMD', 'true'], Interval: 1_500_000_000 },
  });
  assert.deepEqual(HostConfig, {
    NetworkMode: 'bridge',
    CapAdd: ['CAP_NET_ADMIN'],
    Memory: 1024 ** 3,
    RestartPolicy: { Name: 'always' },
    PortBindings: {
      '9090/tcp': [
        { HostIp: '127.0.0.1', HostPort: '9090' },
        { HostIp: '::1', HostPort: '9090' },
      ],
      '53/udp': [{ HostIp: '127.0.0.1', HostPort: '53' }],
    },
    Mounts: [
      {
        Type: 'bind',
        Source: '/sandbox/',
        Target: '/host/root',
        ReadOnly: true,
        BindOptions: { Propagation: 'rslave' },
      },
      { Type: 'tmpfs', Target: '/tmp', TmpfsOptions: { SizeBytes: 64 * 1024 ** 2 } },
    ],
  });
  assert.deepEqual(Labels, {
    team: 'ops',
    'dev.homeostat.resource': 'Container/alloy',
    'dev.homeostat.spec': specDigest(d.spec),
  });
});

test('another container is needed for what one can’t change, and for nothing else', () => {
  const same = (more: object) => specDigest(parse(more)) === specDigest(parse());
  assert.ok(same({ pull: 'never', adopt: true, restart: 'no', restartOn: ['File/x'] }));
  for (const more of [
    { image: 'grafana/alloy:v1.18.1' },
    { env: { A: '' } },
    { memory: '1g' },
    { network: 'host' },
  ]) {
    assert.ok(!same(more), JSON.stringify(more));
  }
  // Encrypted anew, it is the same secret; which value it has is looked at in the container.
  const env = (age: string) => specDigest({ ...parse(), env: { TOKEN: { secretFrom: { age } } } });
  assert.equal(env('one ciphertext'), env('another one'));
});

test('differences are named, and those in secrets are not shown', () => {
  const d = desire({ env: { TOKEN: SECRET }, network: 'mine', memory: '64m' });
  const right = made(d);
  assert.deepEqual(configChanges(d, right), []);
  const differing: Container = {
    ...right,
    Config: { ...right.Config, Env: ['TOKEN=an older secret'] },
    HostConfig: {
      ...right.HostConfig,
      Memory: 1,
      CpuShares: 5,
      NanoCpus: 5e8,
      RestartPolicy: { Name: '', MaximumRetryCount: 0 },
    },
    NetworkSettings: { Networks: { mine: {}, theirs: {} } },
  };
  const changes = configChanges(d, differing);
  assert.deepEqual(
    changes.map(({ what }) => what),
    ['env TOKEN', 'memory', 'restart', 'network'],
    'and what the spec does not name (NanoCpus), or can’t (CpuShares), is not one',
  );
  assert.doesNotMatch(JSON.stringify(changes), /older secret|the secret/);
  const elsewhere = made(
    desire({ image: 'grafana/alloy:v1.17.0', env: { TOKEN: SECRET }, network: 'mine', memory: '64m' }),
  );
  const [change] = configChanges(d, elsewhere);
  assert.deepEqual(change, { what: 'container', from: 'grafana/alloy:v1.17.0', to: 'grafana/alloy:v1.18.0' });
});

test('a process is stale when an input changed after its start, known by digest or else by time', () => {
  const started = Date.parse('2026-01-01T00:00:00.5Z');
  const stale = (input: { digest: string; appliedAtMs: number }, memory?: D['memory']) => {
    const d = desire(
      { restartOn: ['File/x'] },
      { inputs: { 'File/x': input }, ...(memory === undefined ? {} : { memory }) },
    );
    return stateChanges(d, made(d), started + 1000).length > 0;
  };
  assert.ok(!stale({ digest: 'a', appliedAtMs: started - 1 }));
  assert.ok(stale({ digest: 'a', appliedAtMs: started + 1 }));
  const memory = { spec: '', image: '', startedAt: '2026-01-01T00:00:00.5Z', inputs: { 'File/x': 'a' } };
  assert.ok(!stale({ digest: 'a', appliedAtMs: started + 1 }, memory), 'it was started with this very one');
  assert.ok(stale({ digest: 'b', appliedAtMs: started - 1 }, memory));
});
