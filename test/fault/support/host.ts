// A host of a test: a sandbox root, a state directory, and an agent process that can be killed, started again and
// asked for its status. It can't outlive the test: setpriv ties it to this process.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ALLOW_EVERYTHING } from '../../../agent/config.ts';
import { type Payload, type Resource, rawPublicKey } from '../../../api/bundle.ts';
import { type AgentStatus, findCondition } from '../../../api/status.ts';
import { payloadText, testBundle, testKey } from '../../support/bundle.ts';
import type { ProcessOptions } from '../agent-process.ts';
import type { Faults } from '../hooks.ts';
import type { FaultController } from './controller.ts';

export interface HostOptions {
  readonly controller: FaultController;
  /** agent-process.ts in one file, with hooks.ts beside it. */
  readonly program: string;
  readonly haste?: number;
  readonly systemd?: string;
  readonly config?: Record<string, unknown>;
}

let hosts = 0;
const living = new Set<FaultHost>();

/** Of a run that is cut off: no process and no file stays. */
export async function destroyAll(): Promise<void> {
  await Promise.all([...living].map((host) => host.destroy()));
}

export class FaultHost {
  readonly name = `h${process.pid}-${++hosts}`;
  readonly directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-fault-')));
  readonly root = path.join(this.directory, 'root');
  readonly state = path.join(this.directory, 'state');
  readonly log = path.join(this.directory, 'agent.log');
  #options: HostOptions;
  #sequence = 0;
  #child: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  metrics = '';

  constructor(options: HostOptions) {
    this.#options = options;
    fs.mkdirSync(this.root);
    living.add(this);
  }

