// Whether the agent is well, judged by facts: a process that hangs must not say that it is well, or systemd never
// restarts it. What is judged is a pure function; the watchdog collects its facts and acts on the findings.
import type { Logger } from 'pino';
import type { Clock } from '../../kinds/ports.ts';
import type { ConditionSet } from '../reconcile/conditions.ts';

export interface Facts {
  /** Age of the oldest pass that runs; undefined while none does. */
  readonly oldestPassMs: number | undefined;
  /** Programs that are seen to their end however long they take: a pass that waits for one is as old as it has to be. */
  readonly detachedPrograms: number;
  /** Since the informer last did anything; undefined without a controller. A controller that is down keeps it busy. */
  readonly informerIdleMs: number | undefined;
  /** How late the last timer was. */
  readonly lagMs: number;
  readonly residentBytes: number;
}

export interface Limits {
  readonly passMs: number;
  readonly informerMs: number;
  readonly lagMs: number;
  readonly memoryBytes: number;
}

type Reason = 'PassHangs' | 'InformerHangs' | 'EventLoopLags' | 'MemoryCeiling';
export interface Finding {
  readonly reason: Reason;
  readonly message: string;
}

const MIB = 1024 * 1024;
/** A pass is told to end after 180 s, a long poll of the controller after less: what is older ignores that. */
const LIMITS: Omit<Limits, 'memoryBytes'> = { passMs: 300_000, informerMs: 300_000, lagMs: 15_000 };
const LOOK_MS = 5_000;

/** What is wrong, worst first; nothing, as a rule. */
export function judge(facts: Facts, limits: Limits): Finding[] {
  const { oldestPassMs, detachedPrograms, informerIdleMs, lagMs, residentBytes } = facts;
  const found: Finding[] = [];
  const add = (reason: Reason, message: string): void => void found.push({ reason, message });
  if (residentBytes > limits.memoryBytes)
    add(
      'MemoryCeiling',
      `the agent takes ${mib(residentBytes)} MiB, and memoryCeilingMiB is ${mib(limits.memoryBytes)}`,
    );
  if (oldestPassMs !== undefined && oldestPassMs > limits.passMs && detachedPrograms === 0)
    add('PassHangs', `a pass has run for ${seconds(oldestPassMs)} s, and does not end when it is told to`);
  if (informerIdleMs !== undefined && informerIdleMs > limits.informerMs)
    add('InformerHangs', `the controller has not been asked for ${seconds(informerIdleMs)} s`);
  if (lagMs > limits.lagMs) add('EventLoopLags', `the event loop stood still for ${seconds(lagMs)} s`);
  return found;
}

const mib = (bytes: number): number => Math.round(bytes / MIB);
const seconds = (ms: number): number => Math.round(ms / 1000);

export interface WatchdogDeps {
  readonly clock: Clock;
  readonly log: Pick<Logger, 'error' | 'info'>;
  /** The agent's own: Healthy is kept in it once something was wrong. */
  readonly conditions: ConditionSet;
  readonly memoryCeilingMiB: number;
  readonly oldestPassAgeMs: () => number | undefined;
  readonly informerIdleMs: () => number | undefined;
  readonly detachedPrograms: () => number;
  readonly residentBytes: () => number;
  /** Memory is above its ceiling, and does not come back: the process is to end in order. Called once. */
  readonly onMemory: (message: string) => void;
}

export class Watchdog {
  readonly #deps: WatchdogDeps;
  readonly #limits: Limits;
  #findings: readonly Finding[] = [];
  #timer: { cancel(): void } | undefined;
  #ending = false;

  constructor(deps: WatchdogDeps) {
    this.#deps = deps;
    this.#limits = { ...LIMITS, memoryBytes: deps.memoryCeilingMiB * MIB };
  }

  start(): void {
    const { clock } = this.#deps;
    const dueAt = clock.monotonic() + LOOK_MS;
    this.#timer = clock.setTimeout(() => {
      this.#look(Math.max(0, clock.monotonic() - dueAt));
      this.start();
    }, LOOK_MS);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** For the service manager. Memory is none of its business: the process ends by itself, in order. */
  healthy(): boolean {
    return this.#findings.every(({ reason }) => reason === 'MemoryCeiling');
  }

  #look(lagMs: number): void {
    const { oldestPassAgeMs, detachedPrograms, informerIdleMs, residentBytes, log, onMemory } = this.#deps;
    this.#findings = judge(
      {
        oldestPassMs: oldestPassAgeMs(),
        detachedPrograms: detachedPrograms(),
        informerIdleMs: informerIdleMs(),
        lagMs,
        residentBytes: residentBytes(),
      },
      this.#limits,
    );
    this.#report(this.#findings[0]);
    const memory = this.#findings.find(({ reason }) => reason === 'MemoryCeiling');
    if (memory === undefined || this.#ending) return;
    this.#ending = true;
    log.error({ detail: memory.message }, 'agent ends itself, to be started anew');
    onMemory(memory.message);
  }

  #report(worst: Finding | undefined): void {
    const { conditions, clock, log } = this.#deps;
    const now = clock.now();
    if (worst !== undefined) {
      if (conditions.set('Healthy', 'False', worst.reason, worst.message, now))
        log.error({ reason: worst.reason, detail: worst.message }, 'agent is not well');
    } else if (conditions.get('Healthy')?.status === 'False') {
      conditions.set('Healthy', 'True', 'Well', 'nothing hangs', now);
      log.info('agent is well again');
    }
  }
}
