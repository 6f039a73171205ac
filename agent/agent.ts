// The agent put together: bundle → last known good → keys → queue → pass → status. `once` and `plan` use the same
// assembly without a controller.
import type { KeyObject } from 'node:crypto';
import fs from 'node:fs';
import type { Logger } from 'pino';
import { inWords } from '../api/errors.ts';
import { type AgentEvent, type AgentStatus, findCondition, isTrue } from '../api/status.ts';
import { type AnyKind, type Change, claimsOverlap } from '../kinds/kind.ts';
import type { Ports } from '../kinds/ports.ts';
import { AGENT_UNIT, type AgentConfig, ownPaths } from './config.ts';
import { WatchHealth } from './health/watch-health.ts';
import { BundleCache } from './informer/cache.ts';
import { createControllerClient } from './informer/client.ts';
import { Informer } from './informer/informer.ts';
import { removeUnfinished } from './journal/durable.ts';
import { Journal } from './journal/journal.ts';
import { type AgentMetrics, createAgentMetrics } from './metrics.ts';
import { type Item, Queue } from './queue/queue.ts';
import { Turns } from './queue/turns.ts';
import { isGranted, type OwnThings } from './reconcile/allow.ts';
import { ConditionSet } from './reconcile/conditions.ts';
import type { Observer, Requeue } from './reconcile/loop.ts';
import { permissionsOf, type ResourcePermissions } from './reconcile/needs.ts';
import { Reconciler } from './reconcile/reconcile.ts';
import { Suspensions } from './reconcile/suspensions.ts';
import { Watches } from './reconcile/watches.ts';
import { type Assignment, type ResourceState, resourceStatus, World } from './reconcile/world.ts';
import { createAgeIdentity } from './secrets/age.ts';
import { createSeal } from './secrets/seal.ts';
import { createSecretStore, type SecretStore } from './secrets/store.ts';

export interface AgentDeps extends OwnThings {
  readonly config: AgentConfig;
  readonly kinds: ReadonlyMap<string, AnyKind>;
  readonly ports: Ports;
  readonly log: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly random: () => number;
  /** How long a pass may take, milliseconds. */
  readonly passTimeoutMs?: number;
  /** For signed requests; without one no controller is asked. */
  readonly privateKey?: KeyObject;
  /** For `plan`: an agent may run on the same state directory, and nothing of it is touched. */
  readonly readOnly?: boolean;
  /** The agent's own; given by whoever has conditions to add. */
  readonly conditions?: ConditionSet;
  /** While it says so, a pass observes and reports, and applies nothing (crash loop). */
  readonly applyNothing?: () => boolean;
}

const EVENTS_KEPT = 50;
/** How long the host is asked what one resource would touch, for people who wait for it. */
const LOOK_MS = 30_000;
/** As many as may wait for the disk together; what must not run together has locks. */
const CONCURRENCY = 32;

export class Agent {
  readonly metrics: AgentMetrics;
  readonly suspensions: Suspensions;
  readonly cache: BundleCache;
  readonly #deps: AgentDeps;
  readonly #journal: Journal;
  readonly #world: World;
  readonly #queue: Queue;
  readonly #reconciler: Reconciler;
  readonly #watches: Watches;
  readonly #watchHealth: WatchHealth;
  readonly #secrets: SecretStore;
  readonly #conditions: ConditionSet;
  readonly #stopping = new AbortController();
  readonly #events: AgentEvent[] = [];
  readonly #startedAt: string;
  #informer: Informer | undefined;
  #attempted = 0;
  #hasCandidates = true;
  #watching = true;
  /** Every pass so far has found all as it should be. */
  #foundInSync = true;
  #running = { sequence: 0, commit: '' };
  #endOfSuspension: { cancel(): void } | undefined;
  /** The last that was found not to be ready yet. */
  #behind: ResourceState | undefined;

