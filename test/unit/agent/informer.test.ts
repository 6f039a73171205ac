// What the agent says of a controller, and what it takes of an answer that nobody has vouched for yet.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { BundleCache } from '../../../agent/informer/cache.ts';
import { type ControllerClient, parseSignedBundle } from '../../../agent/informer/client.ts';
import { Informer } from '../../../agent/informer/informer.ts';
import type { PullResult } from '../../../agent/metrics.ts';
import { systemClock } from '../../../agent/providers/clock.ts';
import { ConditionSet } from '../../../agent/reconcile/conditions.ts';
import { BundleRefused } from '../../../api/bundle.ts';
import type { AgentStatus } from '../../../api/status.ts';
import { testBundle, testKey } from '../../support/bundle.ts';
import { FakeClock } from '../../support/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const key = testKey();

function inform(t: TestContext, stateDir: string, pull: ControllerClient['pull']) {
  const cache = new BundleCache({ stateDir, host: 'pi', trustedKeys: [key.publicKey] });
  const conditions = new ConditionSet();
  const pulls: PullResult[] = [];
  const informer = new Informer({
    client: { pull, report: async () => undefined },
    cache,
    clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 1000, signal) },
    log: pino({ level: 'silent' }),
    random: () => 0.5,
    conditions,
    onBundle: () => undefined,
    onPull: (result) => pulls.push(result),
    status: () => ({}) as AgentStatus,
  });
  informer.start();
  t.after(() => informer.stop());
  return { conditions, pulls };
}

test('a bundle that the disk does not take is not the controller’s fault, and is taken once it does', async (t) => {
  const stateDir = path.join(temporaryDirectory(t), 'state'); // missing: nothing can be written there
  const bundle = testBundle({ key, sequence: 7 });
  const { conditions, pulls } = inform(t, stateDir, async (_known, signal) => {
    await systemClock.sleep(1, signal);
    return { bundle, etag: '"7"' };
  });
  await eventually(() => assert.ok(pulls.includes('not_kept')));
  assert.equal(conditions.get('ControllerReachable')?.status, 'True');
  assert.equal(conditions.get('ManifestAccepted')?.reason, 'NotKept');
  assert.match(conditions.get('ManifestAccepted')!.message, /could not be kept.*ENOENT/);
  fs.mkdirSync(stateDir);
  await eventually(() => assert.equal(conditions.get('ManifestAccepted')?.status, 'True'));
});

test('how long the informer has done nothing: a controller that is down keeps it busy, one that hangs shows', async (t) => {
  const clock = new FakeClock();
  let pull = async (): Promise<never> => {
    throw new Error('nobody answers');
  };
  const informer = new Informer({
    client: { pull: () => pull(), report: async () => undefined },
    cache: new BundleCache({ stateDir: temporaryDirectory(t), host: 'pi', trustedKeys: [] }),
    ...{ clock, log: pino({ level: 'silent' }), random: () => 0.5, conditions: new ConditionSet() },
    onBundle: () => undefined,
    onPull: () => undefined,
    status: () => ({}) as AgentStatus,
  });
  informer.start();
  for (let i = 0; i < 20; i++) {
    await clock.advance(60_000);
    assert.ok(informer.idleMs() <= 60_000, String(informer.idleMs()));
  }
  const hangs = Promise.withResolvers<never>();
  pull = () => hangs.promise;
  await clock.advance(60_000);
  const before = informer.idleMs();
  await clock.advance(300_000);
  assert.equal(informer.idleMs(), before + 300_000);
  hangs.reject(new Error('it ends'));
  await informer.stop();
});

test('a bundle is taken however its texts are quoted', () => {
  const payload = JSON.stringify({ text: '"\\\\" [[[[ {{{{ ,,,, \\" '.repeat(100) });
  const bundle = testBundle({ key, payload });
  assert.deepEqual(parseSignedBundle(JSON.stringify(bundle)), bundle);
  assert.deepEqual(parseSignedBundle(JSON.stringify(bundle, null, 2)), bundle);
});

test('a text that would be gigabytes once it is parsed is refused before that', () => {
  const bombs = ['['.repeat(1e6), `[${'[],'.repeat(1e6)}1]`, `{"envelope":{${'"a":{},'.repeat(1e6)}"b":1}}`];
  for (const bomb of bombs) {
    const before = process.memoryUsage().heapUsed;
    assert.throws(() => parseSignedBundle(bomb), BundleRefused);
    assert.ok(process.memoryUsage().heapUsed - before < 20e6, 'nothing was built of it');
  }
  for (const text of ['', '"', '{"envelope":"', '\\"', '{"envelope":"x\\']) {
    assert.throws(() => parseSignedBundle(text), BundleRefused);
  }
});
