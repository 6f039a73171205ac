// One child of the agent. On disk, in the state directory:
//   NAME.unit.json  its definition, sealed, since its environment may hold secrets
//   NAME.pid.json   the running process, written before it is started and once its id is known
//   NAME.log        what it writes; a file and not a pipe, since a pipe would end with the agent
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { inWords } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import { JobFailed, type UnitJob, type UnitState } from '../../kinds/ports.ts';
import { readIfThere, removeDurably, writeDurably } from '../journal/durable.ts';
import {
  groupExists,
  isStoppedBySignal,
  processesWithEnvironment,
  signalGroup,
  startTimeOf,
} from './process-identity.ts';
import {
  DEAD,
  Definition,
  type Facts,
  NEVER_RAN,
  RUNNING,
  Running,
  type State,
  type UnitEnvironment,
} from './supervised-state.ts';
import { firstOf, onAbort } from './waits.ts';

const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 30_000;
/** One that ran this long did not fail at its start: the next restart is quick again. */
const RAN_WELL_MS = 10_000;
const ORPHAN_POLL_MS = 250;
const STOP_POLL_MS = 20;
const MAX_LOG = 1024 * 1024;
/** Bytes of a log that are looked at. */
const MAX_OUTPUT = 64 * 1024;
const MARK = 'HOMEOSTAT_INVOCATION';

