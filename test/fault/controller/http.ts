// What others may send to a real controller: it stays up, answers nobody with a 5xx, spends little on those whom nobody
// has vouched for, and goes on serving its fleet. Each cause has the same controller, one after the other.
import { once } from 'node:events';
import net from 'node:net';
import { eventually } from '../../support/eventually.ts';
import { ControllerProcess, type FaultAgent, host, motd, raw } from '../support/controller-process.ts';

export interface Cause {
  readonly name: string;
  run(): Promise<void>;
}

interface Stage {
  readonly controller: ControllerProcess;
  readonly pi: FaultAgent;
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

const MIB = 1024 * 1024;
const UNKNOWN = `hs1_${'0'.repeat(8)}.${'x'.repeat(32)}`;
const ROUTES = ['/', '/metrics', '/healthz', '/readyz', '/v1/fleet', '/v1/hosts/pi', '/hosts/pi'];

async function enrollments({ controller, pi }: Stage): Promise<void> {
  const before = controller.auditRows();
  const statuses = new Set<number>();
  for (let i = 0; i < 300; i++) {
    const body = JSON.stringify({ token: UNKNOWN, host: 'pi', publicKey: pi.publicKey });
    statuses.add((await fetch(`${controller.url}/v1/enroll`, { method: 'POST', body })).status);
  }
  expect([...statuses].join() === '403,429', `they were answered with ${[...statuses].join(', ')}`);
  const rows = controller.auditRows() - before;
  expect(rows <= 20, `${rows} rows were written`);
}

async function uploads({ controller }: Stage): Promise<void> {
  for (const line of ['POST /hooks/git', 'POST /v1/enroll', 'PUT /v1/hosts/pi/status', 'POST /nowhere']) {
    const head = `${line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${8 * MIB}\r\n\r\n`;
    const answer = await raw(controller.port, head);
    expect(/^HTTP\/1\.1 4\d\d /.test(answer), `${line} waits for 8 MiB: ${answer.slice(0, 100)}`);
  }
}

async function connections({ controller, pi }: Stage): Promise<void> {
  const sockets = Array.from({ length: 1500 }, () => net.connect(controller.port, '127.0.0.1'));
  for (const socket of sockets) socket.on('error', () => {}).write('GET /healthz HTTP/1.1\r\nx-slow: ');
  try {
    // Those of one address make room for each other, the oldest first.
    await Promise.all(sockets.slice(0, 500).map((s) => (s.destroyed ? s : once(s.resume(), 'close'))));
    expect((await pi.pull()).status === 200, 'an enrolled host is not answered');
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

async function rebinding({ controller }: Stage): Promise<void> {
  for (const route of [...ROUTES, '/v1/events', '/sd/node-exporter', '/v1/hosts/pi/bundle', '/nowhere']) {
    const answer = await raw(controller.port, `GET ${route} HTTP/1.1\r\nhost: evil.example.com\r\n\r\n`);
    expect(/^HTTP\/1\.1 421 .*--name evil\.example\.com/s.test(answer), `${route}: ${answer.slice(0, 60)}`);
  }
  for (const more of ['origin: https://evil.example.com', 'sec-fetch-site: cross-site']) {
    const answer = await raw(
      controller.port,
      `POST /hooks/git HTTP/1.1\r\nhost: localhost\r\n${more}\r\n\r\n`,
    );
    expect(/^HTTP\/1\.1 403 /.test(answer), `${more}: ${answer.slice(0, 60)}`);
  }
}

async function malformed({ controller, pi }: Stage): Promise<void> {
  const long = [
    'a'.repeat(64),
    'a'.repeat(9000),
    '%zz',
    '%00',
    '..%2f..%2fetc',
    'PI',
    '__proto__',
    '%F0%9F%92%A9',
  ];
  for (const part of long) {
    for (const route of [`/v1/hosts/${part}/bundle`, `/v1/hosts/${part}`, `/hosts/${part}`, `/sd/${part}`]) {
      const answer = await raw(controller.port, `GET ${route} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
      expect(/^HTTP\/1\.1 4\d\d /.test(answer), `${route.slice(0, 60)}: ${answer.slice(0, 60)}`);
    }
  }
  for (const body of ['', '{', '[]', 'null', '{"host":"pi"}', '[' + '['.repeat(100_000)]) {
    const url = `${controller.url}/v1/hosts/pi/status`;
    const headers = pi.headers('PUT', url, body);
    const { status } = await fetch(url, { method: 'PUT', headers, body });
    expect(status >= 400 && status < 500, `a status of ${body.slice(0, 20)} is answered with ${status}`);
  }
}

async function noise({ controller }: Stage): Promise<void> {
  const head = 'GET /healthz HTTP/1.1\r\nhost: localhost\r\n';
  const sent: (string | Buffer)[] = [
    Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 37) % 256)),
    'SSH-2.0-OpenSSH_9.2\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    'GET / HTTP/9.9\r\nhost: localhost\r\n\r\n',
    `${head}content-length: -1\r\n\r\n`,
    `${head}content-length: 1\r\ncontent-length: 2\r\n\r\n`,
    `${head}transfer-encoding: chunked\r\n\r\nzz\r\n`,
    `${head}x: ${'y'.repeat(MIB)}\r\n\r\n`,
    `${head}${'x: y\r\n'.repeat(20_000)}\r\n`,
    `${head}expect: 200-magic\r\n\r\n`,
    `${head}upgrade: websocket\r\nconnection: upgrade\r\n\r\n`,
    'CONNECT evil.example.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n',
    `${head}\r\n`.repeat(500),
  ];
  for (const bytes of sent) {
    const answer = await raw(controller.port, bytes);
    expect(!/^HTTP\/1\.1 5/.test(answer), `${String(bytes).slice(0, 60)}: ${answer.slice(0, 60)}`);
  }
}

async function oneHost({ controller, pi }: Stage): Promise<void> {
  const mac = await controller.enrolled('mac');
  const statuses = new Set<number>();
  for (let i = 0; i < 30; i++) {
    const some = await Promise.all(Array.from({ length: 20 }, () => pi.pull()));
    for (const answer of some) statuses.add(answer.status);
  }
  expect([...statuses].sort().join() === '200,429', `it is answered with ${[...statuses].join(', ')}`);
  expect((await mac.pull()).status === 200, 'another host is not answered');
}

async function polls({ controller }: Stage): Promise<void> {
  const many = await controller.enrolled('many');
  const etag = (await many.pull()).headers.get('etag') ?? '';
  const url = `${controller.url}/v1/hosts/many/bundle?wait=55`;
  const abort = new AbortController();
  const asked = Array.from({ length: 100 }, () =>
    fetch(url, {
      headers: { ...many.headers('GET', url), 'if-none-match': etag },
      signal: abort.signal,
    }).then(
      (answer) => answer.status,
      () => 0,
    ),
  );
  // All but the newest few are sent away at once.
  for (const answer of asked.slice(0, 80)) expect([304, 429].includes(await answer), 'one waits');
  abort.abort();
  await Promise.all(asked);
}

async function readers({ controller, pi }: Stage): Promise<void> {
  const from = controller.lines;
  const reading = Array.from({ length: 60 }, async (_, i) => {
    const answer = await fetch(controller.url + ROUTES[i % ROUTES.length]);
    await answer.arrayBuffer();
    return answer.status;
  });
  controller.commit({ 'motd.yaml': motd(`round-${from}`) });
  await controller.logged(/"msg":"revision published"/, from);
  const wrong = (await Promise.all(reading)).filter((status) => status !== 200 && status !== 429);
  expect(wrong.length === 0, `answers: ${wrong.join(', ')}`);
  await eventually(async () =>
    expect((await (await pi.pull()).text()).includes(`round-${from}`), 'not served'),
  );
}

async function streams({ controller }: Stage): Promise<void> {
  const abort = new AbortController();
  const opened = await Promise.all(
    Array.from({ length: 80 }, () => fetch(`${controller.url}/v1/events`, { signal: abort.signal })),
  );
  const statuses = opened.map(({ status }) => status);
  abort.abort();
  await Promise.all(opened.map(({ body }) => body?.cancel().catch(() => {})));
  const open = statuses.filter((status) => status === 200).length;
  expect(open > 0 && open <= 50, `${open} streams of one address are open`);
}

const CAUSES: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  '300 enrolments with a token that nobody made': enrollments,
  '8 MiB announced to routes that want none of it': uploads,
  '1,500 connections that never end their headers': connections,
  'pages of others, by DNS rebinding and across origins': rebinding,
  'malformed names, parameters and statuses': malformed,
  'what is no HTTP': noise,
  'an enrolled host that asks without end': oneHost,
  '100 long polls with one key': polls,
  'everybody reads while a commit is published': readers,
  '80 event streams of one address': streams,
};

let stage: Promise<Stage> | undefined;
let left = Object.keys(CAUSES).length;

async function begin(): Promise<Stage> {
  const controller = new ControllerProcess();
  const hosts = ['pi', 'mac', 'many'].map(host).join('---\n');
  await controller.start({ 'hosts.yaml': hosts, 'motd.yaml': motd('first') });
  return { controller, pi: await controller.enrolled('pi') };
}

/** After each, the controller is up and answers its hosts. */
async function run(cause: (stage: Stage) => Promise<void>): Promise<void> {
  stage ??= begin();
  const { controller, pi } = await stage;
  try {
    await cause({ controller, pi });
    expect(!controller.isDown, 'the controller ended');
    expect((await fetch(`${controller.url}/healthz`)).status === 200, '/healthz does not answer');
    // A host that was slowed down is answered again soon.
    await eventually(async () =>
      expect((await pi.pull()).status === 200, 'an enrolled host is not answered'),
    );
  } finally {
    left -= 1;
    if (left === 0) await controller.stop();
  }
}

export const httpCauses: readonly Cause[] = Object.entries(CAUSES).map(([name, cause]) => ({
  name,
  run: () => run(cause),
}));
