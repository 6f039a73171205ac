// Keeps asking the controller for this host's bundle, and keeps telling it the host's status. Whatever goes
// wrong here is a condition and a metric: the state that runs is never touched by it.
import type { Logger } from 'pino';
import { BundleRefused, type SignedBundle } from '../../api/bundle.ts';
import { inWords } from '../../api/errors.ts';
import type { AgentStatus } from '../../api/status.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { PullResult } from '../metrics.ts';
import type { ConditionSet } from '../reconcile/conditions.ts';
import type { Accepted, BundleCache } from './cache.ts';
import { type ControllerClient, ControllerError } from './client.ts';

export interface InformerDeps {
  readonly client: ControllerClient;
  readonly cache: BundleCache;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  /** The agent's own conditions: ControllerReachable, Assigned, ManifestAccepted, StatusAccepted. */
  readonly conditions: ConditionSet;
  readonly onBundle: (accepted: Accepted) => void;
  readonly onPull: (result: PullResult) => void;
  readonly status: () => AgentStatus;
}

const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 30_000;
/** A long poll that comes back sooner without news did not wait; it is not asked again at once. */
const SHORTEST_POLL_MS = 1_000;
/** Between two reports at least, and at most when nothing changes. */
const REPORT_GAP_MS = 200;
const HEARTBEAT_MS = 30_000;

/** A right bundle that this host's disk did not take: it is not acted on, since a restart would not know of it. */
class NotKept extends Error {
  constructor(cause: unknown) {
    super(`the bundle is right and could not be kept, so it is not acted on: ${inWords(cause)}`, { cause });
  }
}

export class Informer {
  readonly #deps: InformerDeps;
  readonly #stopping = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();
  #etag: string | undefined;
  #dirty = Promise.withResolvers<void>();

  constructor(deps: InformerDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#loops = Promise.all([this.#pullLoop(), this.#reportLoop()]);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#dirty.resolve();
    await this.#loops;
  }

  /** The status changed: it is reported soon. */
  statusChanged(): void {
    this.#dirty.resolve();
  }

  async #pullLoop(): Promise<void> {
    const { clock, random } = this.#deps;
    const { signal } = this.#stopping;
    let backoffMs = FIRST_BACKOFF_MS;
    let first = true;
    while (!signal.aborted) {
      const began = clock.monotonic();
      const result = await this.#pullOnce(first);
      if (signal.aborted) return;
      this.#deps.onPull(result);
      if (result === 'new' || result === 'unchanged') backoffMs = FIRST_BACKOFF_MS;
      // Of a host that is not in git the controller lets the poll wait, and answers when it is; it is asked again
      // at once only when it did let it wait.
      if (result === 'unassigned' && clock.monotonic() - began > LONGEST_BACKOFF_MS) continue;
      const early = !first && clock.monotonic() - began < SHORTEST_POLL_MS;
      first = false;
      if (result === 'unchanged' && early) await clock.sleep(SHORTEST_POLL_MS, signal).catch(() => {});
      if (result === 'new' || result === 'unchanged') continue;
      await clock.sleep(backoffMs * (0.75 + 0.5 * random()), signal).catch(() => {});
      backoffMs = Math.min(LONGEST_BACKOFF_MS, backoffMs * 2);
    }
  }

  /** @param first answers at once even when nothing is new, so that reaching the controller shows at once. */
  async #pullOnce(first: boolean): Promise<PullResult> {
    const { client, cache } = this.#deps;
    try {
      const pulled = await client.pull(
        {
          ...(this.#etag === undefined ? {} : { etag: this.#etag }),
          ...(cache.current === undefined ? {} : { payloadDigest: cache.current.envelope.payloadDigest }),
          ...(first ? { waitSeconds: 0 } : {}),
        },
        this.#stopping.signal,
      );
      this.#set('ControllerReachable', 'True', 'Reached', 'the controller answers');
      this.#set('Assigned', 'True', 'Assigned', 'the host is in git');
      if (pulled === 'unchanged') return 'unchanged';
      const accepted = this.#keep(pulled.bundle);
      this.#etag = pulled.etag;
      this.#set('ManifestAccepted', 'True', 'Verified', 'signature, host, sequence and digest are right');
      if (accepted === undefined) return 'unchanged';
      this.#deps.onBundle(accepted);
      return 'new';
    } catch (error) {
      return this.#pullFailed(error);
    }
  }

  /** @throws BundleRefused, NotKept */
  #keep(bundle: SignedBundle): Accepted | undefined {
    try {
      return this.#deps.cache.accept(bundle);
    } catch (error) {
      throw error instanceof BundleRefused ? error : new NotKept(error);
    }
  }

  #pullFailed(error: unknown): PullResult {
    if (this.#stopping.signal.aborted) return 'unreachable';
    if (error instanceof BundleRefused) {
      this.#set('ControllerReachable', 'True', 'Reached', 'the controller answers');
      this.#set('ManifestAccepted', 'False', error.result, error.message);
      return error.result;
    }
    if (error instanceof NotKept) {
      this.#set('ManifestAccepted', 'False', 'NotKept', error.message);
      return 'not_kept';
    }
    if (error instanceof ControllerError && error.status < 500) {
      this.#set('ControllerReachable', 'True', 'Reached', 'the controller answers');
      if (error.code === 'Unassigned') {
        this.#set('Assigned', 'False', 'Unassigned', `${error.message}; the host keeps what it has`);
        return 'unassigned';
      }
      this.#set('ManifestAccepted', 'False', error.code, error.message);
      return 'refused_by_controller';
    }
    this.#set('ControllerReachable', 'False', 'Unreachable', inWords(error));
    return 'unreachable';
  }

  #set(type: string, status: 'True' | 'False', reason: string, message: string): void {
    const { conditions, clock, log } = this.#deps;
    if (!conditions.set(type, status, reason, message, clock.now())) return;
    log[status === 'True' ? 'info' : 'warn'](
      { condition: type, reason, detail: message },
      'condition changed',
    );
    this.statusChanged();
  }

  async #reportLoop(): Promise<void> {
    const { client, clock, status, log } = this.#deps;
    const { signal } = this.#stopping;
    let failed = false;
    while (!signal.aborted) {
      const beat = clock.setTimeout(() => this.#dirty.resolve(), HEARTBEAT_MS);
      await this.#dirty.promise;
      beat.cancel();
      if (signal.aborted) return;
      this.#dirty = Promise.withResolvers();
      try {
        await client.report(status(), signal);
        failed = false;
        // The condition is there only for those whose report was refused once.
        if (this.#deps.conditions.get('StatusAccepted') !== undefined)
          this.#set('StatusAccepted', 'True', 'Accepted', 'the controller takes what this host reports');
      } catch (error) {
        if (!failed && !signal.aborted) log.warn({ error: inWords(error) }, 'status could not be reported');
        failed = true;
        if (error instanceof ControllerError && error.status < 500)
          this.#set('StatusAccepted', 'False', error.code, error.message);
      }
      await clock.sleep(failed ? 10 * REPORT_GAP_MS : REPORT_GAP_MS, signal).catch(() => {});
    }
  }
}
