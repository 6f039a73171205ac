// Budget: 10,000 waiting agents told of a commit, on one core: p99 1 s, 300 MiB resident. The controller runs as a
// process of its own, pinned to one core; the agents are bare sockets in this one, each with a key of its own and
// signed requests. Usage: waiting-agents.ts [agents] [rounds]
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { keyIdOf, privateKeyOf, rawPublicKey } from '../../api/bundle.ts';
import { signRequest } from '../../api/signatures.ts';
import { newSeed } from '../../controller/fleet/keys.ts';

const AGENTS = Number(process.argv[2] ?? 10_000);
const ROUNDS = Number(process.argv[3] ?? 3);
const folder = mkdtempSync(join(tmpdir(), 'homeostat-bench-'));
const repo = join(folder, 'repo');
mkdirSync(repo);
const git = (...args: string[]): string =>
  execFileSync('git', ['-c', 'user.name=B', '-c', 'user.email=b@example.com', ...args], {
    cwd: repo,
    encoding: 'utf8',
  }).trim();
git('init', '-q', '-b', 'main');

const agents = Array.from({ length: AGENTS }, (_, i) => {
  const privateKey = privateKeyOf(newSeed());
  return { host: `h${i}`, privateKey, publicKey: rawPublicKey(privateKey) };
});
for (let i = 0; i < AGENTS; i += 100) {
  const documents = agents
    .slice(i, i + 100)
    .map(
      ({ host, publicKey }) =>
        `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${host}}\nspec: {mode: enforce, publicKey: "${publicKey}"}\n---\n`,
    );
  writeFileSync(join(repo, `hosts-${i}.yaml`), documents.join(''));
}
const file = (n: number, content: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: f${n}}\nhosts: {all: true}\nspec: {path: /etc/f${n}, content: "${content}"}\n---\n`;
for (let n = 0; n < 20; n++) writeFileSync(join(repo, `f${n}.yaml`), file(n, 'the same on all hosts'));
git('add', '-A');
git('commit', '-q', '-m', 'first');

const cli = join(import.meta.dirname, '../../cli/homeostat.ts');
const child = spawn(
  'taskset',
  [
    '-c',
    '1',
    process.execPath,
    cli,
    'controller',
    '--repo',
    repo,
    '--state',
    join(folder, 'state'),
    '--listen',
    '127.0.0.1:0',
    '--open-reads',
  ],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
let published = (): void => {};
let lastLine: Record<string, unknown> = {};
const url = new Promise<string>((resolve) => {
  createInterface({ input: child.stdout }).on('line', (line) => {
    lastLine = JSON.parse(line) as Record<string, unknown>;
    if (lastLine['msg'] === 'controller started') resolve(String(lastLine['url']));
    if (lastLine['msg'] === 'revision published') published();
    if (lastLine['level'] !== 'info') console.error(line);
  });
});
const firstPublished = new Promise<void>((resolve) => {
  published = resolve;
});
const port = Number(new URL(await url).port);
await firstPublished;
console.log(`first revision of ${AGENTS} hosts × 20: ${Number(lastLine['durationSeconds']).toFixed(2)} s`);
const rss = (): string =>
  `${Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]) / 1024)} MiB`;

interface Poll {
  socket: Socket;
  etag: string;
  digest: string;
  answered: (at: number, status: number) => void;
}
const polls: Poll[] = [];

function ask(i: number, wait: number): Promise<{ at: number; status: number }> {
  const { host, privateKey, publicKey } = agents[i]!;
  const poll = polls[i]!;
  const path = `/v1/hosts/${host}/bundle?wait=${wait}`;
  const signed = signRequest({
    method: 'GET',
    url: path,
    privateKey,
    keyId: keyIdOf(publicKey),
    createdSeconds: Math.floor(Date.now() / 1000),
  });
  const lines = [
    `GET ${path} HTTP/1.1`,
    'host: bench',
    ...Object.entries(signed).map(([k, v]) => `${k}: ${v}`),
  ];
  if (poll.etag !== '') lines.push(`if-none-match: ${poll.etag}`);
  if (poll.digest !== '') lines.push(`homeostat-have-payload: ${poll.digest}`);
  return new Promise((resolve) => {
    poll.answered = (at, status) => resolve({ at, status });
    poll.socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  });
}

for (let i = 0; i < AGENTS; i++) {
  const poll: Poll = { socket: connect(port, '127.0.0.1'), etag: '', digest: '', answered: () => {} };
  polls.push(poll);
  let text = '';
  poll.socket.setEncoding('latin1');
  poll.socket.on('data', (chunk: string) => {
    text += chunk;
    const end = text.indexOf('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    if (end < 0 || text.length < end + 4 + length) return;
    poll.etag = /etag: (\S+)/i.exec(text)?.[1] ?? poll.etag;
    poll.digest = /payloadDigest\\":\\"([0-9a-f]{64})/.exec(text)?.[1] ?? poll.digest;
    const status = Number(text.slice(9, 12));
    text = '';
    poll.answered(performance.now(), status);
  });
  await new Promise((resolve) => poll.socket.once('connect', resolve));
}
for (let i = 0; i < AGENTS; i += 200)
  await Promise.all(agents.slice(i, i + 200).map((_, j) => ask(i + j, 0)));
console.log(`${AGENTS} agents have their bundle; controller: ${rss()}`);

for (let round = 0; round < ROUNDS; round++) {
  const answers: Promise<{ at: number; status: number }>[] = [];
  for (let i = 0; i < AGENTS; i += 500) {
    for (let j = i; j < Math.min(AGENTS, i + 500); j++) answers.push(ask(j, 55));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  for (;;) {
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    if (new RegExp(`waiting_agents ${AGENTS}\\b`).test(metrics)) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const memory = rss();
  writeFileSync(join(repo, 'f0.yaml'), file(0, `round ${round}`));
  git('commit', '-q', '-a', '-m', `round ${round}`);
  const committed = performance.now();
  const got = await Promise.all(answers);
  const times = got.map(({ at }) => at - committed).sort((a, b) => a - b);
  const bad = got.filter(({ status }) => status !== 200).length;
  const at = (q: number): string =>
    `${times[Math.min(times.length - 1, Math.floor(times.length * q))]!.toFixed(0)} ms`;
  console.log(
    `round ${round + 1}: first ${at(0)}, p50 ${at(0.5)}, p99 ${at(0.99)}, last ${at(1)}; ${bad} not 200; published in ${(Number(lastLine['durationSeconds']) * 1000).toFixed(0)} ms; waiting ${memory}, after ${rss()}`,
  );
}
for (const { socket } of polls) socket.destroy();
child.kill('SIGTERM');
await new Promise((resolve) => child.once('exit', resolve));
rmSync(folder, { recursive: true, force: true });
