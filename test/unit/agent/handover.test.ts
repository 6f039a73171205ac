// Inventory entries follow claims: the table, and files that swap places on a real agent.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import type { InventoryEntry } from '../../../agent/journal/journal.ts';
import { handOver, type Wanted } from '../../../agent/reconcile/handover.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';

/** An entry whose original says what it is of. */
const entry = (...owns: string[]): InventoryEntry => ({
  owns,
  origin: 'created',
  original: {
    kind: 'K',
    snapshot: { existed: false, before: { version: 1, data: `before ${owns.join()}` } },
  },
  policy: 'delete',
});
const placed = (...claims: string[]): Wanted => ({ claims, hasPlace: true });
const shared = (...claims: string[]): Wanted => ({ claims, hasPlace: false });

/** Key to what it holds and from where that came; null for none any more. */
function after(held: Record<string, InventoryEntry>, wanted: Record<string, Wanted>) {
  const now = new Map<string, string>();
  for (const written of handOver(new Map(Object.entries(held)), new Map(Object.entries(wanted)))) {
    const { key, entry: kept } = written;
    now.set(key, kept ? `${kept.owns.join()} (${kept.original.snapshot.before.data})` : 'gone');
  }
  return Object.fromEntries(now);
}

const CASES: [string, Record<string, InventoryEntry>, Record<string, Wanted>, Record<string, string>][] = [
  ['nothing moved', { x: entry('a') }, { x: placed('a') }, {}],
  ['a document is new', { x: entry('a') }, { x: placed('a'), y: placed('b') }, {}],
  ['a document left', { x: entry('a') }, {}, {}],
  ['renamed', { x: entry('a') }, { y: placed('a') }, { x: 'gone', y: 'a (before a)' }],
  [
    'swapped',
    { x: entry('a'), y: entry('b') },
    { x: placed('b'), y: placed('a') },
    { x: 'b (before b)', y: 'a (before a)' },
  ],
  [
    'a round of three',
    { x: entry('a'), y: entry('b'), z: entry('c') },
    { x: placed('b'), y: placed('c'), z: placed('a') },
    { x: 'b (before b)', y: 'c (before c)', z: 'a (before a)' },
  ],
  ['moved to where nobody was', { x: entry('a') }, { x: placed('b') }, {}],
  [
    'moved to where another one left',
    { x: entry('a'), y: entry('b') },
    { x: placed('b') },
    { 'x~1': 'a (before a)', y: 'gone', x: 'b (before b)' },
  ],
  [
    'split',
    { x: entry('a', 'b') },
    { y: shared('a'), z: shared('b') },
    { x: 'gone', y: 'a (before a,b)', z: 'b (before a,b)' },
  ],
  ['split, and one part stays', { x: entry('a', 'b') }, { x: shared('a'), z: shared('b') }, {}],
  [
    'split, and a part is dropped',
    { x: entry('a', 'b', 'c') },
    { y: shared('a'), z: shared('b') },
    { x: 'gone', y: 'a,c (before a,b,c)', z: 'b (before a,b,c)' },
  ],
  [
    'joined: the second leaves by its own snapshot',
    { x: entry('a'), y: entry('b') },
    { z: shared('a', 'b') },
    { x: 'gone', z: 'a (before a)' },
  ],
  ['joined into one that stays', { x: entry('a'), y: entry('b') }, { x: shared('a', 'b') }, {}],
];

for (const [name, held, wanted, expected] of CASES) {
  test(`${name}`, () => assert.deepEqual(after(held, wanted), expected));
}

test('two files that swap places are right, and at removal each place is as it was before homeostat', async (t) => {
  const line = new Timeline(t);
  fs.mkdirSync(line.path('/etc'));
  fs.writeFileSync(line.path('/etc/a'), 'theirs in a');
  line.start();
  const files = (x: string, y: string) => [
    resource('File', 'x', { path: `/etc/${x}`, content: `x in ${x}` }),
    resource('File', 'y', { path: `/etc/${y}`, content: `y in ${y}` }),
  ];
  line.assign(...files('a', 'b'));
  await line.expect('File/x', 'True');
  await line.expect('File/y', 'True');
  line.assign(...files('b', 'a'));
  await line.expectContent('/etc/b', 'x in b');
  await line.expectContent('/etc/a', 'y in a');
  await eventually(() => {
    const { desired, running } = line.agent.status().sequence;
    assert.equal(running, desired);
  });
  line.assign();
  await line.expectGone('File/x');
  await line.expectGone('File/y');
  assert.deepEqual(fs.readdirSync(line.path('/etc')), ['a']);
  assert.equal(fs.readFileSync(line.path('/etc/a'), 'utf8'), 'theirs in a');
});
