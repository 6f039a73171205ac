// A real controller as a process, which follows a real repository, here or behind real git over HTTP.
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { FleetView } from '../../../controller/fleet/view.ts';
import { gitRepository, type Repository } from '../../support/git-repository.ts';
import { type GitServer, startGitServer } from '../../support/git-server.ts';
import { OTHER_BUILD, PROGRAM } from '../../support/program.ts';

const LONGEST_MS = OTHER_BUILD === undefined ? 120_000 : 15_000;
/** SIGTERM, SIGKILL and what is written at the end, with other suites beside it. */
const STOP_MS = 60_000;

export class GitController {
  readonly folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-fault-git-')));
  readonly state = path.join(this.folder, 'state');
  readonly repo: Repository = gitRepository(path.join(this.folder, 'repo'));
  server: GitServer | undefined;
  #child: ChildProcess | undefined;
  #exit: Promise<number | null> = Promise.resolve(null);
  #url = '';
  readonly log: string[] = [];

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get mirror(): string {
    return path.join(this.state, fs.readdirSync(this.state).find((name) => /^mirror-.*\.git$/.test(name))!);
  }

  /** Follows the repository over HTTP from now on. */
  async serve(): Promise<GitServer> {
    this.server = await startGitServer(this.folder);
    return this.server;
  }

  async start(): Promise<void> {
    this.log.length = 0;
    const repo = this.server === undefined ? this.repo.path : `${this.server.url}/repo/.git`;
    const options = [
      '--repo',
      repo,
      '--state',
      this.state,
      '--listen',
      '127.0.0.1:0',
      '--open-reads',
      '--poll',
      '1',
    ];
    const child = spawn(process.execPath, [PROGRAM, 'controller', ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#exit = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => this.log.push(line));
    await this.until('the controller starts', () => {
      const started = this.log.findLast((line) => line.includes('"controller started"'));
      this.#url = /"url":"([^"]+)"/.exec(started ?? '')?.[1] ?? '';
      return this.#url !== '';
    });
  }

  /** Asks again and again; what it waited for is in the error. */
  async until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + LONGEST_MS;
    while (!(await check())) {
      if (performance.now() > deadline)
        throw new Error(`not within ${LONGEST_MS / 1000} s: ${what}: ${this.tail()}`);
      await delay(25);
    }
  }

  async fleet(): Promise<FleetView> {
    const response = await fetch(`${this.#url}/v1/fleet`, { signal: AbortSignal.timeout(LONGEST_MS) });
    // Written by the program under test: what is missing shows where it is looked at.
    const view: FleetView = JSON.parse(await response.text());
    return view;
  }

  async serves(commit: string): Promise<void> {
    await this.until(`${commit} is served`, async () => (await this.fleet()).serving?.commit === commit);
  }

  /** That the page says it: a refusal, a warning, or why git can't be read. */
  async says(pattern: RegExp): Promise<void> {
    await this.until(`it says ${pattern}`, async () => {
      const { refused, warnings, sourceProblem, defect } = await this.fleet();
      return pattern.test(JSON.stringify([refused, warnings, sourceProblem, defect]));
    });
  }

  /** SIGTERM, and that it ends by itself. */
  async stops(): Promise<void> {
    this.#child?.kill('SIGTERM');
    const late = delay(STOP_MS, 'late' as const, { ref: false });
    const code = await Promise.race([this.#exit, late]);
    if (code !== 0)
      throw new Error(
        `SIGTERM: ${code === 'late' ? `it runs ${STOP_MS / 1000} s later` : `exit ${code}`}: ${this.tail()}`,
      );
    this.#child = undefined;
  }

  tail(): string {
    return this.log.slice(-6).join('\n').slice(-1500);
  }

  async destroy(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exit;
    await this.server?.stop();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