export class SupervisedUnit {
  readonly name: string;
  readonly #env: UnitEnvironment;
  readonly #wakes = new Set<() => void>();
  #definition: Definition | undefined;
  #running: Running | undefined;
  /** The last run that was begun here: when, and where its part of the log begins. */
  #began: { readonly atMs: number; readonly logFrom: number } | undefined;
  #lastInvocationID = '';
  #state: State = DEAD;
  #facts: Facts = NEVER_RAN;
  #restartDelay = FIRST_RESTART_MS;
  #restartsAtMs = 0;
  #timer: { cancel(): void } | undefined;
  /** Jobs wait for each other. */
  #jobs: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(name: string, environment: UnitEnvironment) {
    this.name = name;
    this.#env = environment;
  }

  get definition(): Definition | undefined {
    return this.#definition;
  }

  /** Reads what an earlier agent left, and takes over the process that it had started. */
  load(): void {
    this.read();
    if (this.#running !== undefined) {
      const { pid } = this.#running;
      this.#env.log.info({ unit: this.name, pid }, 'took over a process of an earlier agent');
      this.#pollOrphan(this.#running);
    } else if (readIfThere(this.#file('pid')) !== undefined) removeDurably(this.#file('pid'));
  }

  /** The same, and whoever started the process keeps it. */
  read(): void {
    this.#definition = this.#readRecord('unit', (json) => Definition.parse(this.#env.seal.open(json)));
    const record = this.#readRecord('pid', (json) => Running.parse(json));
    const left = record && this.#identify(record);
    if (left === undefined) return;
    this.#running = left;
    this.#lastInvocationID = left.invocationID;
    this.#state = RUNNING;
  }

  /** What can't be read counts as none: the next pass defines it anew, or starts it. */
  #readRecord<T>(name: 'unit' | 'pid', read: (json: Json) => T): T | undefined {
    const text = readIfThere(this.#file(name));
    try {
      return text === undefined ? undefined : read(JSON.parse(text));
    } catch (error) {
      this.#env.log.warn({ unit: this.name, record: name, error: inWords(error) }, 'a record can’t be read');
      return undefined;
    }
  }

  /** The process that the record means, if it is there. */
  #identify(record: Running): Running | undefined {
    if (record.pid > 0) return startTimeOf(record.pid) === record.startTime ? record : undefined;
    // The agent died between starting it and writing down its id: the process itself knows which one it is. Its
    // own children carry the mark too; the leader of the group is the one that was started.
    const pid = processesWithEnvironment(`${MARK}=${record.invocationID}`).find(groupExists);
    const startTime = pid === undefined ? undefined : startTimeOf(pid);
    return pid === undefined || startTime === undefined ? undefined : { ...record, pid, startTime };
  }

  show(): UnitState {
    const { command, masked, enabled } = this.#definition ?? { command: undefined };
    return {
      ...this.#state,
      loadState: command === undefined ? 'not-found' : masked ? 'masked' : 'loaded',
      loadError: '',
      unitFileState: command === undefined ? '' : masked ? 'masked' : enabled ? 'enabled' : 'disabled',
      needDaemonReload: false,
      invocationID: this.#lastInvocationID,
      startedAtMs: this.#running?.startedAtMs ?? 0,
      mainPID: this.#running?.pid ?? 0,
      serviceType: 'simple',
      fragmentPath: command === undefined ? '' : this.#file('unit'),
      dropInPaths: [],
      ...this.#facts,
      restartsAtMs: this.#state.subState === 'auto-restart' ? this.#restartsAtMs : 0,
      skippedAtMs: 0,
      freezer: isStoppedBySignal(this.#running?.pid ?? 0) ? 'stopped' : '',
    };
  }

  define(definition: Definition): void {
    writeDurably(this.#file('unit'), JSON.stringify(this.#env.seal.close(definition)));
    this.#definition = definition;
    this.#wake();
  }

  async undefine(): Promise<void> {
    await this.run('stop');
    removeDurably(this.#file('unit'));
    removeDurably(this.#file('log'));
    this.#definition = undefined;
    this.#state = DEAD;
    this.#facts = NEVER_RAN;
    this.#wake();
  }

  run(job: UnitJob, signal?: AbortSignal): Promise<void> {
    const done = this.#jobs.then(async () => {
      signal?.throwIfAborted();
      switch (job) {
        case 'start':
          return this.#start();
        case 'stop':
          return this.#stop();
        case 'restart':
          await this.#stop();
          return this.#start();
        case 'reload':
          if (this.#running === undefined) throw new Error(`${this.name} does not run`);
          return signalGroup(this.#running.pid, 'SIGHUP');
      }
    });
    this.#jobs = done.catch(() => undefined);
    return done;
  }

  resetFailed(): void {
    this.#restartDelay = FIRST_RESTART_MS;
    if (this.#state.activeState === 'failed') this.#become(DEAD);
  }

  async watch(wake: () => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#wakes.add(wake);
    wake();
    await firstOf<void>((resolve) => onAbort(signal, () => resolve()));
    this.#wakes.delete(wake);
  }

  async close(what: 'stop' | 'leave'): Promise<void> {
    this.#closed = true;
    if (what === 'stop') await this.run('stop');
    this.#timer?.cancel();
  }

  /** The last run that this agent began, and what it wrote. */
  get lastRun(): { readonly beganAtMs: number; readonly text: string } | undefined {
    if (this.#began === undefined) return undefined;
    const file = fs.openSync(this.#file('log'), 'r');
    try {
      const end = fs.fstatSync(file).size;
      const from = Math.max(this.#began.logFrom, end - MAX_OUTPUT);
      const bytes = Buffer.alloc(Math.max(0, end - from));
      fs.readSync(file, bytes, 0, bytes.length, from);
      return { beganAtMs: this.#began.atMs, text: bytes.toString() };
    } finally {
      fs.closeSync(file);
    }
  }

  async #start(restarts = 0): Promise<void> {
    if (this.#definition === undefined) throw new Error(`there is no unit ${this.name}`);
    if (this.#definition.masked) throw new Error(`${this.name} is masked`);
    if (this.#running !== undefined) return;
    this.#timer?.cancel();
    const { command, env } = this.#definition;
    const [program, ...args] = command;
    if (program === undefined) throw new Error(`${this.name} has no command`);

    const invocationID = randomUUID().replaceAll('-', '');
    const starting = { pid: 0, startTime: '', invocationID, startedAtMs: this.#env.clock.now() };
    writeDurably(this.#file('pid'), JSON.stringify(starting));
    const log = this.#openLog();
    this.#began = { atMs: starting.startedAtMs, logFrom: fs.fstatSync(log).size };
    let child: ChildProcess;
    try {
      child = spawn(program, args, {
        cwd: '/',
        detached: true, // a process group of its own
        stdio: ['ignore', log, log],
        env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env, [MARK]: invocationID },
      });
    } finally {
      fs.closeSync(log);
    }
    try {
      await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    } catch (error) {
      removeDurably(this.#file('pid'));
      this.#facts = { restarts, inactiveSinceMs: this.#env.clock.now(), livedMs: 0, endedItself: true };
      this.#become({ activeState: 'failed', subState: 'failed', result: 'exec' });
      throw new JobFailed('failed', `${program} could not be started: ${(error as Error).message}`);
    }
    const pid = child.pid!;
    const running: Running = { ...starting, pid, startTime: startTimeOf(pid) ?? '' };
    child.once('exit', (code, signal) => {
      this.#ended(running, signal !== null ? 'signal' : code === 0 ? 'success' : 'exit-code');
    });
    child.unref();
    writeDurably(this.#file('pid'), JSON.stringify(running));
    this.#running = running;
    this.#lastInvocationID = invocationID;
    this.#facts = { ...this.#facts, restarts, livedMs: undefined, endedItself: false };
    this.#become(RUNNING);
  }

  /** Unless somebody stopped or started it while this waited for its turn. */
  #restart(): Promise<void> {
    const done = this.#jobs.then(() => {
      if (this.#state.subState === 'auto-restart') return this.#start(this.#facts.restarts + 1);
    });
    this.#jobs = done.catch(() => undefined);
    return done;
  }

  async #stop(): Promise<void> {
    this.#timer?.cancel();
    const running = this.#running;
    if (running === undefined) {
      this.#become(DEAD);
      return;
    }
    this.#become({ activeState: 'deactivating', subState: 'stop-sigterm', result: 'success' });
    signalGroup(running.pid, 'SIGTERM');
    const deadline = this.#env.clock.monotonic() + (this.#env.stopTimeoutMs ?? 10_000);
    while (this.#isAlive(running)) {
      if (this.#env.clock.monotonic() > deadline) signalGroup(running.pid, 'SIGKILL');
      await this.#env.clock.sleep(STOP_POLL_MS);
    }
    if (this.#running === running) this.#ended(running, 'success');
  }

  #isAlive(running: Running): boolean {
    return this.#running === running && startTimeOf(running.pid) === running.startTime;
  }

  /** The process is gone; what is left of its group goes too. */
  #ended(running: Running, result: string): void {
    if (this.#running !== running) return;
    signalGroup(running.pid, 'SIGKILL');
    removeDurably(this.#file('pid'));
    this.#running = undefined;
    const wanted = this.#state.activeState !== 'deactivating' && !this.#closed;
    const now = this.#env.clock.now();
    const lived = Math.max(0, now - running.startedAtMs);
    this.#facts = { ...this.#facts, inactiveSinceMs: now, livedMs: lived, endedItself: wanted };
    if (!wanted || this.#definition === undefined) {
      this.#become({ ...DEAD, result });
      return;
    }
    if (lived >= RAN_WELL_MS) this.#restartDelay = FIRST_RESTART_MS;
    const delay = this.#restartDelay;
    this.#restartDelay = Math.min(delay * 2, LAST_RESTART_MS);
    this.#restartsAtMs = now + delay;
    this.#env.log.warn({ unit: this.name, pid: running.pid, result, restartInMs: delay }, 'a process ended');
    this.#timer = this.#env.clock.setTimeout(() => {
      this.#restart().catch((error: Error) =>
        this.#env.log.warn({ unit: this.name, error: error.message }, 'a process could not be started'),
      );
    }, delay);
    this.#become({ activeState: 'activating', subState: 'auto-restart', result });
  }

  /** Not our child, so nobody tells us when it ends. */
  #pollOrphan(running: Running): void {
    this.#timer = this.#env.clock.setTimeout(() => {
      if (this.#running !== running) return;
      if (this.#isAlive(running)) this.#pollOrphan(running);
      else this.#ended(running, 'exit-code');
    }, ORPHAN_POLL_MS);
  }

  #become(state: State): void {
    this.#state = state;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakes) wake();
  }

  #openLog(): number {
    const file = this.#file('log');
    const size = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    if (size > MAX_LOG) fs.renameSync(file, `${file}.1`);
    return fs.openSync(file, 'a', 0o600);
  }

  #file(what: 'unit' | 'pid' | 'log'): string {
    return path.join(this.#env.stateDir, what === 'log' ? `${this.name}.log` : `${this.name}.${what}.json`);
  }
}
