// An agent that waits for news sleeps: nothing of the request wakes the process while the controller lets it wait.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createControllerClient } from '../../../agent/informer/client.ts';
import { systemClock } from '../../../agent/providers/clock.ts';
import { Agent, connector, request } from '../../../agent/providers/undici.ts';
import { privateKeyOf } from '../../../api/bundle.ts';

async function waitingController(t: TestContext) {
  const server = http.createServer(() => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const client = createControllerClient({
    url: `http://127.0.0.1:${port}`,
    host: 'h',
    privateKey: privateKeyOf(Buffer.alloc(32, 1).toString('base64')),
    clock: systemClock,
  });
  return { server, client };
}

test('no timer ticks while a request waits, and its end is still its own', async (t) => {
  const { server, client } = await waitingController(t);
  const timers = t.mock.method(globalThis, 'setTimeout');
  const stop = new AbortController();
  const requested = once(server, 'request');
  const pulled = client.pull({}, stop.signal);
  await requested;
  const short = timers.mock.calls
    .map(({ arguments: [, ms] }) => Number(ms))
    .filter((ms) => ms > 0 && ms < 1000);
  assert.deepEqual(short, []);
  stop.abort(new Error('the agent stops'));
  await assert.rejects(pulled, /the agent stops/);
});

test('where nobody answers a connection, the attempt fails after its time, and leaves no timer', async (t) => {
  // As behind a firewall that drops: the socket neither connects nor fails.
  t.mock.method(net.Socket.prototype, 'connect', function connect(this: net.Socket) {
    return this;
  });
  const agent = new Agent({ connect: connector({}, 20).connect });
  t.after(() => agent.destroy());
  await assert.rejects(request('http://127.0.0.1:9/', { method: 'GET', dispatcher: agent }), {
    code: 'ETIMEDOUT',
    message: '127.0.0.1 did not answer a connection within 0.02 s',
  });
});
