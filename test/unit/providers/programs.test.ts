// Processes and Http: what their errors say, and that nothing waits for ever.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createHttp } from '../../../agent/providers/http.ts';
import { createProcesses } from '../../../agent/providers/processes.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const shell = (script: string): ['sh', string[]] => ['sh', ['-c', script]];

test('a program gets its arguments and input as they are, and gives its exit code and output', async () => {
  const processes = createProcesses();
  const [command, args] = shell('cat; echo "$LC_ALL $X" >&2; exit 3');
  const result = await processes.run(command, args, {
    timeoutMs: 5000,
    input: 'in $HOME',
    env: { X: 'y z' },
  });
  assert.deepEqual(result, { exitCode: 3, stdout: 'in $HOME', stderr: 'C y z\n' });
});

test('a program that is missing, hangs, is killed or is cancelled says so', async () => {
  const processes = createProcesses();
  const options = { timeoutMs: 5000 };
  await assert.rejects(processes.run('no-such-program', [], options), {
    code: 'ENOENT',
    message: /no program/,
  });
  await assert.rejects(processes.run('/etc/passwd', [], options), { code: 'EACCES' });
  await assert.rejects(
    processes.run('sleep', ['100'], { timeoutMs: 50 }),
    /sleep 100 did not end within 50 ms/,
  );
  await assert.rejects(processes.run(...shell('kill -9 $$'), options), /ended by SIGKILL/);
  const stop = new AbortController();
  const running = processes.run('sleep', ['100'], { ...options, signal: stop.signal });
  stop.abort(new Error('the pass is over'));
  await assert.rejects(running, /the pass is over/);
});

test('a program that a manifest chose is judged, and run, where it really is', async (t) => {
  const directory = temporaryDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  fs.writeFileSync(at('tool'), '#!/bin/sh\necho "$0"\n', { mode: 0o755 });
  fs.symlinkSync('tool', at('link'));
  const asked: string[] = [];
  const processes = createProcesses({
    allows: (program) => asked.push(program) > 0 && program === at('tool'),
  });
  const options = { timeoutMs: 5000, chosen: true } as const;
  const { stdout } = await processes.run(at('link'), [], options);
  assert.equal(stdout, `${at('tool')}\n`);
  assert.equal(processes.locate!(at('link')), at('tool'));
  await assert.rejects(processes.run('sh', ['-c', ':'], options), { name: 'Stalled', reason: 'NotAllowed' });
  assert.deepEqual(asked, [at('tool'), fs.realpathSync('/bin/sh')]);
  await processes.run('sh', ['-c', ':'], { timeoutMs: 5000 });
});

test('what runs is ended with the agent', async () => {
  const processes = createProcesses();
  const running = processes.run('sleep', ['100'], { timeoutMs: 60_000 });
  await processes.close();
  await assert.rejects(running, /agent stops/);
});

/** Without units, since a test is no reason to ask the machine's systemd for one. */
const apart = { timeoutMs: 60_000, detached: { unit: 'test' } };

test('a detached program gives its exit code and output, and says what is wrong with it', async () => {
  const processes = createProcesses({ units: false });
  const result = await processes.run(...shell('echo out; echo "$LC_ALL $X" >&2; exit 3'), {
    ...apart,
    env: { X: 'y' },
  });
  assert.deepEqual(result, { exitCode: 3, stdout: 'out\n', stderr: 'C y\n' });
  await assert.rejects(processes.run('no-such-program', [], apart), {
    code: 'ENOENT',
    message: /no program/,
  });
  await assert.rejects(processes.run(...shell('kill -9 $$'), apart), /ended by SIGKILL/);
  await assert.rejects(
    processes.run('sleep', ['100'], { ...apart, timeoutMs: 50 }),
    /sleep did not end within 50 ms/,
  );
});

test('a detached program outlives the pass and the agent', async (t) => {
  const directory = temporaryDirectory(t);
  for (const ending of ['pass', 'agent']) {
    const at = (name: string): string => path.join(directory, `${ending}-${name}`);
    execFileSync('mkfifo', [at('gate')]);
    const processes = createProcesses({ units: false });
    const pass = new AbortController();
    const script = `: >${at('runs')}; read -r _ <${at('gate')}; echo words; : >${at('ended')}`;
    const running = processes.run(...shell(script), { ...apart, signal: pass.signal });
    const left = assert.rejects(running, /sh goes on in the background, and is not waited for/);
    await eventually(() => assert.ok(fs.existsSync(at('runs'))));
    if (ending === 'pass') pass.abort();
    else await processes.close();
    await left;
    fs.writeFileSync(at('gate'), '\n');
    await eventually(() => assert.ok(fs.existsSync(at('ended'))));
  }
});

async function server(t: TestContext, handler: http.RequestListener): Promise<string> {
  const listening = http.createServer(handler);
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    listening.closeAllConnections();
    listening.close();
  });
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
}

test('a request gives status, headers and body, and follows no redirect', async (t) => {
  const url = await server(t, (request, response) => {
    response
      .writeHead(302, { location: '/elsewhere', 'x-method': request.method ?? '' })
      .end(request.headers.host);
  });
  const client = createHttp();
  t.after(() => client.close());
  const response = await client.request(`${url}/a`, {
    method: 'POST',
    timeoutMs: 5000,
    headers: { host: 'other:5252' },
    body: 'x',
  });
  assert.equal(response.status, 302);
  assert.equal(response.headers['x-method'], 'POST');
  assert.equal(response.body, 'other:5252');
});

test('a service that is not there, is silent or talks too much ends in an error that says which', async (t) => {
  const url = await server(t, (request, response) => {
    if (request.url === '/silent') return;
    for (let i = 0; i < 9; i++) response.write(Buffer.alloc(1024 * 1024));
    response.end();
  });
  const client = createHttp();
  t.after(() => client.close());
  await assert.rejects(client.request('http://127.0.0.1:1/', { timeoutMs: 5000 }), { code: 'ECONNREFUSED' });
  await assert.rejects(client.request(`${url}/silent`, { timeoutMs: 50 }), { code: 'ETIMEDOUT' });
  await assert.rejects(client.request(`${url}/big`, { timeoutMs: 10_000 }), /more than 8388608 bytes/);
});

test('a service that was started anew is not met with an old connection', async (t) => {
  const client = createHttp();
  t.after(() => client.close());
  let port = 0;
  for (let round = 0; round < 3; round++) {
    const listening = http.createServer((_, response) => void response.end(String(round)));
    await new Promise<void>((resolve) => listening.listen(port, '127.0.0.1', resolve));
    port = (listening.address() as AddressInfo).port;
    const { body } = await client.request(`http://127.0.0.1:${port}/`, { timeoutMs: 5000 });
    assert.equal(body, String(round));
    listening.closeAllConnections();
    await new Promise((resolve) => listening.close(resolve));
  }
});
