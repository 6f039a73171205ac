// A real controller as a process on a repository of its own, and an agent's key with which it is spoken to.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { keyIdOf, privateKeyOf, rawPublicKey } from '../../../api/bundle.ts';
import { signRequest } from '../../../api/signatures.ts';
import { newSeed } from '../../../controller/fleet/keys.ts';
import { Database } from '../../../controller/store/database.ts';
import { Store } from '../../../controller/store/store.ts';
import { Tokens } from '../../../controller/store/tokens.ts';
import { PROGRAM } from '../../support/program.ts';

export const host = (name: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}}\nspec: {mode: enforce}\n`;
export const motd = (text: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: motd}\nhosts: {all: true}\nspec: {path: /etc/motd, content: ${text}}\n`;

export class ControllerProcess {
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-controller-fault-'));
  readonly #lines: string[] = [];
  #child: ChildProcess | undefined;
  #wake: () => void = () => {};
  url = '';

  async start(files: Readonly<Record<string, string>>, ...more: string[]): Promise<void> {
    fs.mkdirSync(this.#repo);
    this.#git('init', '--quiet', '--initial-branch=main');
    this.commit(files);
    const options = ['--repo', this.#repo, '--state', this.#state, '--listen', '127.0.0.1:0', '--open-reads'];
    const child = spawn(process.execPath, [PROGRAM, 'controller', ...options, ...more], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#lines.push(line);
      this.#wake();
    });
    const started = await this.logged(/"msg":"controller started"/);
    this.url = (JSON.parse(started) as { url: string }).url;
    await this.logged(/"msg":"revision published"/);
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined && this.#child.exitCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      await ended;
    }
    fs.rmSync(this.directory, { recursive: true, force: true });
  }

  get isDown(): boolean {
    return this.#child?.exitCode !== null;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** @returns the first line of its log, from the n-th on, that fits. */
  async logged(what: RegExp, from = 0): Promise<string> {
    for (;;) {
      const line = this.#lines.slice(from).find((l) => what.test(l));
      if (line !== undefined) return line;
      if (this.isDown) throw new Error(`the controller ended: ${this.#lines.slice(-3).join('\n')}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#child?.once('exit', () => resolve());
      });
    }
  }

  get lines(): number {
    return this.#lines.length;
  }

  commit(files: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(this.#repo, name), text);
    this.#git('add', '--all');
    this.#git('commit', '--quiet', '--allow-empty', '--message', 'change');
  }

  auditRows(): number {
    return this.#withStore((database) => new Store(database).auditLog(100_000).length);
  }

  /** An agent that is enrolled. */
  async enrolled(name: string): Promise<FaultAgent> {
    const { id, secret } = this.#withStore((database) =>
      new Tokens(database).create('enroll', name, Date.now(), 3600_000),
    );
    const agent = new FaultAgent(this.url, name);
    const token = `hs1_${id}.${secret}`;
    const answer = await agent.send('POST', '/v1/enroll', { token, host: name, publicKey: agent.publicKey });
    if (answer.status !== 200) throw new Error(`${name} can't enrol: ${await answer.text()}`);
    return agent;
  }

  #withStore<T>(work: (database: Database) => T): T {
    const database = new Database(path.join(this.#state, 'controller.sqlite'));
    database.open({ create: false });
    try {
      return work(database);
    } finally {
      database.close();
    }
  }

  get #repo(): string {
    return path.join(this.directory, 'repo');
  }

  get #state(): string {
    return path.join(this.directory, 'state');
  }

  #git(...args: string[]): void {
    execFileSync('git', ['-c', 'user.name=T', '-c', 'user.email=t@example.com', ...args], {
      cwd: this.#repo,
    });
  }
}

export class FaultAgent {
  readonly name: string;
  readonly #url: string;
  readonly #privateKey = privateKeyOf(newSeed());
  readonly publicKey = rawPublicKey(this.#privateKey);

  constructor(url: string, name: string) {
    this.#url = url;
    this.name = name;
  }

  headers(method: string, url: string, body?: string): Record<string, string> {
    return signRequest({
      ...{ method, url, privateKey: this.#privateKey, keyId: keyIdOf(this.publicKey) },
      createdSeconds: Math.floor(Date.now() / 1000),
      ...(body === undefined ? {} : { body }),
    });
  }

  async send(method: string, where: string, value?: unknown): Promise<Response> {
    const url = this.#url + where;
    const body = value === undefined ? undefined : JSON.stringify(value);
    const init = { method, headers: this.headers(method, url, body) };
    return fetch(url, body === undefined ? init : { ...init, body });
  }

  pull(wait = 0): Promise<Response> {
    return this.send('GET', `/v1/hosts/${this.name}/bundle?wait=${wait}`);
  }
}

/** Sends these bytes, and takes what comes until the other side closes or says something. */
export async function raw(port: number, bytes: string | Buffer): Promise<string> {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {});
  await once(socket, 'connect');
  const first = Promise.race([once(socket, 'data'), once(socket, 'close')]);
  socket.write(bytes);
  const [data] = (await first) as [unknown];
  socket.destroy();
  return Buffer.isBuffer(data) ? data.toString('latin1') : '';
}
