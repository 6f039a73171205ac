// What an agent takes from a controller, and what it refuses.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { BundleCache } from '../../../agent/informer/cache.ts';
import { BundleRefused } from '../../../api/bundle.ts';
import { payloadText, testBundle, testKey } from '../../support/bundle.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const key = testKey();

function open(t: TestContext, stateDir = temporaryDirectory(t), trustedKeys = [key.publicKey]) {
  const cache = new BundleCache({ stateDir, host: 'pi', trustedKeys });
  return { cache, stateDir, unusable: cache.load() };
}

function refused(result: BundleRefused['result'], message: RegExp) {
  return (error: unknown) =>
    error instanceof BundleRefused && error.result === result && message.test(error.message);
}

test('a bundle that is signed, for this host, newer and whole is taken and kept', (t) => {
  const { cache, stateDir } = open(t);
  assert.equal(cache.accept(testBundle({ key, sequence: 5 }))?.envelope.sequence, 5);
  assert.equal(cache.accept(testBundle({ key, sequence: 5 })), undefined, 'the same again is no news');
  const again = open(t, stateDir).cache;
  assert.equal(again.current?.envelope.sequence, 5);
});

test('each of two trusted keys may sign, so that keys can be rotated', (t) => {
  const next = testKey();
  const { cache } = open(t, undefined, [key.publicKey, next.publicKey]);
  cache.accept(testBundle({ key, sequence: 1 }));
  cache.accept(testBundle({ key: next, sequence: 2 }));
  assert.equal(cache.highestSequence, 2);
});

test('another key, a flipped bit, another host, a wrong payload and an older sequence are refused by name', (t) => {
  const { cache } = open(t);
  cache.accept(testBundle({ key, sequence: 10 }));
  const good = testBundle({ key, sequence: 11 });
  const cases: [
    bundle: Parameters<BundleCache['accept']>[0],
    result: BundleRefused['result'],
    message: RegExp,
  ][] = [
    [testBundle({ key: testKey(), sequence: 11 }), 'bad_signature', /none of the trusted keys/],
    [
      { ...good, envelope: good.envelope.replace('"sequence":11', '"sequence":12') },
      'bad_signature',
      /fits none/,
    ],
    [testBundle({ key, host: 'other', sequence: 11 }), 'wrong_host', /is for host other, and this is pi/],
    [
      testBundle({ key, sequence: 11, payload: payloadText('other') }),
      'wrong_host',
      /payload is for host other/,
    ],
    [
      { ...good, payload: payloadText('pi').replace('enforce', 'observe') },
      'bad_digest',
      /has digest .* and the envelope names/,
    ],
    [testBundle({ key, sequence: 9 }), 'replayed', /sequence 9, and 10 was seen/],
    [testBundle({ key, sequence: 11, payload: '{"apiVersion":' }), 'malformed', /payload is not JSON/],
    [testBundle({ key, sequence: 11, payload: '{}' }), 'malformed', /payload is malformed/],
  ];
  for (const [bundle, result, message] of cases) {
    assert.throws(() => cache.accept(bundle), refused(result, message));
    assert.equal(cache.current?.envelope.sequence, 10, `${result}: the running state stays`);
  }
});

test('a payload that is left out is taken from the cache only when it is the very one', (t) => {
  const { cache } = open(t);
  cache.accept(testBundle({ key, sequence: 1 }));
  assert.equal(cache.accept(testBundle({ key, sequence: 2, withPayload: false }))?.envelope.sequence, 2);
  const other = testBundle({ key, sequence: 3, payload: `${payloadText('pi')} `, withPayload: false });
  assert.throws(() => cache.accept(other), refused('malformed', /no payload/));
});

test('losing the cache opens no door to a replay', (t) => {
  const { cache, stateDir } = open(t);
  cache.accept(testBundle({ key, sequence: 10 }));
  fs.rmSync(path.join(stateDir, 'bundle.json'));
  const { cache: again } = open(t, stateDir);
  assert.throws(() => again.accept(testBundle({ key, sequence: 9 })), refused('replayed', /10 was seen/));
  assert.equal(
    again.accept(testBundle({ key, sequence: 10 }))?.envelope.sequence,
    10,
    'the newest may be fetched again',
  );
});

test('a cached bundle that was tampered with is not used', (t) => {
  const { cache, stateDir } = open(t);
  cache.accept(testBundle({ key, sequence: 10 }));
  const file = path.join(stateDir, 'bundle.json');
  for (const text of [fs.readFileSync(file, 'utf8').replace('enforce', 'observe'), '{"half', '']) {
    fs.writeFileSync(file, text);
    const { cache: again, unusable } = open(t, stateDir);
    assert.match(unusable ?? '', /can't be used/);
    assert.equal(again.current, undefined);
    assert.equal(again.highestSequence, 10);
  }
});