  constructor(deps: AgentDeps) {
    const { config, kinds, ports } = deps;
    this.#deps = deps;
    this.#conditions = deps.conditions ?? new ConditionSet();
    this.#startedAt = new Date(ports.clock.now()).toISOString();
    this.metrics = createAgentMetrics(deps.version);
    this.suspensions = new Suspensions(config.stateDir, ports.clock);
    this.cache = new BundleCache({
      stateDir: config.stateDir,
      host: config.host,
      trustedKeys: config.trustedKeys,
    });
    this.#journal = new Journal(config.stateDir, createSeal(config.stateDir));
    this.#world = new World(kinds, this.#journal);
    const own = deps.own ?? ownPaths(config);
    this.#secrets = createSecretStore({
      stateDir: config.stateDir,
      env: deps.env,
      age: createAgeIdentity(config.ageIdentity, config.host),
      own,
      allows: (file) => isGranted({ type: 'secret', value: file }, { allow: config.allow, own }),
      readOnly: deps.readOnly ?? false,
    });
    const turns = new Turns(() => ports.clock.monotonic());
    this.#reconciler = new Reconciler({
      kinds,
      ports,
      journal: this.#journal,
      world: this.#world,
      secrets: this.#secrets,
      suspensions: this.suspensions,
      allow: config.allow,
      own,
      ...(deps.ownPrograms === undefined ? {} : { ownPrograms: deps.ownPrograms }),
      ownUnits: deps.ownUnits ?? [AGENT_UNIT],
      observer: this.#observer(),
      queue: this.#requeue(),
      turns,
      ...(deps.applyNothing === undefined ? {} : { applyNothing: deps.applyNothing }),
      stopping: this.#stopping.signal,
      ...(deps.passTimeoutMs === undefined ? {} : { passTimeoutMs: deps.passTimeoutMs }),
    });
    this.#queue = new Queue({
      clock: ports.clock,
      concurrency: CONCURRENCY,
      random: deps.random,
      turns,
      work: (item) => this.#work(item),
      locksOf: (key) => this.#locksOf(key),
      locksOverlap: claimsOverlap,
    });
    this.#watchHealth = new WatchHealth({
      conditions: this.#conditions,
      metrics: this.metrics,
      files: ports.files,
      clock: ports.clock,
      onChange: () => this.#informer?.statusChanged(),
    });
    this.#watches = new Watches({
      ports,
      hide: (text) => this.#secrets.hide(text),
      log: deps.log,
      wake: (key, cause) => this.#queue.add(key, cause),
      up: (key, up) => this.#watchHealth.changed(key, up),
    });
  }

  /** Loads what the last run left behind, works on it, and asks the controller for news. */
  start(): void {
    this.load();
    this.#queue.start();
    const last = this.#cached();
    if (last !== undefined) this.assign(last);
    const { config, privateKey, ports, log, random } = this.#deps;
    if (config.controller === undefined || privateKey === undefined) return;
    this.#informer = new Informer({
      client: createControllerClient({
        url: config.controller,
        host: config.host,
        privateKey,
        clock: ports.clock,
      }),
      cache: this.cache,
      clock: ports.clock,
      log,
      random,
      conditions: this.#conditions,
      onBundle: ({ envelope, payload }) =>
        this.assign({ sequence: envelope.sequence, commit: envelope.commit, payload }),
      onPull: (result) => this.metrics.pulled(result),
      status: () => this.status(),
    });
    this.#informer.start();
  }

  /** State from disk, and nothing started. */
  load(): void {
    const { config, log, readOnly = false } = this.#deps;
    if (!readOnly) {
      fs.mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
      removeUnfinished(config.stateDir);
    }
    for (const file of this.#journal.load({ readOnly })) {
      log.error({ file }, 'the journal is damaged: what can be read of it is used, and it was copied');
    }
    this.suspensions.load();
    const unusable = this.cache.load();
    if (unusable !== undefined) log.error({ error: unusable }, 'the cached bundle is not used');
  }

  /** What the controller sent last, read from the state directory and verified; nothing is started or written. */
  lastAssignment(): Assignment | undefined {
    this.cache.load();
    return this.#cached();
  }

  #cached(): Assignment | undefined {
    if (this.cache.current === undefined) return undefined;
    const { envelope, payload } = this.cache.current;
    return { sequence: envelope.sequence, commit: envelope.commit, payload };
  }

  /** Takes over a manifest only to `plan` it: nothing is started, nothing is written. */
  preview(assignment: Assignment): void {
    this.load();
    this.#world.assign(assignment, this.#deps.ports.clock.monotonic(), { handOver: false });
  }

  /** Drains: running passes end, watches close, nothing is begun any more. */
  async stop(): Promise<void> {
    await this.#informer?.stop();
    this.#endOfSuspension?.cancel();
    const drained = this.#queue.stop();
    this.#stopping.abort();
    await drained;
    // After the last pass, which could have armed one more.
    await this.#watches.stop();
  }

  assign(assignment: Assignment): void {
    const { ports, log } = this.#deps;
    if (assignment.payload.host.mode === 'enforce') this.#removeCandidates();
    const before = this.#world.states().map((s) => s.key);
    const keys = this.#world.assign(assignment, ports.clock.monotonic());
    this.#attempted = assignment.sequence;
    for (const key of before) if (this.#world.get(key) === undefined) this.#dropped(key);
    log.info(
      { sequence: assignment.sequence, commit: assignment.commit, resources: keys.length },
      'manifest assigned',
    );
    for (const key of keys) this.#queue.add(key, 'bundle');
    if (keys.length === 0) this.#changed(); // no pass will tell that an empty manifest runs
    this.#informer?.statusChanged();
  }

  /** Of an agent that was killed; before the first of our own, and never on a host that is only observed. */
  #removeCandidates(): void {
    if (!this.#hasCandidates) return;
    this.#hasCandidates = false;
    this.#deps.ports.files.removeCandidates?.();
  }

  /**
   * One pass over everything that is assigned; resolves when nothing is left to do at once, when `timeoutMs` is over,
   * whatever runs then, or when the agent is stopped. Nothing is watched until a pass has found something else than what
   * should be: most runs of a cron job end before that.
   */
  async runOnce(assignment: Assignment, timeoutMs: number): Promise<AgentStatus> {
    const { clock } = this.#deps.ports;
    const over = Promise.withResolvers<'over'>();
    const end = (): void => over.resolve('over');
    const timer = clock.setTimeout(end, timeoutMs);
    this.#stopping.signal.addEventListener('abort', end, { once: true });
    this.#watching = false;
    this.#queue.start();
    this.assign(assignment);
    for (;;) {
      const ended = await Promise.race([over.promise, this.#queue.idle()]);
      if (ended !== 'over' && !this.#watching && !this.#foundInSync) {
        // What was found in order may have been changed by what came after it: each is looked at once more.
        this.#watching = true;
        for (const state of this.#world.states()) this.#keepUp(state);
        continue;
      }
      const status = this.status();
      if (ended === 'over' || isSettled(status)) {
        timer.cancel();
        return status;
      }
      await Promise.race([over.promise, clock.sleep(50)]);
    }
  }

  /** What a pass would change, key by key; nothing is written. Errors are told in place of changes. */
  async plan(): Promise<{ key: string; changes: readonly Change[]; error?: string }[]> {
    const plans = [];
    for (const { key, resource } of this.#world.states()) {
      if (resource === undefined) {
        plans.push({ key, changes: [{ what: 'removed', from: 'managed', to: 'not in the manifest' }] });
        continue;
      }
      try {
        plans.push({ key, changes: await this.#reconciler.plan(key, this.#stopping.signal) });
      } catch (error) {
        plans.push({ key, changes: [], error: this.#secrets.hide(inWords(error)) });
      }
    }
    return plans;
  }

  /** What each resource must be allowed to do here, as far as this host can say now; nothing is written. */
  async permissions(): Promise<ResourcePermissions[]> {
    const { targets } = this.#reconciler;
    const { ports } = this.#deps;
    const found: ResourcePermissions[] = [];
    for (const state of this.#world.states()) {
      const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(LOOK_MS)]);
      const one = await permissionsOf(state, { world: this.#world, targets, ports }, signal);
      if (one === undefined) continue;
      const { unknown } = one;
      found.push(unknown === undefined ? one : { ...one, unknown: this.#secrets.hide(unknown) });
    }
    return found;
  }

  /** @throws Error when there is no such resource. */
  reconcile(key?: string): void {
    for (const k of this.#keys(key)) this.#queue.add(k, 'request');
  }

  /** @throws Error when there is no such resource. */
  suspend(key: string | undefined, ttlMs: number, reason: string): void {
    const keys = this.#keys(key);
    this.suspensions.suspend(key ?? '*', ttlMs, reason);
    for (const k of keys) this.#queue.add(k, 'request');
    this.#armEndOfSuspension();
  }

  resume(key?: string): void {
    this.suspensions.resume(key ?? '*');
    for (const k of this.#keys(key)) this.#queue.add(k, 'request');
    this.#armEndOfSuspension();
  }

  /** Whether every resource had its first pass. */
  get ready(): boolean {
    return (
      this.#world.assignment !== undefined &&
      this.#world.states().every((s) => s.conditions.get('Ready') !== undefined)
    );
  }

  /** For the watchdog: the age of the oldest pass that runs, and since when the informer has done nothing. */
  facts(): { readonly oldestPassMs: number | undefined; readonly informerIdleMs: number | undefined } {
    return { oldestPassMs: this.#queue.oldestPassAgeMs(), informerIdleMs: this.#informer?.idleMs() };
  }

  /** Resolves when no pass runs and none is due at once. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  async exposition(): Promise<string> {
    const polled = this.#deps.ports.files.polled?.().length ?? 0;
    this.metrics.refresh(this.status(), this.#queue.depth, polled);
    return this.metrics.registry.metrics();
  }

  status(): AgentStatus {
    const { config, kinds, version, ports } = this.#deps;
    const { assignment } = this.#world;
    this.#watchHealth.lookForPolling();
    this.#lookForDamage();
    return {
      host: config.host,
      at: new Date(ports.clock.now()).toISOString(),
      agent: {
        version,
        kinds: [...kinds.keys()],
        platform: `${process.platform}-${process.arch}`,
        startedAt: this.#startedAt,
      },
      mode: assignment?.payload.host.mode ?? 'observe',
      sequence: {
        desired: assignment?.sequence ?? 0,
        attempted: this.#attempted,
        running: this.#running.sequence,
        ...(this.cache.highestSequence > (assignment?.sequence ?? 0)
          ? { seen: this.cache.highestSequence }
          : {}),
      },
      commit: { desired: assignment?.commit ?? '', running: this.#running.commit },
      conditions: this.#conditions.list(),
      resources: this.#world.states().map((state) => {
        const ms = this.#queue.runningMs(state.key);
        const running = ms === undefined ? {} : { passRunningSeconds: Math.floor(ms / 1000) };
        return { ...resourceStatus(state, this.#journal.entry(state.key)), ...running };
      }),
      events: this.#events,
    };
  }

  /** For as long as nobody has seen to it, over restarts too: what was known of some resources may be gone. */
  #lookForDamage(): void {
    const copy = this.#journal.brokenCopy;
    if (copy === undefined) return void this.#conditions.clear('JournalWhole');
    const message = `a part of the journal could not be read, and is kept in ${copy}: of some resources it may not be known any more that homeostat made them, and then they stay when their documents leave. Move that file away once you have seen to it`;
    this.#conditions.set('JournalWhole', 'False', 'JournalDamaged', message, this.#deps.ports.clock.now());
  }

  async #work(item: Item): Promise<void> {
    await this.#reconciler.reconcile(item);
    const state = this.#world.get(item.key);
    if (state === undefined) return this.#dropped(item.key);
    if (this.#stopping.signal.aborted) return;
    if (this.#watching) this.#keepUp(state);
  }

  /** From now on it is looked at after its events, and from time to time. */
  #keepUp(state: ResourceState): void {
    const { targets } = this.#reconciler;
    this.#watches.ensure(state.key, targets.watched(state), targets.secretFiles(state));
    const ms = this.#deps.config.resyncSeconds * 1000 * (0.9 + 0.2 * this.#deps.random());
    this.#queue.addAfter(state.key, 'resync', ms);
  }

  #dropped(key: string): void {
    this.#watches.remove(key);
    this.#watchHealth.forget(key);
    this.#queue.remove(key);
  }

  #locksOf(key: string): readonly string[] {
    const resource = this.#world.get(key)?.resource;
    const kind = this.#world.kindOf(key);
    if (resource === undefined || kind?.locks === undefined) return [];
    // Before its first pass, too: that is when most of them want to run at once.
    const parsed = this.#world.get(key)?.parsed?.spec ?? this.#world.specOf(resource)?.data;
    return parsed === undefined ? [] : kind.locks(parsed);
  }

  #keys(key: string | undefined): string[] {
    if (key === undefined) return this.#world.states().map((s) => s.key);
    if (this.#world.get(key) !== undefined) return [key];
    const known = this.#world.states().map((s) => s.key);
    throw new Error(`there is no ${key} on this host; there is ${known.join(', ') || 'nothing yet'}`);
  }

  /** When all of the assigned revision is ready, that revision is the one that runs. */
  #changed(): void {
    const { assignment } = this.#world;
    if (assignment === undefined || this.#running.sequence === assignment.sequence) return;
    // One that was ready may not have had its pass for the new manifest yet. Passes end in about the order of the
    // keys, so that the last which is not there yet is found soonest from the end.
    const isBehind = (s: ResourceState): boolean =>
      s.resource === undefined || s.passed !== s.resource || !s.conditions.isTrue('Ready');
    const last = this.#behind;
    if (last !== undefined && this.#world.get(last.key) === last && isBehind(last)) return;
    this.#behind = this.#world.states().findLast(isBehind);
    if (this.#behind !== undefined) return;
    this.#running = { sequence: assignment.sequence, commit: assignment.commit };
    this.metrics.confirmedAll(this.#deps.ports.clock.now() / 1000);
    this.#informer?.statusChanged();
  }

  #armEndOfSuspension(): void {
    this.#endOfSuspension?.cancel();
    const ms = this.suspensions.nextEndMs();
    if (ms === undefined) return;
    this.#endOfSuspension = this.#deps.ports.clock.setTimeout(() => {
      this.reconcile();
      this.#armEndOfSuspension();
    }, ms + 10);
  }

  #observer(): Observer {
    return {
      transition: (key, type, reason, text) => {
        const { log, ports } = this.#deps;
        const message = this.#secrets.hide(text);
        log[type === 'Normal' ? 'info' : 'warn']({ key, reason, detail: message }, 'resource changed');
        this.#events.push({ at: new Date(ports.clock.now()).toISOString(), key, type, reason, message });
        if (this.#events.length > EVENTS_KEPT) this.#events.shift();
        this.#informer?.statusChanged();
      },
      passEnded: (key, outcome, seconds) => {
        this.#foundInSync &&= outcome === 'in_sync';
        this.metrics.passEnded(key, outcome, seconds);
      },
      driftDetected: (key, by) => this.metrics.driftDetected(key, by),
      healed: (key, seconds) => this.metrics.healed(key, seconds),
      rolledBack: (key) => this.metrics.rolledBack(key),
      changed: () => this.#changed(),
    };
  }

  /** The queue works with the reconciler, and is made after it. */
  #requeue(): Requeue {
    return {
      add: (key, cause) => this.#queue.add(key, cause),
      addAfter: (key, cause, afterMs) => this.#queue.addAfter(key, cause, afterMs),
      addRateLimited: (key) => this.#queue.addRateLimited(key),
      forget: (key) => this.#queue.forget(key),
    };
  }
}

/** Whether each resource had its verdict, and none waits for another one. */
function isSettled(status: AgentStatus): boolean {
  return status.resources.every((r) => {
    const ready = findCondition(r.conditions, 'Ready');
    if (ready === undefined || ready.reason === 'Dependency') return false;
    return ready.status !== 'Unknown' || ready.reason === 'Suspended';
  });
}

/** Whether everything that the manifest asks for is as it says. */
export function allReady(status: AgentStatus): boolean {
  return status.resources.every((r) => isTrue(r.conditions, 'Ready'));
}
