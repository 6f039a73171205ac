// A real controller process over a real repository, and agents that sign as real ones do. It can be killed, started
// again, and looked at by all the ways that people have. It can't outlive the test: setpriv ties it to this process.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { FleetView } from '../../../controller/fleet/view.ts';
import { bundleOneFile } from '../../../scripts/bundle.ts';
import { OTHER_BUILD, PROGRAM } from '../../support/program.ts';
import { SigningAgent } from './signing-agent.ts';

let program = PROGRAM;
/** Another build is asked what it does not survive, and would be waited for in vain. */
const DEADLINE_MS = OTHER_BUILD === undefined ? 90_000 : 15_000;
const living = new Set<RealController>();

/** Of a run that is cut off: no process and no file stays. */
export async function destroyControllers(): Promise<void> {
  await Promise.all([...living].map((one) => one.destroy()));
}

/** In one file it starts in a third of the time. */
export async function bundleInto(directory: string): Promise<void> {
  if (OTHER_BUILD !== undefined) return;
  program = path.join(directory, 'homeostat.cjs');
  await bundleOneFile(program);
}

/** Waits until this is true of the outside world. @throws Error with what it was last. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  isGood: (seen: T) => boolean,
): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const seen = await look();
    if (isGood(seen)) return seen;
    if (performance.now() > deadline)
      throw new Error(`never ${what}; the last was ${JSON.stringify(seen).slice(0, 600)}`);
    await delay(25);
  }
}

export class RealController {
  readonly folder: string;
  readonly repo: string;
  /** Where its state is, as this process sees it. */
  state: string;
  readonly #others: RealController[] = [];
  #namespace: readonly string[] = [];
  url = '';
  #child: ChildProcess | undefined;
  #log = '';

  constructor(manifests: string | undefined, first?: RealController) {
    this.folder =
      first?.folder ?? fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-fault-controller-')));
    this.repo = path.join(this.folder, 'repo');
    this.state = path.join(this.folder, 'state');
    living.add(this);
    if (manifests === undefined) return;
    fs.mkdirSync(this.repo);
    this.#git('init', '-q', '-b', 'main');
    this.commit(manifests);
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  get log(): string {
    return this.#log;
  }

  get store(): string {
    return path.join(this.state, 'controller.sqlite');
  }

  get key(): string {
    return path.join(this.state, 'controller.key');
  }

  commit(manifests: string): string {
    fs.writeFileSync(path.join(this.repo, 'a.yaml'), manifests);
    this.#git('add', '-A');
    this.#git('commit', '-q', '--allow-empty', '-m', 'change');
    return this.#git('rev-parse', 'HEAD');
  }

  /** @param wrapper what runs it. @throws Error when it does not come up. */
  async start(more: readonly string[] = [], wrapper: readonly string[] = []): Promise<void> {
    const child = this.#spawn(more, wrapper);
    this.#child = child;
    const exited = once(child, 'exit').then(() => 'ended' as const);
    const started = until(
      'started',
      () => this.#log,
      (log) => log.includes('controller started'),
    );
    if ((await Promise.race([exited, started])) === 'ended')
      throw new Error(`it did not come up: ${this.#log}`);
    this.url = /"url":"([^"]+)"/.exec(this.#log)?.[1] ?? '';
    const hasLooked = ({ head, sourceProblem }: FleetView): boolean =>
      head !== null || sourceProblem !== null;
    await until('looked at git', () => this.view(), hasLooked);
  }

  async serves(commit: string): Promise<void> {
    await until(
      `serves ${commit}`,
      async () => (await this.view()).serving?.commit,
      (now) => now === commit,
    );
  }

  /** It must not come up. @returns what it says. */
  async refuses(more: readonly string[] = [], wrapper: readonly string[] = []): Promise<string> {
    const child = this.#spawn(more, wrapper);
    const late = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
    const [code] = (await once(child, 'close')) as [number | null];
    clearTimeout(late);
    if (code !== 1) throw new Error(`it ended with ${code}, not 1: ${this.#log}`);
    if (/\n {4}at |SQLITE_|errcode/.test(this.#log)) throw new Error(`it says no sentence: ${this.#log}`);
    return this.#log;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill(signal);
    await once(this.#child, 'exit');
  }

  /** @returns what the command said, and how it ended. */
  cli(...args: readonly string[]): { code: number; out: string } {
    try {
      const [first, ...rest] = [...this.#namespace, process.execPath, program, ...args];
      const out = execFileSync(first!, rest, {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: DEADLINE_MS,
      });
      return { code: 0, out };
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number | null; stdout: string; stderr: string };
      return { code: status ?? -1, out: `${stdout}${stderr}` };
    }
  }

  /** With a disk of its own for its state, which can be filled and made read-only. @param options of tmpfs. */
  async startOnOwnDisk(options: string): Promise<void> {
    fs.mkdirSync(this.state);
    const script = `mount -t tmpfs -o ${options} tmpfs ${this.state} && exec "$@"`;
    await this.start([], ['unshare', '--mount', 'sh', '-c', script, 'sh']);
    this.#namespace = ['nsenter', '--mount', `--target=${this.pid}`];
  }

  /** Runs a script in the directory of its state. */
  onDisk(script: string): void {
    const [first, ...rest] = [...this.#namespace, 'sh', '-c', `cd ${this.state} && ${script}`];
    execFileSync(first!, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Another one on the same state and repository; it ends and goes with this one. */
  beside(): RealController {
    const other = new RealController(undefined, this);
    this.#others.push(other);
    return other;
  }

  token(host: string): string {
    const { code, out } = this.cli('token', 'create', '--host', host, '--state', this.state);
    if (code !== 0) throw new Error(`no token: ${out}`);
    return out.trim().replace(/\.[0-9a-f]{32}$/, '');
  }

  async enrolled(host: string): Promise<SigningAgent> {
    const agent = new SigningAgent(this, host);
    const answer = await agent.enroll(this.token(host));
    if (answer.status !== 200) throw new Error(`${host} is not enrolled: ${answer.status} ${answer.text}`);
    return agent;
  }

  async view(): Promise<FleetView> {
    return (await (await fetch(`${this.url}/v1/fleet`)).json()) as FleetView;
  }

  async text(where: string): Promise<string> {
    return await (await fetch(this.url + where)).text();
  }

  async storeUp(): Promise<number> {
    return Number(/^homeostat_controller_store_up (\d)/m.exec(await this.text('/metrics'))?.[1]);
  }

  /** The problem shows on page, metric and command line alike. */
  async reports(problem: RegExp): Promise<void> {
    await until(
      `reports ${problem}`,
      async () => (await this.view()).storeProblem ?? '',
      (text) => problem.test(text),
    );
    if ((await this.storeUp()) !== 0) throw new Error('store_up is not 0');
    if (!(await this.text('/')).includes('may not outlive a restart'))
      throw new Error('the page does not say so');
    const { out } = this.cli('get', 'hosts', '-o', 'json', '--controller', this.url);
    if (!out.includes('"storeProblem": "')) throw new Error('the command line does not say so');
  }

  async isWell(): Promise<void> {
    await until(
      'without a problem',
      async () => (await this.view()).storeProblem,
      (problem) => problem === null,
    );
    if ((await this.storeUp()) !== 1) throw new Error('store_up is not 1');
  }

  async destroy(): Promise<void> {
    for (const other of this.#others) {
      await other.end('SIGKILL');
      living.delete(other);
    }
    await this.end('SIGKILL');
    fs.rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
    living.delete(this);
  }

  #spawn(more: readonly string[], wrapper: readonly string[]): ChildProcess {
    this.#log = '';
    const own = [
      '--repo',
      this.repo,
      '--state',
      this.state,
      '--listen',
      '127.0.0.1:0',
      '--open-reads',
      ...more,
    ];
    const [first, ...rest] = ['setpriv', '--pdeathsig', 'KILL', '--', ...wrapper, process.execPath];
    const child = spawn(first!, [...rest, program, 'controller', ...own], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (this.#log += data));
    return child;
  }

  #git(...args: string[]): string {
    const who = ['-c', 'user.name=T', '-c', 'user.email=t@example.com'];
    return execFileSync('git', [...who, ...args], { cwd: this.repo, encoding: 'utf8' }).trim();
  }
}
