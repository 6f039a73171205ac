// One pass over one resource: the facts, the situation that they make, its steps, and one place that acts on what they
// came to. A pass always ends in a status, a metric and, on a transition, one log line.
import { isDeepStrictEqual } from 'node:util';
import type { Resource } from '../../api/bundle.ts';
import { errnoOf, inWords, Stalled, Waiting } from '../../api/errors.ts';
import type { Reason } from '../../api/reasons.ts';
import type { Change } from '../../kinds/kind.ts';
import type { Cause, Item } from '../queue/queue.ts';
import { presentable } from '../secrets/redact.ts';
import { secretRefsIn } from '../secrets/store.ts';
import { act } from './act.ts';
import { basisOf, begin, resume } from './change.ts';
import { requireResolved } from './look.ts';
import type { Pass, PassResult, ReconcilerDeps, Target } from './loop.ts';
import { remove } from './removal.ts';
import { RunningPasses } from './running.ts';
import { situationOf } from './situation.ts';
import { fallback, heal, observe, parkedResult } from './standing.ts';
import { Targets } from './targets.ts';
import { undo } from './undo.ts';
import { isBehind, type ResourceState } from './world.ts';

const PASS_TIMEOUT_MS = 180_000;
/** Only a person or git lifts these; anything else that parks a heal or a removal may pass. */
const HELD: readonly Reason[] = ['Suspended', 'RemovalParked', 'WouldRemove'];

/** Causes that come by themselves, as often as what the host does. */
const BY_ITSELF: ReadonlySet<Cause> = new Set(['watch', 'armed', 'retry']);