  /** What its agent is started with from now on. */
  use(more: Partial<HostOptions>): void {
    this.#options = { ...this.#options, ...more };
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** Whether the agent ended by itself, or was killed. */
  get isDown(): boolean {
    return this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  bundle(resources: readonly Resource[], more: Partial<Payload['host']> = {}) {
    this.#sequence += 1;
    const payload = JSON.parse(payloadText(this.name, [...resources])) as Payload;
    Object.assign(payload.host, more);
    return testBundle({
      key: this.#options.controller.key,
      host: this.name,
      sequence: this.#sequence,
      payload: JSON.stringify(payload),
    });
  }

  publish(resources: readonly Resource[], more: Partial<Payload['host']> = {}): void {
    this.#options.controller.publish(this.name, this.bundle(resources, more));
  }

  async start(faults?: Partial<Faults>, wrapper: readonly string[] = []): Promise<void> {
    const { controller, program, haste, systemd, config } = this.#options;
    const key = testKey().privateKey;
    const seed = key.export({ format: 'der', type: 'pkcs8' }).subarray(16).toString('base64');
    const options: ProcessOptions = {
      config: {
        host: this.name,
        controller: controller.url,
        trustedKeys: [rawPublicKey(controller.key.privateKey)],
        stateDir: this.state,
        root: this.root,
        socket: path.join(this.directory, 'sock'),
        listen: '127.0.0.1:0',
        allow: ALLOW_EVERYTHING,
        ...config,
      },
      privateKey: seed,
      log: this.log,
      ...(haste === undefined ? {} : { haste }),
      ...(systemd === undefined ? {} : { systemd }),
    };
    const file = path.join(this.directory, 'options.json');
    fs.writeFileSync(file, JSON.stringify(options));
    const command = ['setpriv', '--pdeathsig', 'KILL', '--', ...wrapper, process.execPath];
    const hooks = faults === undefined ? [] : ['--require', path.join(path.dirname(program), 'hooks.cjs')];
    const [first, ...rest] = [...command, '--disable-warning=ExperimentalWarning', ...hooks, program, file];
    const child = spawn(first!, rest, {
      cwd: this.directory,
      stdio: ['ignore', 'pipe', fs.openSync(path.join(this.directory, 'stderr'), 'a')],
      env: {
        PATH: process.env['PATH'],
        HOMEOSTAT_NODE: process.execPath,
        NODE_COMPILE_CACHE: path.join(path.dirname(program), 'compiled'),
        ...(faults === undefined ? {} : { FAULT: JSON.stringify({ directory: this.directory, ...faults }) }),
      },
    });
    this.#child = child;
    this.#ended = once(child, 'exit');
    const ready = once(child.stdout!, 'data').then(([line]) => {
      this.metrics = `http://${String(line).trim()}/metrics`;
    });
    await Promise.race([ready, this.#ended]);
  }

  /** Begins to count steps; see Faults.armed. */
  async arm(): Promise<void> {
    const armed = path.join(this.directory, 'armed');
    fs.rmSync(armed, { force: true });
    this.signal('SIGUSR2');
    while (!this.isDown && !fs.existsSync(armed)) await delay(2);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#ended;
  }

  /** As systemd would; its supervised children end with it. */
  async stop(): Promise<void> {
    this.signal('SIGTERM');
    const late = setTimeout(() => this.signal('SIGKILL'), 15_000);
    await this.#ended;
    clearTimeout(late);
  }

  /** Ends everything, supervised children too, and leaves no file. */
  async destroy(): Promise<void> {
    if (!this.isDown) await this.kill();
    for (const { pid } of this.children()) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    }
    fs.rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
    living.delete(this);
  }

  /** Leaders of what the agents of this host started as supervised units and what still runs. */
  children(): { pid: number; unit: string }[] {
    const mark = `FAULT_HOST=${this.name}`;
    return fs
      .readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          const env = fs.readFileSync(`/proc/${name}/environ`, 'utf8').split('\0');
          const group = fs.readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]!.split(' ');
          if (!env.includes(mark) || group[0] === 'Z' || group[2] !== name) return [];
          return [{ pid: Number(name), unit: '' }];
        } catch {
          return [];
        }
      });
  }

  status(): Promise<AgentStatus> {
    return new Promise((resolve, reject) => {
      const at = {
        socketPath: path.join(this.directory, 'sock'),
        path: '/v1/status',
        timeout: 5000,
        agent: false,
      };
      const request = http.get(at, async (answer) => {
        try {
          const chunks: Buffer[] = [];
          for await (const chunk of answer) chunks.push(chunk as Buffer);
          resolve(JSON.parse(Buffer.concat(chunks).toString()).status as AgentStatus);
        } catch (error) {
          reject(error);
        }
      });
      request.on('timeout', () => request.destroy(new Error('the agent does not answer on its socket')));
      request.on('error', reject);
    });
  }

  async exposition(): Promise<string> {
    return await (await fetch(this.metrics)).text();
  }

  /** Asks until the status is as wanted; ends early when the agent is down. @returns whether it came to that. */
  async reaches(wanted: (status: AgentStatus) => string | undefined, timeoutMs = 20_000): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    let why = 'the agent does not answer';
    while (performance.now() < deadline) {
      if (this.isDown) return false;
      const status = await this.status().catch(() => undefined);
      const missing = status === undefined ? why : wanted(status);
      if (missing === undefined) return true;
      why = missing;
      await delay(8);
    }
    throw new Error(`not within ${timeoutMs} ms: ${why}; log: ${this.tail()}`);
  }

  tail(): string {
    return [path.join(this.directory, 'stderr'), this.log]
      .map((file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').slice(-1200) : ''))
      .join('');
  }

  read(p: string): string | undefined {
    const full = path.join(this.root, p);
    return fs.existsSync(full) ? fs.readFileSync(full, 'utf8') : undefined;
  }
}

/** The current revision is attempted, and every resource has one of these outcomes. */
export function settled(sequence: number, outcomes: Readonly<Record<string, string>>) {
  return (status: AgentStatus): string | undefined => {
    if (status.sequence.attempted !== sequence)
      return `sequence ${status.sequence.attempted}, not ${sequence}`;
    const missing = Object.keys(outcomes).filter((key) => !status.resources.some((r) => r.key === key));
    if (missing.length > 0) return `no ${missing.join(', ')}`;
    for (const { key, conditions } of status.resources) {
      const ready = findCondition(conditions, 'Ready');
      const wanted = outcomes[key];
      if (wanted === undefined) return `${key} is still there (${ready?.reason}: ${ready?.message})`;
      const is = ready?.status === 'True' ? 'Ready' : (ready?.reason ?? 'nothing');
      if (is !== wanted) return `${key} is ${is}, not ${wanted}: ${ready?.message}`;
    }
    // Conditions of the revision before stand until a resource had its pass.
    const { running } = status.sequence;
    const all = Object.values(outcomes).every((outcome) => outcome === 'Ready');
    return all && running !== sequence ? `sequence ${running} runs, not ${sequence}` : undefined;
  };
}
