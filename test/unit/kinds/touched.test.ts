// For any spec that fits a kind's schema, with `check` left out: whatever the kind writes, runs, asks or reads of secrets was
// asked for by `permissions` and `resolve`, and is granted by exactly those grants.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { AllowList } from '../../../agent/config.ts';
import { grantOf, isGranted, LISTS } from '../../../agent/reconcile/allow.ts';
import { secretPermissions, secretRefsIn } from '../../../agent/secrets/store.ts';
import { digestOf } from '../../../api/json.ts';
import { kinds } from '../../../kinds/index.ts';
import type { AnyKind, Permission } from '../../../kinds/kind.ts';
import { desiredOf } from '../../support/desired.ts';
import { furnish, type Recording, recordingPorts } from '../../support/recording-ports.ts';
import { specsOf } from '../../support/specs.ts';

const TEXTS = [
  ...[
    '/srv/app/x',
    '/srv/app/link/shadow',
    '/srv/app/near/x',
    '/srv/app/hard',
    '/etc/shadow',
    '/etc/alloy/config.alloy',
  ],
  ...[
    '/etc/prometheus/prometheus.yml',
    '/usr/bin/sh',
    '/usr/bin/alloy',
    '/etc/passwd',
    '/',
    '../../etc/shadow',
    'near',
  ],
  ...[
    'link',
    '..',
    'rules/*.yml',
    'alloy',
    'promtool',
    'web.service',
    'web.timer',
    'evil-.service',
    '10-x.conf',
    'main.alloy',
    'X',
    'a1',
  ],
  ...[
    '[Service]\nExecStart=/usr/bin/a ; /usr/bin/b\nUser=x',
    'ExecStart=%h/x',
    'LoadCredential=x:/etc/shadow',
    'n',
  ],
  ...[
    '0644',
    '4755',
    'root',
    'alloy',
    '1000',
    '127.0.0.1:9090',
    'HOST:080',
    '[::1]:1',
    'http://127.0.0.1:3000',
    '30s',
  ],
  ...[
    'http://h/x',
    'https://apt.example.org',
    'file:/srv/repo',
    'stable',
    './',
    'A'.repeat(40),
    '1.*',
    'present',
    'prometheus',
  ],
  ...[
    '- job_name: a\n  bearer_token_file: /etc/shadow',
    '{"title":"x"}',
    '{}',
    '-',
    'example.com',
    'ts-default',
    'TOKEN',
    '',
  ],
];

/** What answers to everything: nothing, or what some API says. */
const ANSWERS = [
  '',
  '{}',
  '[]',
  '{"data":{"yaml":"","version":"2.50.0"}}',
  '  Candidate: 1.0\n  Version table:\n     1.0 500\n',
];

const KINDS = [
  ...[
    'File',
    'Service',
    'AlloyConfig',
    'PrometheusConfig',
    'Package',
    'AptRepository',
    'Check',
    'GrafanaDashboard',
  ],
  ...['GrafanaDatasource', 'TailscaleClient', 'TailnetPolicy'],
];

/** A unit's own files and links are what its words `unit-file:UNIT` are for. */
function isUnitFile({ type, value }: Permission, granted: readonly Permission[]): boolean {
  return (
    type === 'path' &&
    granted.some(
      (permission) =>
        permission.type === 'unit' &&
        [`/etc/systemd/system/${permission.value}`, `/etc/systemd/system/${permission.value}.d`].some(
          (own) => value === own || value.startsWith(`${own}/`),
        ),
    )
  );
}

async function touchedBy(
  kind: AnyKind,
  spec: Record<string, unknown>,
  { ports, touched, content }: Recording,
) {
  const signal = AbortSignal.timeout(5_000);
  const d = desiredOf(`${kind.kind}/x`, spec, { digest: digestOf(spec), content });
  const early = [...kind.permissions(spec), ...secretPermissions(secretRefsIn(spec))];
  const late = (await kind.resolve?.(d, ports, signal)) ?? [];
  touched.length = 0;
  // Each step may refuse it; what it touched until then counts.
  const attempt = async <T>(step: () => Promise<T> | T): Promise<T | undefined> => {
    try {
      return await step();
    } catch {
      return undefined;
    }
  };
  const observed = await attempt(() => kind.observe(d, ports, signal));
  const prepared = await attempt(() => kind.prepare(d, observed, ports, signal));
  const changes = (await attempt(() => kind.diff(d, observed))) ?? [{ what: 'all', from: '', to: '' }];
  await attempt(() => kind.apply(changes, d, ports, signal));
  const record = {
    key: d.key,
    owns: kind.owns(spec),
    memory: undefined,
    content,
    own: [],
    refusal: () => undefined,
  };
  if (prepared !== undefined) await attempt(() => kind.undo(prepared.before, record, ports, signal));
  return { asked: [...early, ...late], touched: [...touched] };
}

for (const name of KINDS) {
  test(`${name} touches nothing that it did not ask for`, async (t) => {
    const kind = kinds.get(name)!;
    let answer = '';
    const recording = recordingPorts(t, () => answer);
    let count = 0;
    const runs = () =>
      fc.assert(
        fc.asyncProperty(specsOf(kind, TEXTS), fc.constantFrom(...ANSWERS), async (spec, said) => {
          answer = said;
          for (const entry of fs.readdirSync(recording.root))
            fs.rmSync(path.join(recording.root, entry), { recursive: true, force: true });
          furnish(recording.root);
          let result: Awaited<ReturnType<typeof touchedBy>>;
          try {
            result = await touchedBy(kind, spec, recording);
          } catch {
            return; // refused before anything was touched
          }
          const { asked, touched } = result;
          count += touched.length;
          const lists: Record<string, string[]> = {};
          for (const permission of asked) {
            const list = LISTS[permission.type];
            lists[list] = [...(lists[list] ?? []), grantOf(permission)];
          }
          const allow = AllowList.parse(lists);
          // What no grant opens is refused before anything is touched.
          if (!asked.every((permission) => isGranted(permission, { allow }))) return;
          const beyond = touched.filter(
            (permission) => !isGranted(permission, { allow }) && !isUnitFile(permission, asked),
          );
          assert.deepEqual(
            beyond,
            [],
            `asked for: ${asked.map(({ type, value }) => `${type} ${value}`).join(', ')}`,
          );
        }),
        { numRuns: 100 },
      );
    // Of some kinds few generated specs touch anything.
    for (let round = 0; round < 10 && count === 0; round++) await runs();
    assert.ok(count > 0, 'none of them touched anything');
  });
}
