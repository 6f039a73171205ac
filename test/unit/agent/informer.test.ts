// What the agent says of a controller, and what it takes of an answer that nobody has vouched for yet.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { BundleCache } from '../../../agent/informer/cache.ts';
import {
  type ControllerClient,
  ControllerError,
  createControllerClient,
  parseSignedBundle,
} from '../../../agent/informer/client.ts';
import { Informer } from '../../../agent/informer/informer.ts';
import type { PullResult } from '../../../agent/metrics.ts';
import { systemClock } from '../../../agent/providers/clock.ts';
import { ConditionSet } from '../../../agent/reconcile/conditions.ts';
import { BundleRefused, privateKeyOf } from '../../../api/bundle.ts';
import { MAX_STATUS_BYTES } from '../../../api/limits.ts';
import { AgentStatus } from '../../../api/status.ts';
import { statusOf } from '../../support/agent-status.ts';
import { testBundle, testKey } from '../../support/bundle.ts';
import { FakeClock } from '../../support/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const key = testKey();

function inform(
  t: TestContext,
  stateDir: string,
  pull: ControllerClient['pull'],
  report: ControllerClient['report'] = async () => undefined,
) {
  const cache = new BundleCache({ stateDir, host: 'pi', trustedKeys: [key.publicKey] });
  const conditions = new ConditionSet();
  const pulls: PullResult[] = [];
  const informer = new Informer({
    client: { pull, report },
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
  return { informer, conditions, pulls };
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

test('a report that the controller refuses is a condition, until one is taken', async (t) => {
  const stateDir = temporaryDirectory(t);
  let refuses = true;
  const { informer, conditions } = inform(
    t,
    stateDir,
    async (_known, signal) => {
      await systemClock.sleep(1, signal);
      return 'unchanged';
    },
    async () => {
      if (refuses) throw new ControllerError(413, 'TooLarge', 'the status has 9 bytes, and 8 are taken here');
    },
  );
  await eventually(() => assert.equal(conditions.get('StatusAccepted')?.status, 'False'));
  assert.match(conditions.get('StatusAccepted')!.message, /8 are taken here/);
  refuses = false;
  await eventually(() => {
    informer.statusChanged();
    assert.equal(conditions.get('StatusAccepted')?.status, 'True');
  });
});

test('what is reported fits what a controller takes, however much there is to say', async (t) => {
  const bodies: string[] = [];
  const server = http.createServer(async (request, response) => {
    bodies.push(await new Response(Readable.toWeb(request)).text());
    response.writeHead(204).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const privateKey = privateKeyOf(randomBytes(32).toString('base64'));
  const client = createControllerClient({ url, host: 'pi', privateKey, clock: systemClock });
  const log = 'a line of a log\n'.repeat(16_000);
  const status = emptyStatus(
    Array.from({ length: 6 }, (_, i) => ({
      key: `AlloyConfig/${i}`,
      conditions: [
        { type: 'Ready', status: 'False', reason: 'RolledBack', message: log, lastTransitionTime: '' },
      ],
      desiredDigest: '',
      runningDigest: '',
      drift: [],
      healedTotal: 0,
      source: '',
    })),
  );
  assert.ok(Buffer.byteLength(JSON.stringify(status)) > MAX_STATUS_BYTES);
  await client.report(status, new AbortController().signal);
  assert.ok(Buffer.byteLength(bodies[0]!) <= MAX_STATUS_BYTES);
  const sent = AgentStatus.parse(JSON.parse(bodies[0]!));
  assert.equal(sent.resources.length, 6);
  assert.equal(sent.conditions[0]?.type, 'StatusShortened');
});

const emptyStatus = (resources: AgentStatus['resources']): AgentStatus => statusOf('pi', { resources });

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
