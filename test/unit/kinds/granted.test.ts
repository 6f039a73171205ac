// Whatever a manifest says, and with the controller's checks left out: what the host ends up touching was asked for, and
// was granted. For any spec that the schemas take, on a host with links that lead out of what is granted.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { AgentConfig, AllowList } from '../../../agent/config.ts';
import { systemClock } from '../../../agent/providers/clock.ts';
import { isGranted } from '../../../agent/reconcile/allow.ts';
import { allowOf, needsOf } from '../../../agent/reconcile/needs.ts';
import { kinds } from '../../../kinds/index.ts';
import type { AnyKind, Permission } from '../../../kinds/kind.ts';
import { arbitrarySpec } from '../../support/arbitrary-spec.ts';
import { detachedContext } from '../../support/fixture-host.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';
import { RecordingHost } from './recording-host.ts';

const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20_261_129);
const RUNS = Number(process.env['FAST_CHECK_RUNS'] ?? 100);
const SECRET = 'known\n';

/** What the host's owner granted: a bit of everything, so that there is always something next to it that is not. */
const ALLOW = AllowList.parse({
  kinds: ['*'],
  paths: ['/srv/app/', '/etc/alloy/config.alloy', '/etc/prometheus/'],
  units: ['app.service', 'container:app'],
  users: ['65534'],
  exec: ['/usr/bin/app', '/usr/bin/alloy', '/usr/bin/promtool', '/usr/bin/docker'],
  images: ['test/app:1'],
  mounts: ['/srv/app/:ro', '/srv/data/:rw', 'data:rw', '/etc/alloy:ro', '/etc/prometheus:ro'],
  urls: ['http://127.0.0.1:9090', 'http://127.0.0.1:12345'],
  secrets: ['env:GRANTED'],
  rootEquivalent: ['unit-file:app.service'],
});

const PLACES = [
  '/srv/app/x',
  '/srv/app/sub/x',
  '/srv/app/out/secret',
  '/srv/app/up/canary/secret',
  '/srv/app/hard',
  '/srv/app/in/x',
  '/srv/app/chain/secret',
  '/etc/canary/secret',
  '/srv/data',
  '/srv/app',
  '/srv/app/out',
  '/srv/app/in',
  '/srv/app/chain',
  '/',
  '/etc',
  '/srv',
  '/state/agent.key',
  '/etc/alloy/config.alloy',
  '/etc/prometheus/prometheus.yml',
  '/srv/app/prometheus.yml',
];
const GRANTED_PLACES = [
  '/srv/app/x',
  '/srv/app/sub/x',
  '/srv/app/in/x',
  '/etc/alloy/config.alloy',
  '/etc/prometheus/prometheus.yml',
];
const TEXTS = [
  ...PLACES,
  ...['../../etc/canary', '/srv/app/../../etc/canary', 'x', '/proc/self/root', '/proc/1/root/etc'],
  ...[
    'app.service',
    'other.service',
    'app.timer',
    '10-a.conf',
    'main.alloy',
    '0644',
    '4755',
    '0666',
    'root',
    '65534',
    '0',
    'a',
    'A',
    'GRANTED',
    'PATH',
  ],
  ...[
    'test/app:1',
    'test/other:1',
    'app',
    'other',
    'host',
    'none',
    'bridge',
    'container:other',
    'data',
    'more',
    '256m',
    'SYS_ADMIN',
    'ALL',
    '/in',
    '/data',
    '/data/sub',
  ],
  ...[
    '127.0.0.1:9:9',
    '9:9',
    '0.0.0.0:9:9',
    '[::]:9:9',
    '[::ffff:0.0.0.0]:9:9',
    '198.18.0.9:9:9',
    '[::1]:9:9/udp',
  ],
  ...[
    'http://127.0.0.1:9090',
    'http://127.0.0.1:9090/x',
    'http://127.0.0.1:9090@198.18.0.9/',
    'http://169.254.169.254/latest',
    'http://localhost:9090',
    'http://[::ffff:127.0.0.1]:9090/',
    'https://127.0.0.1:9090',
  ],
  ...[
    '127.0.0.1:9090',
    '127.0.0.1:12345',
    '127.0.0.1:22',
    '169.254.169.254:80',
    '[::1]:9090',
    '1s',
    '5m',
    'alloy',
    'promtool',
    '/usr/bin/app',
    '/usr/bin/other',
    'File/a',
  ],
  ...['// a\n', '- job_name: a\n', 'up', '.*', '^a'],
  '[Service]\nExecStart=/usr/bin/app\n',
  '[Service]\nType=oneshot\nExecStart=/usr/bin/app ; /usr/bin/other\n',
  '[Service]\nExecStart=/usr/bin/app \\\n ; \\\n/usr/bin/other\n',
  '[Service]\nExecStart=\\\n/usr/bin/other\n',
  '[Service]\nExecStart=/usr/bin/app\nExecStartPre=-+/usr/bin/other\n',
  '[Service]\nExecStart=/usr/bin/app \u2028 ; /usr/bin/other\n',
  '[Service]\r\nExecStart=/usr/bin/other\r\n',
  '[Unit]\nWants=other.service\n[Service]\nExecStart=/usr/bin/app\n',
];

