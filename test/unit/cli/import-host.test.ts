// What `homeostat import host` makes of what a host has. Whether it then plans no change is tried on a real host
// (test/integration/import-host.test.ts).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createFiles } from '../../../agent/providers/files.ts';
import { gatherAlloy } from '../../../cli/import/host/alloy.ts';
import { gatherDocker } from '../../../cli/import/host/docker.ts';
import { type Draft, draftText } from '../../../cli/import/host/draft.ts';
import { gatherPackages } from '../../../cli/import/host/packages.ts';
import { isSecretValue, secretLines, withoutSecrets } from '../../../cli/import/host/secrets.ts';
import { gatherTailscale } from '../../../cli/import/host/tailscale.ts';
import { gatherUnits } from '../../../cli/import/host/units.ts';
import type { Docker } from '../../../kinds/ports.ts';
import { FakeSystemd } from '../../support/fake-systemd.ts';
import { FakeTailscale } from '../../support/fake-tailscale.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

function host(t: TestContext, contents: Readonly<Record<string, string>>) {
  const root = temporaryDirectory(t);
  for (const [file, content] of Object.entries(contents)) {
    fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    fs.writeFileSync(path.join(root, file), content);
  }
  const files = createFiles({ root });
  t.after(() => files.close());
  return { files, units: new FakeSystemd(root, systemClock) };
}