export class Reconciler {
  readonly targets: Targets;
  readonly #deps: ReconcilerDeps;
  readonly #timeoutMs: number;
  readonly #running: RunningPasses;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
    this.#timeoutMs = deps.passTimeoutMs ?? PASS_TIMEOUT_MS;
    this.#running = new RunningPasses(deps.ports.clock, this.#timeoutMs, deps.stopping);
    this.targets = new Targets(deps);
  }

  /** Never throws: what a pass runs into becomes a condition and, where that helps, another pass. */
  async reconcile(item: Item): Promise<void> {
    const { world, ports } = this.#deps;
    const state = world.get(item.key);
    if (state === undefined) return;
    const began = ports.clock.monotonic();
    const { resource } = state;
    const abort = this.#running.begin(began);
    const { signal } = abort;
    const pass: Pass = { deps: this.#deps, targets: this.targets, state, item, signal };
    let result: PassResult;
    try {
      await this.targets.ready(state);
      result = await this.#run(pass);
    } catch (error) {
      result = this.#failed(pass, error);
    } finally {
      this.#running.ended(abort);
    }
    // Git may have moved on meanwhile; this pass was about what it asked for before.
    const wasBehind = isBehind({ ...state, resource });
    state.passed = resource;
    act(
      this.#deps,
      state,
      wasBehind ? { ...result, isFirst: true } : result,
      (ports.clock.monotonic() - began) / 1000,
    );
  }

  /** Differences and their texts, for `plan`; writes nothing. @throws what observing throws. */
  async plan(key: string, signal: AbortSignal): Promise<readonly Change[]> {
    const state = this.#deps.world.get(key);
    if (state?.resource === undefined) return [];
    await this.targets.ready(state);
    const target = this.targets.wanted(state, state.resource);
    await requireResolved({ deps: this.#deps, signal }, target);
    const { kind, desired } = target;
    const changes = kind.diff(desired, await kind.observe(desired, this.#deps.ports, signal));
    // What stands there now may be a secret that an earlier manifest put there.
    const { secrets, journal } = this.#deps;
    const heldSecret =
      kind.secretsOnlyOpen !== true && secretRefsIn(journal.entry(key)?.confirmed?.spec).length > 0;
    return changes.map((change) => presentable(change, heldSecret, secrets.hide));
  }

  async #run(pass: Pass): Promise<PassResult> {
    const { state } = pass;
    const { journal } = this.#deps;
    const { resource } = state;
    const suspension = resource && this.#suspension(state, resource);
    const still = resource && this.#untouched(resource);
    const wanted = resource && suspension === undefined ? this.#wanted(state, resource) : undefined;
    const target = isTarget(wanted) ? wanted : undefined;
    const refused = target && still === undefined ? await this.#refused(pass, target, resource!) : undefined;
    const trouble = refused ?? (isTarget(wanted) ? undefined : wanted);
    const intent = journal.intent(state.key);
    if (suspension === undefined) state.conditions.clear('Suspended');

    const situation = situationOf({
      inManifest: resource !== undefined,
      suspended: suspension !== undefined,
      mayTouch: still === undefined,
      wanted: target?.desired.digest,
      refused: refused !== undefined,
      confirmed: journal.entry(state.key)?.confirmed?.digest,
      intent: intent && { digest: intent.digest, undoing: intent.phase === 'undoing' },
    });
    if (situation !== 'Observe' && situation !== 'Suspended') this.#removeStale(state);
    switch (situation) {
      case 'Remove':
        return await remove(pass);
      case 'Suspended':
        return suspendedResult(suspension!);
      case 'Observe':
        return target === undefined ? parkedResult(pass, trouble!) : await observe(pass, target, still!);
      case 'Undo':
        return await undo(pass, intent!);
      case 'Fallback':
        return await fallback(pass, trouble!);
      case 'Resume':
        return await resume(pass, target!);
      case 'Heal':
        return await heal(pass, target!);
      case 'New':
        return await begin(pass, target!, resource!);
    }
  }

  /** What git asks for, or why it can't be had. */
  #wanted(state: ResourceState, resource: Resource): Target | Stalled | Waiting {
    try {
      const target = this.targets.wanted(state, resource);
      state.desiredDigest = target.desired.digest;
      this.#keepCiphertext(state, target);
      return target;
    } catch (error) {
      if (error instanceof Stalled || error instanceof Waiting) return error;
      throw error;
    }
  }

  /** Why the desired state isn't to be tried now, if so. */
  async #refused(pass: Pass, target: Target, resource: Resource): Promise<Stalled | undefined> {
    const { state, item } = pass;
    const { digest } = target.desired;
    const quarantined = await this.#quarantined(pass, target, resource);
    if (quarantined !== undefined) return quarantined;
    const { parked } = state;
    if (parked?.digest !== digest) {
      // It was another desired state that could not be begun: what depends on this one waits no more.
      state.parked = undefined;
      return undefined;
    }
    // A person, git or the resync tries it again; an event does where it may have lifted it, and not too often.
    if (![...item.causes].every((cause) => BY_ITSELF.has(cause))) return undefined;
    const isDue = this.#deps.ports.clock.monotonic() >= parked.notBeforeMs;
    if (parked.error.liftedBy === 'host' && isDue) return undefined;
    state.parked = { ...parked, wasWoken: true };
    return parked.error;
  }

  /** What was refused here stays so until its spec, its program, or something that it depends on is another one. */
  async #quarantined(
    { state, signal }: Pass,
    { kind, desired }: Target,
    resource: Resource,
  ): Promise<Stalled | undefined> {
    const { journal, ports } = this.#deps;
    const entry = journal.entry(state.key);
    const quarantined = entry?.quarantined;
    if (quarantined === undefined) return undefined;
    if (quarantined.digest === desired.digest) {
      // Where it can't be asked, it counts as the same, and the last confirmed state is kept up.
      const version = (await kind.version?.(desired, ports, signal).catch(() => '')) ?? '';
      signal.throwIfAborted();
      const isSameProgram = version === quarantined.version || version === '' || quarantined.version === '';
      if (isSameProgram && basisOf(this.#deps, kind, resource, desired.spec) === quarantined.basis)
        return new Stalled('RolledBack', `${quarantined.reason}: ${quarantined.evidence}`);
    }
    // An undo of it that still goes on is superseded by what is tried now.
    const { quarantined: _, ...rest } = entry!;
    journal.write({ key: state.key, entry: rest });
    return undefined;
  }

  /** Encrypted anew, it is the same desired state; what was confirmed must stay readable under new keys. */
  #keepCiphertext(state: ResourceState, { desired }: Target): void {
    const { journal } = this.#deps;
    const entry = journal.entry(state.key);
    if (entry?.confirmed?.digest !== desired.digest || secretRefsIn(desired.spec).length === 0) return;
    if (isDeepStrictEqual(entry.confirmed.spec, desired.spec)) return;
    const confirmed = { ...entry.confirmed, spec: desired.spec };
    journal.write({ key: state.key, entry: { ...entry, confirmed } });
  }

  /** Why nothing of it may be touched, if so. */
  #untouched({ drift }: Resource): string | undefined {
    const { world, applyNothing } = this.#deps;
    if (world.assignment?.payload.host.mode === 'observe') return 'the host is in mode observe';
    if (applyNothing?.() === true) return 'the agent was started again and again, and only observes';
    return drift === 'warn' ? 'the manifest says drift: warn' : undefined;
  }

  #suspension(state: ResourceState, resource: Resource): string | undefined {
    return resource.suspend ? 'the manifest says suspend: true' : this.#deps.suspensions.reasonFor(state.key);
  }

  /** Once a start: what a killed agent left half-written beside the files of this key. */
  #removeStale(state: ResourceState): void {
    if (state.cleaned) return;
    const { kinds, journal, ports, world } = this.#deps;
    const { resource } = state;
    const parsed = resource && world.specOf(resource);
    const wanted = parsed?.success ? kinds.get(resource!.kind)!.owns(parsed.data) : [];
    for (const claim of new Set([...wanted, ...(journal.entry(state.key)?.owns ?? [])])) {
      const path = /^file:([^#]+)/.exec(claim)?.[1];
      if (path !== undefined) ports.files.removeStale?.(path);
    }
    state.cleaned = true;
  }

  #failed(pass: Pass, error: unknown): PassResult {
    if (this.#deps.stopping.aborted) return { outcome: 'waiting' };
    if (error instanceof Waiting) return parkedResult(pass, error);
    if (error instanceof Stalled) {
      const result = parkedResult(pass, error);
      return HELD.includes(error.reason) ? result : { ...result, requeueAfterMs: 'backoff' };
    }
    const timedOut = pass.signal.aborted ? `the pass took longer than ${this.#timeoutMs / 1000} s: ` : '';
    const message = `${timedOut}${inWords(error)}`;
    const reason = errnoOf(error) || 'Error';
    return {
      outcome: 'error',
      reports: [{ type: 'Ready', status: 'False', reason, message }],
      requeueAfterMs: 'backoff',
    };
  }
}

function isTarget(wanted: Target | Stalled | Waiting | undefined): wanted is Target {
  return wanted !== undefined && !(wanted instanceof Error);
}

function suspendedResult(message: string): PassResult {
  return {
    outcome: 'suspended',
    reports: [
      { type: 'Suspended', status: 'True', reason: 'Suspended', message },
      { type: 'Ready', status: 'Unknown', reason: 'Suspended', message },
    ],
  };
}
