// Waiting agents told of a commit, on one core. The controller is the bundle, in a process of its own that is pinned to
// one core; the agents are bare sockets in this one, each with a key of its own and signed requests.
import { once } from 'node:events';
import fs from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { keyIdOf, privateKeyOf, rawPublicKey } from '../../api/bundle.ts';
import { signRequest } from '../../api/signatures.ts';
import { newSeed } from '../../controller/fleet/keys.ts';
import { scratch } from './agents.ts';
import { git, startController } from './controllers.ts';
import { memoryOf } from './process-memory.ts';
import { percentile, type Row } from './statistics.ts';

const DOCUMENTS = 20;
const WAIT_SECONDS = 55;

export interface Round {
  /** From the end of `git commit` to the answer, milliseconds. */
  readonly told: readonly number[];
  readonly failed: number;
  readonly publishedMs: number;
  readonly residentMiB: number;
}

/** A repository whose commits are what the agents wait for. */
class Repository {
  readonly directory: string;

  constructor(directory: string, agents: readonly BenchedAgent[]) {
    this.directory = directory;
    fs.mkdirSync(directory);
    git(directory, 'init', '-q', '-b', 'main');
    for (let i = 0; i < agents.length; i += 100) {
      const documents = agents
        .slice(i, i + 100)
        .map(
          ({ host, publicKey }) =>
            `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${host}}\nspec: {mode: enforce, publicKey: "${publicKey}"}\n---\n`,
        );
      fs.writeFileSync(path.join(directory, `hosts-${i}.yaml`), documents.join(''));
    }
    for (let n = 0; n < DOCUMENTS; n++) this.#write(n, 'the same on all hosts');
    this.commit(0, 'the first content');
  }

  commit(n: number, content: string): void {
    this.#write(n, content);
    git(this.directory, 'add', '-A');
    git(this.directory, 'commit', '-q', '-m', content);
  }

  #write(n: number, content: string): void {
    fs.writeFileSync(
      path.join(this.directory, `f${n}.yaml`),
      `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: f${n}}\nhosts: {all: true}\nspec: {path: /etc/f${n}, content: "${content}"}\n---\n`,
    );
  }
}

export class BenchedAgent {
  readonly host: string;
  readonly #privateKey = privateKeyOf(newSeed());
  readonly publicKey = rawPublicKey(this.#privateKey);
  readonly #keyId = keyIdOf(this.publicKey);
  #socket: Socket | undefined;
  #etag = '';
  #digest = '';
  #answered: (status: number) => void = () => {};

  constructor(host: string) {
    this.host = host;
  }

  async connect(port: number): Promise<void> {
    const socket = connect(port, '127.0.0.1');
    this.#socket = socket;
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (end < 0 || text.length < end + 4 + length) return;
      this.#etag = /etag: (\S+)/i.exec(text)?.[1] ?? this.#etag;
      this.#digest = /payloadDigest\\":\\"([0-9a-f]{64})/.exec(text)?.[1] ?? this.#digest;
      const status = Number(text.slice(9, 12));
      text = '';
      this.#answered(status);
    });
    await once(socket, 'connect');
  }

  /** Asks once. @returns when the answer came, and its status. */
  ask(waitSeconds: number): Promise<{ at: number; status: number }> {
    const known = [
      ...(this.#etag === '' ? [] : [`if-none-match: ${this.#etag}`]),
      ...(this.#digest === '' ? [] : [`homeostat-have-payload: ${this.#digest}`]),
    ];
    return this.#send('GET', `/v1/hosts/${this.host}/bundle?wait=${waitSeconds}`, known);
  }

  report(status: object): Promise<{ at: number; status: number }> {
    const body = JSON.stringify({ ...status, host: this.host });
    return this.#send('PUT', `/v1/hosts/${this.host}/status`, [], body);
  }

  #send(method: string, url: string, more: readonly string[], body?: string) {
    const signed = signRequest({
      ...{ method, url, privateKey: this.#privateKey, keyId: this.#keyId },
      createdSeconds: Math.floor(Date.now() / 1000),
      ...(body === undefined ? {} : { body }),
    });
    const lines = [`${method} ${url} HTTP/1.1`, 'host: bench', ...more];
    for (const [name, value] of Object.entries(signed)) lines.push(`${name}: ${value}`);
    if (body !== undefined) lines.push(`content-length: ${Buffer.byteLength(body)}`);
    return new Promise<{ at: number; status: number }>((resolve) => {
      this.#answered = (status) => resolve({ at: performance.now(), status });
      this.#socket!.write(`${lines.join('\r\n')}\r\n\r\n${body ?? ''}`);
    });
  }

  close(): void {
    this.#socket?.destroy();
  }
}

export async function waitingAgents(bundle: string, count: number, rounds: number): Promise<Round[]> {
  const directory = scratch();
  const agents = Array.from({ length: count }, (_, i) => new BenchedAgent(`h${i}`));
  const repository = new Repository(path.join(directory, 'repo'), agents);
  const controller = await startController(bundle, directory, repository.directory, ['taskset', '-c', '1']);
  try {
    // A connection that proves nothing makes room for others.
    const begin = async (agent: BenchedAgent): Promise<void> => {
      await agent.connect(controller.port);
      await agent.ask(0);
    };
    for (let i = 0; i < count; i += 200) await Promise.all(agents.slice(i, i + 200).map(begin));
    const results: Round[] = [];
    for (let round = 0; round < rounds; round++) {
      const answers: Promise<{ at: number; status: number }>[] = [];
      for (let i = 0; i < count; i += 500) {
        answers.push(...agents.slice(i, i + 500).map((a) => a.ask(WAIT_SECONDS)));
        await delay(100);
      }
      while ((await controller.waiting()) < count) await delay(100);
      const before = memoryOf(controller.pid).residentMiB;
      repository.commit(0, `round ${round}`);
      const committed = performance.now();
      const got = await Promise.all(answers);
      results.push({
        told: got.map(({ at }) => at - committed),
        failed: got.filter(({ status }) => status !== 200).length,
        publishedMs: controller.publishedMs(),
        residentMiB: Math.max(before, memoryOf(controller.pid).residentMiB),
      });
    }
    return results;
  } finally {
    for (const agent of agents) agent.close();
    await controller.stop();
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/** The worst of the rounds counts. */
export function waitingRows(count: number, rounds: readonly Round[]): Row[] {
  const labels = `{agents=${count}}`;
  const worst = (of: (round: Round) => number): number => Math.max(...rounds.map(of));
  return [
    { name: `commit_told_p50${labels}`, value: worst((r) => percentile(r.told, 50)), unit: 'ms' },
    {
      name: `commit_told_p99${labels}`,
      value: worst((r) => percentile(r.told, 99)),
      unit: 'ms',
      budget: 1000,
    },
    { name: `commit_published${labels}`, value: worst((r) => r.publishedMs), unit: 'ms' },
    { name: `commit_told_failed${labels}`, value: worst((r) => r.failed), unit: 'agents', budget: 0 },
    { name: `controller_resident${labels}`, value: worst((r) => r.residentMiB), unit: 'MiB', budget: 300 },
  ];
}