test('secrets are known by their names, by their form, and where they stand', () => {
  const secret: [string, string][] = [
    ['GF_SECURITY_ADMIN_PASSWORD', 'x'],
    ['TAILSCALE_OAUTH_CLIENT_SECRET', 'abc'],
    ['DATABASE_URL', 'postgres://u:pw@db/x'],
    ['X', 'ghp_abcdefghijklmnop'],
    ['SEED', '0123456789abcdef0123456789abcdef'],
    ['API_KEY', '1'],
  ];
  const plain: [string, string][] = [
    ['TZ', 'Europe/Berlin'],
    ['PASSWORD_FILE', '/run/secrets/pw'],
    ['TAILSCALE_TAILNET', 'example.ts.net'],
    ['PATH', '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    ['LOKI_URL', 'http://loki:3100/loki/api/v1/push'],
    ['PASSWORD', ''],
  ];
  for (const [name, value] of secret) assert.ok(isSecretValue(name, value), name);
  for (const [name, value] of plain) assert.ok(!isSecretValue(name, value), name);

  const config = [
    'loki.write "x" {',
    '  password = "hunter2"',
    '  password_file = "/etc/pw"',
    '  bearer_token = sys.env("TOKEN")',
    '  url = "http://me:pw@loki/push"',
    '  // password = "in a comment"',
    '  forward_to = [loki.write.secret_store.receiver]',
    '  client_secret="abc"',
  ];
  assert.deepEqual(secretLines(config.join('\n')), [2, 5, 8]);
  assert.deepEqual(
    withoutSecrets(['--user', 'me', '--password', 'hunter2', '--token=abc', '--retention=7d', '-v']),
    {
      args: ['--user', 'me', '--password', 'FILL-IN', '--token=FILL-IN', '--retention=7d', '-v'],
      hidden: true,
    },
  );
});

test('Alloy’s config is the one that it was started with; its text comes out of interpolation as it was', async (t) => {
  const text = 'prometheus.relabel "x" {\n  // ${vars.x} ${1} $${y}\n}\n';
  const { files, units } = host(t, {
    'etc/default/alloy':
      '# comment\nCONFIG_FILE="/srv/my.alloy"\nCUSTOM_ARGS="--server.http.listen-addr=0.0.0.0:9999"\n',
    'srv/my.alloy': text,
    'lib/systemd/system/alloy.service': '[Service]\nExecStart=/usr/bin/alloy run\n',
  });
  const { drafts } = await gatherAlloy('pi', { files, units });
  assert.deepEqual(drafts[0]?.spec, {
    path: '/srv/my.alloy',
    contentFrom: 'config.alloy',
    address: '127.0.0.1:9999',
  });
  assert.match(drafts[0]?.remarks.join(' ') ?? '', /answers on 0\.0\.0\.0:9999, which is every address/);
  assert.equal(
    drafts[0]?.beside?.get('pi/config.alloy'),
    'prometheus.relabel "x" {\n  // $${vars.x} ${1} $$${y}\n}\n',
  );
});

test('a config with a secret in it is not copied, and says where the secret is', async (t) => {
  const { files, units } = host(t, {
    'etc/alloy/config.alloy': 'loki.write "x" {\n  password = "hunter2"\n}\n',
  });
  const [draft] = (await gatherAlloy('pi', { files, units })).drafts;
  assert.match(draft?.doubt ?? '', /config\.alloy seems to hold a secret in line 2.*\n.*password_file/);
  assert.equal(draft?.beside, undefined);
  assert.doesNotMatch(draftText(draft as Draft), /hunter2/);
  assert.ok(
    draftText(draft as Draft)
      .split('\n')
      .every((line) => line === '' || line.startsWith('#')),
  );
});

test('units are as they are: files in /etc, drop-ins, enablement; secrets in them stay where they are', async (t) => {
  const { files, units } = host(t, {
    'lib/systemd/system/alloy.service':
      '[Service]\nExecStart=/usr/bin/alloy run\n[Install]\nWantedBy=multi-user.target\n',
    'etc/systemd/system/alloy.service.d/10-mem.conf': '[Service]\nMemoryMax=400M\n',
    'etc/systemd/system/mine.service': '[Service]\nEnvironment=API_TOKEN=abc123\nExecStart=/bin/true\n',
  });
  await units.enable('alloy.service');
  await units.run('start', 'alloy.service');
  const { drafts, notes } = await gatherUnits('pi', { files, units }, ['mine.service', 'none.service']);
  assert.deepEqual(notes, ['there is no unit none.service on this host']);
  const [alloy, mine] = drafts;
  assert.deepEqual(alloy?.spec, {
    unit: 'alloy.service',
    dropIns: { '10-mem.conf': { contentFrom: 'alloy.service.d/10-mem.conf' } },
    enabled: true,
    state: 'running',
  });
  assert.equal(alloy?.beside?.get('pi/alloy.service.d/10-mem.conf'), '[Service]\nMemoryMax=400M\n');
  assert.equal(mine?.spec['state'], 'stopped');
  assert.match(mine?.doubt ?? '', /mine\.service, line 2 seems to hold a secret/);
  assert.equal(mine?.beside, undefined);
});

test('preferences, the tailnet address and packages', async (t) => {
  const tailscale = new FakeTailscale();
  tailscale.current = { RunWebClient: true, Hostname: 'pi5' };
  const { drafts, address } = await gatherTailscale('pi', tailscale);
  assert.equal(address, '100.64.0.8');
  assert.deepEqual(drafts[0]?.spec, { webclient: true, prefs: { hostname: 'pi5' } });

  const { files } = host(t, {
    'var/lib/dpkg/status': [
      'Package: alloy\nStatus: hold ok installed\nVersion: 1.18.0-1\n',
      'Package: fluent-bit\nStatus: deinstall ok config-files\nVersion: 3\n',
      'Package: bash\nStatus: install ok installed\nVersion: 5\n',
    ].join('\n'),
    'etc/apt/sources.list.d/grafana.list': 'deb [signed-by=/k] https://apt.grafana.com stable main\n',
  });
  const packages = gatherPackages('pi', files, ['/etc/apt/sources.list.d/grafana.list']);
  assert.deepEqual(
    packages.drafts.map((d) => d.spec),
    [{ name: 'alloy', hold: true }],
  );
  assert.match(packages.drafts[0]?.remarks[0] ?? '', /Installed is 1\.18\.0-1/);
  assert.match(packages.notes[0] ?? '', /grafana\.list names a repository/);
});

test('containers go in as comments, without what their image says and without secrets', async () => {
  const inspect = {
    Id: 'f'.repeat(64),
    Name: '/alloy',
    Image: 'sha256:1',
    Config: {
      Image: 'grafana/alloy:v1.18.0',
      Hostname: 'ffffffffffff',
      Env: ['PATH=/bin', 'TZ=UTC', 'API_TOKEN=hunter2'],
      Cmd: ['run', '--password=hunter2', '/etc/alloy/config.alloy'],
      Entrypoint: ['/bin/alloy'],
      Labels: {},
      User: '',
      WorkingDir: '',
    },
    HostConfig: {
      NetworkMode: 'host',
      RestartPolicy: { Name: 'always' },
      Memory: 512 * 1024 ** 2,
      PortBindings: {
        '9090/tcp': [{ HostIp: '127.0.0.1', HostPort: '9090' }],
        '53/udp': [{ HostIp: '', HostPort: '53' }],
      },
    },
    Mounts: [
      { Type: 'bind', Source: '/etc/alloy', Destination: '/etc/alloy', RW: false, Propagation: 'rprivate' },
      { Type: 'bind', Source: '/', Destination: '/rootfs', RW: false, Propagation: 'rslave' },
      { Type: 'volume', Name: 'data', Source: '/var/lib/docker/x', Destination: '/data', RW: true },
      { Type: 'volume', Name: '0'.repeat(64), Source: '/x', Destination: '/cache', RW: true },
    ],
  };
  const compose = {
    ...inspect,
    Config: {
      ...inspect.Config,
      Labels: {
        'com.docker.compose.project.working_dir': '/home/ada/stack',
        'com.docker.compose.service': 'loki',
      },
    },
  };
  const ours = {
    ...inspect,
    Config: { ...inspect.Config, Labels: { 'dev.homeostat.resource': 'Container/x' } },
  };
  const answers: Record<string, unknown> = {
    '/containers/json': [{ Id: 'a' }, { Id: 'b' }, { Id: 'c' }],
    '/containers/a/json': inspect,
    '/containers/b/json': compose,
    '/containers/c/json': ours,
    '/images/sha256%3A1/json': { Config: { Env: ['PATH=/bin'], Entrypoint: ['/bin/alloy'] } },
  };
  const docker = {
    request: async (_: string, url: string) => ({
      status: 200,
      headers: {},
      body: JSON.stringify(answers[url]),
    }),
  } as unknown as Docker;
  const { drafts } = await gatherDocker('droplet', docker);
  assert.deepEqual(
    drafts.map((d) => `${d.kind}/${d.name}`),
    ['Container/alloy-droplet', 'ComposeProject/stack-droplet'],
  );
  assert.deepEqual(drafts[0]?.spec, {
    name: 'alloy',
    image: 'grafana/alloy:v1.18.0',
    command: ['run', '--password=FILL-IN', '/etc/alloy/config.alloy'],
    env: { TZ: 'UTC', API_TOKEN: { secretFrom: { file: '/etc/homeostat/secrets/alloy-api-token' } } },
    mounts: [
      { type: 'bind', source: '/etc/alloy', target: '/etc/alloy', readOnly: true },
      { type: 'bind', source: '/', target: '/rootfs', readOnly: true, propagation: 'rslave' },
      { type: 'volume', source: 'data', target: '/data' },
    ],
    network: 'host',
    ports: ['127.0.0.1:9090:9090', '0.0.0.0:53:53/udp'],
    memory: '512m',
    restart: 'always',
    adopt: true,
  });
  const text = draftText(drafts[0] as Draft);
  assert.doesNotMatch(text, /hunter2/);
  assert.ok(text.split('\n').every((line) => line === '' || line.startsWith('#')));
  assert.match(text, /\/cache is left out/);
});
