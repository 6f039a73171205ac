// What others restart on: the desired state, and what stands there where that does not say it all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writtenNow } from '../../../agent/reconcile/written.ts';

test('a desired state is new when it is another one, or when another revision of it stands there', () => {
  const plain = writtenNow(undefined, 'a', undefined, 1);
  assert.deepEqual(plain, { digest: 'a', atMs: 1 });
  assert.equal(writtenNow(plain, 'a', undefined, 2), plain);
  assert.deepEqual(writtenNow(plain, 'b', undefined, 2), { digest: 'b', atMs: 2 });

  const first = writtenNow(undefined, 'a', '1.0', 1);
  assert.equal(writtenNow(first, 'a', '1.0', 2), first);
  const second = writtenNow(first, 'a', '1.1', 2);
  assert.notEqual(second.digest, first.digest);
  assert.equal(second.atMs, 2);
});

test('what an older release wrote restarts nobody, and the next revision does', () => {
  const old = { digest: 'a', atMs: 1 };
  const known = writtenNow(old, 'a', '1.0', 2);
  assert.deepEqual([known.digest, known.atMs], ['a', 1]);
  assert.notEqual(writtenNow(known, 'a', '1.1', 3).digest, 'a');
});
