// HTTP to those who do not even take a connection: a firewall that drops, a program that hangs with a full backlog.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { createHttp } from '../../../agent/providers/http.ts';
import { eventually } from '../../support/eventually.ts';

/** Listens, says where, and accepts nobody any more. */
const DEAF = `
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    require('node:fs').writeSync(1, String(server.address().port) + '\\n');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;

test('a request ends at its deadline, and at its signal, while its connection is still being made', async (t) => {
  const child = spawn(process.execPath, ['--eval', DEAF], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());
  // Those that fit into the backlog are connected by the kernel; the others hang, as every one after them.
  const waiting = Array.from({ length: 8 }, () =>
    net.connect(port, '127.0.0.1').on('error', () => undefined),
  );
  t.after(() => {
    for (const socket of waiting) socket.destroy();
  });
  await once(waiting[0]!, 'connect');
  const http = createHttp();
  t.after(() => http.close());
  const url = `http://127.0.0.1:${port}/`;
  await assert.rejects(http.request(url, { timeoutMs: 50 }), { code: 'ETIMEDOUT' });
  const abort = new AbortController();
  const request = http.request(url, { timeoutMs: 3_600_000, signal: abort.signal });
  abort.abort(new Error('the agent stops'));
  await assert.rejects(request, /the agent stops/);
  for (const socket of waiting) socket.destroy();
  await http.close();
  // What still tries would keep the process.
  await eventually(() =>
    assert.ok(!process.getActiveResourcesInfo().includes('ConnectWrap'), 'an attempt to connect goes on'),
  );
});
