// The LocalAPI client against a server on a unix socket, and the CLI fallback against a program that is not there.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { lines } from '../../../agent/providers/lines.ts';
import { createTailscale, masked } from '../../../agent/providers/tailscale.ts';
import { setArguments } from '../../../agent/providers/tailscale-cli.ts';
import { statusOf } from '../../../agent/providers/tailscale-status.ts';
import type { Processes } from '../../../kinds/ports.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

interface Server {
  readonly socket: string;
  readonly requests: { method: string; url: string; host: string; body: string }[];
  readonly streams: http.ServerResponse[];
  close(): Promise<void>;
}

async function tailscaled(t: TestContext): Promise<Server> {
  const socket = path.join(temporaryDirectory(t), 'tailscaled.sock');
  const requests: Server['requests'] = [];
  const streams: http.ServerResponse[] = [];
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { method = '', url = '', headers } = request;
    requests.push({ method, url, host: headers.host ?? '', body });
    if (url.startsWith('/localapi/v0/watch-ipn-bus')) {
      streams.push(response);
      response.write('{"Version":"1.98.9","State":6,"Prefs":{"RunWebClient":false}}\n');
    } else if (url.startsWith('/localapi/v0/prefs')) response.end('{"RunWebClient":true,"Hostname":"pi"}');
    else if (url.startsWith('/localapi/v0/status'))
      response.end('{"BackendState":"Running","TailscaleIPs":["100.64.0.8"]}');
    else response.writeHead(404).end('no');
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  t.after(close);
  return { socket, requests, streams, close };
}

const noPrograms: Processes = {
  run: async (command) => {
    throw Object.assign(new Error(`no ${command}`), { code: 'ENOENT' });
  },
};

function client(t: TestContext, socketPaths: string[], processes = noPrograms, clock = new FakeClock()) {
  const tailscale = createTailscale({ socketPaths, processes, clock });
  t.after(() => tailscale.close());
  return tailscale;
}

test('the first socket that is there is used, with the host name that the LocalAPI wants', async (t) => {
  const server = await tailscaled(t);
  const tailscale = client(t, ['/nonexistent/tailscaled.sock', server.socket]);
  assert.equal((await tailscale.prefs())['RunWebClient'], true);
  assert.deepEqual((await tailscale.status()).addresses, ['100.64.0.8']);
  await tailscale.setPrefs({ RunWebClient: true, Hostname: 'pi' });
  assert.ok(server.requests.every(({ host }) => host === 'local-tailscaled.sock'));
  const patch = server.requests.at(-1)!;
  assert.equal(patch.method, 'PATCH');
  assert.deepEqual(JSON.parse(patch.body), {
    RunWebClient: true,
    RunWebClientSet: true,
    Hostname: 'pi',
    HostnameSet: true,
  });
});

test('a watch wakes at once and at prefs and states, not at netmaps, and rejects when the stream ends', async (t) => {
  const server = await tailscaled(t);
  const tailscale = client(t, [server.socket]);
  let wakes = 0;
  const watching = tailscale.watch(() => wakes++, new AbortController().signal);
  await eventually(() => assert.equal(wakes, 1));
  const stream = server.streams[0]!;
  stream.write('{"Net');
  stream.write('Map":{"Name":"x"}}\n{"Prefs":{"RunWebClient":true}}\n{"State":2}');
  await eventually(() => assert.equal(wakes, 2));
  stream.write('\n');
  await eventually(() => assert.equal(wakes, 3));
  stream.end();
  await assert.rejects(watching, /ended the watch-ipn-bus stream/);
});

test('a watch ends quietly when it is told to', async (t) => {
  const server = await tailscaled(t);
  const tailscale = client(t, [server.socket]);
  const stop = new AbortController();
  const watching = tailscale.watch(() => stop.abort(), stop.signal);
  await watching;
});

test('without a socket the program is asked; without either, the host waits', async (t) => {
  const asked: string[] = [];
  const program: Processes = {
    run: async (command, args) => {
      asked.push([command, ...args].join(' '));
      const stdout =
        args[0] === 'debug' ? '{"RunWebClient":false}' : '{"BackendState":"NeedsLogin","TailscaleIPs":null}';
      return { exitCode: 0, stdout, stderr: '' };
    },
  };
  const tailscale = client(t, ['/nonexistent/tailscaled.sock'], program);
  assert.equal((await tailscale.prefs())['RunWebClient'], false);
  assert.deepEqual((await tailscale.status()).addresses, []);
  await tailscale.setPrefs({ RunWebClient: true });
  assert.deepEqual(asked, [
    'tailscale debug prefs',
    'tailscale status --json --peers=false',
    'tailscale set --webclient=true',
  ]);
  await assert.rejects(client(t, ['/nonexistent/tailscaled.sock']).status(), {
    name: 'Waiting',
    reason: 'NoTailscale',
  });
});

test('a socket that nobody listens on is waited for, and no program is run instead', async (t) => {
  const server = await tailscaled(t);
  const stale = `${server.socket}.stale`;
  fs.linkSync(server.socket, stale);
  await server.close();
  const tailscale = client(t, [stale]);
  await assert.rejects(tailscale.prefs(), { name: 'Waiting', reason: 'TailscaledNotRunning' });
});

test('the program’s watch looks every 30 s and wakes when something differs', async (t) => {
  const clock = new FakeClock();
  let webclient = true;
  const program: Processes = {
    run: async (_, args) => ({
      exitCode: 0,
      stdout:
        args[0] === 'debug' ? JSON.stringify({ RunWebClient: webclient }) : '{"BackendState":"Running"}',
      stderr: '',
    }),
  };
  const tailscale = client(t, [], program, clock);
  const stop = new AbortController();
  let wakes = 0;
  const watching = tailscale.watch(() => wakes++, stop.signal);
  await eventually(() => assert.deepEqual([wakes, clock.pending()], [1, [30_000]]));
  await clock.advance(30_000);
  await eventually(() => assert.deepEqual(clock.pending(), [30_000]));
  assert.equal(wakes, 1);
  webclient = false;
  await clock.advance(30_000);
  await eventually(() => assert.equal(wakes, 2));
  stop.abort();
  await settle();
  await watching;
});

test('documents of tailscaled', async () => {
  assert.deepEqual(masked({ RunWebClient: false }), { RunWebClient: false, RunWebClientSet: true });
  assert.deepEqual(setArguments({ RunWebClient: false, Hostname: '' }), ['--webclient=false', '--hostname=']);
  assert.throws(() => setArguments({ RunSSH: true }), /needs tailscaled's socket/);
  assert.deepEqual(statusOf({ BackendState: 'Running', Self: { KeyExpiry: '2027-01-01T00:00:00Z' } }), {
    backendState: 'Running',
    addresses: [],
    keyExpiry: '2027-01-01T00:00:00Z',
    health: [],
    version: '',
  });
  async function* chunks() {
    for (const text of ['a', 'b\n\nc', '\nd']) yield Buffer.from(text);
  }
  assert.deepEqual(await Array.fromAsync(lines(chunks())), ['ab', 'c']);
});
