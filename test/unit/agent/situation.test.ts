// Which situation a pass finds itself in: the table.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Facts, type Situation, situationOf } from '../../../agent/reconcile/situation.ts';

const asked: Facts = {
  inManifest: true,
  suspended: false,
  mayTouch: true,
  wanted: 'b',
  refused: false,
  confirmed: undefined,
  intent: undefined,
};
const applying = (digest: string) => ({ digest, undoing: false });
const undoing = (digest: string) => ({ digest, undoing: true });

const TABLE: [string, Partial<Facts>, Situation][] = [
  ['it was never here', {}, 'New'],
  ['another state was confirmed', { confirmed: 'a' }, 'New'],
  ['this very state was confirmed', { confirmed: 'b' }, 'Heal'],
  ['it can’t be had, and nothing was confirmed', { wanted: undefined }, 'Fallback'],
  ['it can’t be had, and another state was confirmed', { wanted: undefined, confirmed: 'a' }, 'Fallback'],
  ['it was refused before', { refused: true, confirmed: 'a' }, 'Fallback'],
  ['it was begun', { intent: applying('b') }, 'Resume'],
  ['it was begun over a confirmed state', { intent: applying('b'), confirmed: 'a' }, 'Resume'],
  ['it was begun, and is refused since', { intent: applying('b'), refused: true }, 'Undo'],
  ['it was begun, and can’t be had any more', { intent: applying('b'), wanted: undefined }, 'Undo'],
  ['another one was begun', { intent: applying('x') }, 'New'],
  ['another one was begun, and this one can’t be had', { intent: applying('x'), wanted: undefined }, 'Undo'],
  ['another one was begun, and this one is refused', { intent: applying('x'), refused: true }, 'Undo'],
  [
    'another one was begun, and git is back at the confirmed one',
    { intent: applying('x'), confirmed: 'b' },
    'New',
  ],
  ['it is being undone', { intent: undoing('b'), refused: true }, 'Undo'],
  ['it is being undone, and what refused it was mended', { intent: undoing('b') }, 'Undo'],
  ['another one is being undone', { intent: undoing('x') }, 'New'],
  [
    'another one is being undone, and git is back at the confirmed one',
    { intent: undoing('x'), confirmed: 'b' },
    'New',
  ],
  [
    'another one is being undone, and this one can’t be had',
    { intent: undoing('x'), wanted: undefined },
    'Undo',
  ],
  ['it may only be looked at', { mayTouch: false }, 'Observe'],
  ['it may only be looked at, with an undo open', { mayTouch: false, intent: undoing('b') }, 'Observe'],
  ['it may only be looked at, and can’t be had', { mayTouch: false, wanted: undefined }, 'Observe'],
  ['it is suspended', { suspended: true, intent: undoing('b') }, 'Suspended'],
  ['it is suspended, and may only be looked at', { suspended: true, mayTouch: false }, 'Suspended'],
  ['it left the manifest', { inManifest: false, confirmed: 'a' }, 'Remove'],
  ['it left the manifest in the middle of a change', { inManifest: false, intent: undoing('b') }, 'Remove'],
];

for (const [name, facts, expected] of TABLE) {
  test(`${name}: ${expected}`, () => assert.equal(situationOf({ ...asked, ...facts }), expected));
}
