// The client of a Docker engine against a server on a unix socket that plays what a real one can't be made to do:
// a registry's progress, silence, an old or a new API. test/integration/docker-port.test.ts has the real engine.
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createDocker, demultiplex } from '../../../agent/providers/docker.ts';
import { Waiting } from '../../../api/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => void;

async function serve(t: TestContext, api: string, answer: Answer) {
  const socket = path.join(temporaryDirectory(t), 'docker.sock');
  const urls: string[] = [];
  const server = http.createServer((request, response) => {
    urls.push(`${request.method} ${decodeURIComponent(request.url!)}`);
    if (request.url === '/_ping') {
      response.writeHead(200, { 'api-version': api, server: 'Docker/99.1.2 (linux)' }).end('OK');
    } else answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const docker = createDocker(`unix://${socket}`);
  t.after(async () => {
    await docker.close();
    server.closeAllConnections();
    server.close();
  });
  return { docker, urls };
}

const ok: Answer = (_, response) => response.end('{}');
const call = { timeoutMs: 10_000 };
const signal = new AbortController().signal;

test('the newest API that both know is spoken', async (t) => {
  const old = await serve(t, '1.41', ok);
  await old.docker.request('GET', '/info', { ...call, query: { all: true, filters: { name: ['a'] } } });
  assert.equal(old.urls.at(-1), 'GET /v1.41/info?all=true&filters={"name":["a"]}');
  assert.deepEqual(await old.docker.version(), { engine: '99.1.2', api: '1.41' });
  const future = await serve(t, '1.99', ok);
  await future.docker.request('GET', '/info', call);
  assert.match(future.urls.at(-1)!, /^GET \/v1\.51\/info/);
});

test('an engine that is not there is something to wait for; an address that can’t be right is not', async (t) => {
  const missing = createDocker(`unix://${temporaryDirectory(t)}/none.sock`);
  await assert.rejects(missing.request('GET', '/info', call), (error) => {
    assert.ok(error instanceof Waiting);
    assert.equal(error.reason, 'NoDockerEngine');
    assert.match(error.message, /no Docker engine answers at unix:.*none\.sock/);
    return true;
  });
  await assert.rejects(
    missing.watch({}, () => undefined, signal),
    /no Docker engine answers/,
  );
  const ssh = createDocker('ssh://host');
  await assert.rejects(ssh.request('GET', '/info', call), /must be unix:\/\/\/path/);
});

test('a pull goes on between those who ask for it, says how far it is, and its end is told once', async (t) => {
  const open: http.ServerResponse[] = [];
  const { docker, urls } = await serve(t, '1.41', (_, response) => {
    open.push(response);
    response.write('{"status":"Pulling from grafana/alloy","id":"v1"}\n');
    response.write(
      '{"status":"Downloading","id":"a1","progressDetail":{"current":1048576,"total":4194304}}\n{"status":"Down',
    );
  });
  const asked = { waitMs: 20, signal };
  await eventually(async () => {
    const pull = await docker.pull('grafana/alloy', asked);
    assert.equal(pull.state, 'pulling');
    assert.match(pull.state === 'pulling' ? pull.progress : '', /1\.0 of 4\.0 MiB/);
  });
  open[0]!.end('loading","id":"b2","progressDetail":{"current":1,"total":2}}\n');
  assert.deepEqual(await docker.pull('grafana/alloy', { waitMs: 10_000, signal }), { state: 'done' });
  const pulls = urls.filter((url) => url.includes('/images/create'));
  assert.deepEqual(pulls, ['POST /v1.41/images/create?fromImage=grafana/alloy&tag=latest']);
  const again = docker.pull('grafana/alloy', { waitMs: 10_000, signal });
  await eventually(() => assert.equal(open.length, 2));
  open[1]!.end('loading"}\n{"errorDetail":{"message":"no space"},"error":"no space"}\n');
  assert.deepEqual(await again, { state: 'failed', why: 'no space', final: false });
});

test('a pull that is refused at once has the engine’s words; asking for one can be cut off', async (t) => {
  const { docker } = await serve(t, '1.41', (request, response) => {
    if (request.url!.includes('hang')) return;
    response.writeHead(404, { 'content-type': 'application/json' }).end('{"message":"manifest unknown"}');
  });
  const pull = await docker.pull('x/y@sha256:00', { waitMs: 10_000, signal });
  assert.deepEqual(pull, { state: 'failed', why: 'manifest unknown', final: true });
  const aborting = new AbortController();
  const hanging = docker.pull('hang:1', { waitMs: 600_000, signal: aborting.signal });
  aborting.abort(new Error('cut off'));
  await assert.rejects(hanging, /cut off/);
});

test('an engine that does not answer is told with what it was asked', async (t) => {
  const { docker } = await serve(t, '1.41', () => undefined);
  await assert.rejects(
    docker.request('POST', '/containers/a/stop', { timeoutMs: 50 }),
    /did not answer POST \/containers\/a\/stop within 50 ms/,
  );
});

test('logs of a terminal are read as they are, and those of two streams without their frames', () => {
  const frame = (stream: number, text: string): Buffer => {
    const bytes = Buffer.from(text);
    const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
    header.writeUInt32BE(bytes.length, 4);
    return Buffer.concat([header, bytes]);
  };
  assert.equal(demultiplex(Buffer.concat([frame(1, 'ü1\n'), frame(2, 'e\n')])), 'ü1\ne\n');
  assert.equal(demultiplex(Buffer.from('plain text of a terminal')), 'plain text of a terminal');
  assert.equal(demultiplex(Buffer.alloc(0)), '');
});