const content = fc.oneof(
  fc.constantFrom(...TEXTS.filter((text) => text.includes('\n'))),
  fc.constantFrom(
    { secretFrom: { env: 'GRANTED' } },
    { secretFrom: { env: 'OTHER' } },
    { secretFrom: { file: '/etc/shadow' } },
  ),
);
const CHOSEN = {
  // Most are granted: a spec that is refused for its path shows nothing of its other fields.
  path: fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(...PLACES) },
    { weight: 3, arbitrary: fc.constantFrom(...GRANTED_PLACES) },
  ),
  url: fc.oneof(
    fc.constantFrom('http://127.0.0.1:9090', 'http://127.0.0.1:9090/x', 'http://127.0.0.1:12345'),
    fc.constantFrom(...TEXTS.filter((text) => /^https?:/.test(text))),
  ),
  address: fc.oneof(
    fc.constantFrom('127.0.0.1:9090', '127.0.0.1:12345'),
    fc.constantFrom('127.0.0.1:22', '169.254.169.254:80', '[::1]:9090'),
  ),
  owner: fc.constantFrom('65534', 'root'),
  content,
  // A document without one asks for nothing.
  contentFrom: fc.constant(undefined),
  unit: fc.oneof(
    { weight: 5, arbitrary: fc.constant('app.service') },
    { weight: 1, arbitrary: fc.constantFrom('other.service', 'app.timer', 'homeostat-agent.service') },
  ),
  image: fc.oneof(
    { weight: 9, arbitrary: fc.constant('test/app:1') },
    { weight: 1, arbitrary: fc.constant('test/other:1') },
  ),
  manager: fc.constantFrom('systemd', 'none'),
  key: fc.constant({}),
};

function lay(root: string): void {
  const at = (p: string): string => path.join(root, p);
  for (const directory of [
    'srv/app/real',
    'srv/app/sub',
    'srv/data',
    'etc/canary',
    'etc/alloy',
    'etc/prometheus',
    'usr/bin',
    'state',
  ])
    fs.mkdirSync(at(directory), { recursive: true });
  fs.writeFileSync(at('etc/canary/secret'), SECRET, { mode: 0o600 });
  fs.writeFileSync(at('state/agent.key'), 'key\n', { mode: 0o600 });
  for (const place of ['etc/prometheus', 'srv/app', 'etc/canary'])
    fs.writeFileSync(at(`${place}/prometheus.yml`), 'scrape_configs: []\n');
  fs.symlinkSync('/etc/canary', at('srv/app/absolute'));
  fs.symlinkSync('../../etc/canary', at('srv/app/out'));
  fs.symlinkSync('../../etc', at('srv/app/up'));
  fs.symlinkSync('real', at('srv/app/in'));
  fs.symlinkSync('out', at('srv/app/chain'));
  fs.linkSync(at('etc/canary/secret'), at('srv/app/hard'));
}

/** A kind as a controller that is taken over leaves it, which writes down what it asks for. */
function recorded(kind: AnyKind, asked: Permission[]): AnyKind {
  const { check: _, ...rest } = kind;
  return {
    ...rest,
    permissions(spec) {
      const permissions = kind.permissions(spec);
      asked.push(...permissions);
      return permissions;
    },
    ...(kind.resolve === undefined
      ? {}
      : {
          async resolve(...args: Parameters<NonNullable<AnyKind['resolve']>>) {
            const permissions = await kind.resolve!(...args);
            asked.push(...permissions);
            return permissions;
          },
        }),
  };
}

/** @returns whether anything was touched. */
async function tried(kind: AnyKind, spec: object): Promise<boolean> {
  const { t, end } = detachedContext();
  try {
    const directory = temporaryDirectory(t);
    const root = path.join(directory, 'root');
    lay(root);
    const config = { root, stateDir: path.join(root, 'state'), allow: ALLOW };
    const host = new RecordingHost(
      root,
      { allows: (p) => isGranted({ type: 'path', value: p }, { allow: ALLOW, own: ['/state'] }) },
      systemClock,
    );
    const asked: Permission[] = [];
    const line = new Timeline(t, {
      directory,
      config: AgentConfig.parse({ host: 'testhost', ...config }),
      kinds: new Map([[kind.kind, recorded(kind, asked)]]),
      ports: host.ports,
      env: { GRANTED: 'granted', OTHER: 'other' },
    });
    const outside = (): string =>
      ['etc/canary', 'srv/data', 'usr'].map((place) => treeText(path.join(root, place))).join('\n');
    const before = outside();
    line.start().assign(resource(kind.kind, 'a', spec));
    await line.agent.idle();
    await line.stop();
    await host.close();
    assert.equal(outside(), before, 'what is not granted was changed');
    assert.equal(fs.readFileSync(path.join(root, 'state/agent.key'), 'utf8'), 'key\n');
    const requested = AllowList.parse(
      allowOf(needsOf([{ key: 'a', kind: kind.kind, permissions: asked, fallback: [] }], { allow: ALLOW })),
    );
    for (const { by, ...permission } of host.touched) {
      const what = `${permission.type} ${permission.value} ${permission.mode ?? ''} (${by})`;
      assert.ok(isGranted(permission, { allow: ALLOW, own: ['/state'] }), `touched and not granted: ${what}`);
      assert.ok(isGranted(permission, { allow: requested }), `touched and not asked for: ${what}`);
    }
    return host.touched.length > 0;
  } finally {
    await end();
  }
}

for (const name of ['File', 'Service', 'Container', 'PrometheusConfig', 'AlloyConfig', 'Check']) {
  test(`${name}: what is touched was asked for and granted`, { timeout: 240_000 }, async (t) => {
    const kind = kinds.get(name)!;
    const specs = arbitrarySpec(kind.spec, TEXTS, CHOSEN).filter((spec) => kind.spec.safeParse(spec).success);
    let touching = 0;
    const property = fc.asyncProperty(specs, async (spec) => {
      if (await tried(kind, spec as object)) touching += 1;
    });
    await fc.assert(property, { numRuns: RUNS, seed });
    // All refused would prove nothing.
    t.diagnostic(`${touching} of ${RUNS} touched something`);
    assert.ok(touching >= RUNS / 50, `only ${touching} of ${RUNS} touched anything`);
  });
}
