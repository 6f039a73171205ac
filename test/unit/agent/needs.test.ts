// What `homeostat allow` makes of permissions: each grant once and exact, who needs it, what is granted and idle, and
// what no grant may give. Its answer, pasted, allows what was asked for and nothing else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AllowList } from '../../../agent/config.ts';
import { isGranted, LISTS, requireAllowed } from '../../../agent/reconcile/allow.ts';
import { allowOf, byList, needsOf, type ResourcePermissions } from '../../../agent/reconcile/needs.ts';
import type { Permission } from '../../../kinds/kind.ts';

const resource = (key: string, permissions: Permission[]): ResourcePermissions => ({
  key,
  kind: key.split('/')[0]!,
  permissions,
  fallback: [],
});
const NOTHING = AllowList.parse({});

test('each grant stands once, with everybody who needs it and why', () => {
  const { needs } = needsOf(
    [
      resource('File/a', [{ type: 'path', value: '/etc/a' }]),
      resource('Service/b', [
        { type: 'path', value: '/etc/a', why: 'one' },
        { type: 'path', value: '/etc/a', why: 'two' },
      ]),
    ],
    { allow: NOTHING },
  );
  assert.deepEqual(needs.find(({ list }) => list === 'paths')?.by, [
    { key: 'File/a', why: [] },
    { key: 'Service/b', why: ['one', 'two'] },
  ]);
});

test('a grant that is there is named, the exact one before a wider one', () => {
  const given = (paths: string[]): string | undefined =>
    needsOf([resource('File/a', [{ type: 'path', value: '/etc/a' }])], {
      allow: AllowList.parse({ paths }),
    }).needs.find(({ list }) => list === 'paths')?.grantedBy;
  assert.equal(given([]), undefined);
  assert.equal(given(['/etc/b', '/etc/']), '/etc/');
  assert.equal(given(['/etc/', '/etc/a']), '/etc/a');
});

test('what is granted and needed by nothing is named; what a fallback needs is not', () => {
  const allow = AllowList.parse({
    kinds: ['File', 'Service'],
    paths: ['/etc/a', '/etc/old', '/srv/'],
    exec: ['*'],
    mounts: ['/srv/x'],
  });
  const { unused } = needsOf(
    [
      {
        ...resource('File/a', [{ type: 'path', value: '/etc/a' }]),
        fallback: [{ type: 'path', value: '/etc/old' }],
      },
    ],
    { allow },
  );
  assert.deepEqual(byList(unused), {
    kinds: ['Service'],
    paths: ['/srv/'],
    exec: ['*'],
    mounts: ['/srv/x'],
  });
});

test('what is the agent’s own, and what would be a pattern, is in no list that is pasted', () => {
  const found = needsOf(
    [
      resource('Container/a', [
        { type: 'mount', value: '/', mode: 'ro' },
        { type: 'mount', value: '/srv', mode: 'ro' },
        { type: 'exec', value: '/bin/*' },
      ]),
    ],
    { allow: NOTHING, own: ['/var/lib/homeostat'] },
  );
  assert.deepEqual(allowOf(found), { kinds: ['Container'], mounts: ['/srv:ro'] });
  assert.equal(found.needs.filter(({ never }) => never !== undefined).length, 2);
});

test('a mount that is needed both ways is granted once, writable', () => {
  const found = needsOf(
    [
      resource('Container/a', [
        { type: 'mount', value: 'data', mode: 'ro' },
        { type: 'mount', value: 'data', mode: 'rw' },
      ]),
    ],
    { allow: NOTHING },
  );
  assert.deepEqual(allowOf(found).mounts, ['data:rw']);
});

const segment = fc.stringMatching(/^[a-z0-9._-]{1,4}$/).filter((s) => s !== '.' && s !== '..');
const place = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
const permission = fc
  .record({
    type: fc.constantFrom(...(Object.keys(LISTS) as Permission['type'][])),
    value: fc.oneof(place, segment, fc.string({ minLength: 1, maxLength: 6 })),
    mode: fc.constantFrom('ro' as const, 'rw' as const),
  })
  .filter(({ type, value }) => type !== 'path' || value.startsWith('/'));

test('what is printed and pasted allows what was asked for, and nothing that was not', () => {
  fc.assert(
    fc.property(
      fc.array(permission, { maxLength: 6 }),
      fc.array(permission, { maxLength: 6 }),
      (wanted, others) => {
        const found = needsOf([resource('File/a', wanted)], { allow: NOTHING });
        const allow = AllowList.parse(allowOf(found));
        const refused = found.needs.filter(({ never }) => never !== undefined).map(({ grant }) => grant);
        const possible = wanted.filter(({ value }) => !refused.some((grant) => grant.startsWith(value)));
        requireAllowed('File', possible, { allow });
        for (const other of others.filter((one) => isGranted(one, { allow }))) {
          const same = wanted.filter(({ type, value }) => type === other.type && isSame(value, other.value));
          assert.ok(
            same.some(({ mode }) => other.type !== 'mount' || mode === 'rw' || other.mode === 'ro'),
            JSON.stringify({ other, allow }),
          );
        }
      },
    ),
    { numRuns: 2000 },
  );
});

/** Of paths a slash at the end, and doubled ones, make no difference. */
function isSame(wanted: string, other: string): boolean {
  const bare = (text: string): string => (text.startsWith('/') ? `/${text.replace(/^\/+|\/+$/g, '')}` : text);
  return bare(wanted) === bare(other) || (wanted.endsWith('/') && other.startsWith(wanted));
}
