// One pass over one resource. It always ends in a status, a metric and, on a transition, one log line. Here it is
// decided what is aimed at and what an error means; converge.ts gets there, undo.ts goes back, removal.ts removes.
import { isDeepStrictEqual } from 'node:util';
import type { Resource } from '../../api/bundle.ts';
import { errnoOf, inWords, Stalled, Waiting } from '../../api/errors.ts';
import type { Change } from '../../kinds/kind.ts';
import type { Item } from '../queue/queue.ts';
import { presentable } from '../secrets/redact.ts';
import { secretRefsIn } from '../secrets/store.ts';
import { Converger } from './converge.ts';
import type { Outcome, ReconcilerDeps } from './loop.ts';
import { remove } from './removal.ts';
import { Report } from './report.ts';
import { type Target, Targets } from './targets.ts';
import { undo } from './undo.ts';
import type { ResourceState } from './world.ts';

/** Above Alloy's reload (75 s); a pass that takes longer hangs. */
const PASS_TIMEOUT_MS = 180_000;

export class Reconciler {
  readonly targets: Targets;
  readonly #deps: ReconcilerDeps;
  readonly #report: Report;
  readonly #converger: Converger;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
    this.targets = new Targets(deps);
    this.#report = new Report(deps);
    this.#converger = new Converger(deps, this.#report, this.targets);
  }

  /** Never throws: what a pass runs into becomes a condition and, where that helps, another pass. */
  async reconcile(item: Item): Promise<void> {
    const { world, observer, ports, stopping } = this.#deps;
    const state = world.get(item.key);
    if (state === undefined) return;
    const began = ports.clock.monotonic();
    const { resource } = state;
    // Made by hand: signals that are combined of others cost more than all the rest of a pass that finds nothing.
    const pass = new AbortController();
    const { signal } = pass;
    const stop = (): void => pass.abort(stopping.reason);
    stopping.addEventListener('abort', stop);
    if (stopping.aborted) stop();
    const timeout = ports.clock.setTimeout(() => pass.abort(), PASS_TIMEOUT_MS);
    let outcome: Outcome;
    try {
      this.#tidy(state);
      await this.targets.ready(state);
      outcome =
        resource === undefined
          ? await remove(this.#deps, state, signal)
          : await this.#pass(state, resource, item, signal);
      if (outcome !== 'unconfirmed') observer.succeeded(item.key);
    } catch (error) {
      outcome = this.#failed(state, error, signal);
    } finally {
      timeout.cancel();
      stopping.removeEventListener('abort', stop);
    }
    state.passed = resource;
    observer.passEnded(item.key, outcome, (ports.clock.monotonic() - began) / 1000);
    observer.changed(item.key);
  }

  /** Differences and their texts, for `plan`; writes nothing. @throws what observing throws. */
  async plan(key: string, signal: AbortSignal): Promise<readonly Change[]> {
    const state = this.#deps.world.get(key);
    if (state?.resource === undefined) return [];
    await this.targets.ready(state);
    const { kind, desired } = this.targets.wanted(state, state.resource);
    const changes = kind.diff(desired, await kind.observe(desired, this.#deps.ports, signal));
    // What stands there now may be a secret that an earlier manifest put there.
    const { secrets, journal } = this.#deps;
    const heldSecret =
      kind.secretsOnlyOpen !== true && secretRefsIn(journal.holding(key)?.confirmed?.spec).length > 0;
    return changes.map((change) => presentable(change, heldSecret, secrets.hide));
  }

  async #pass(state: ResourceState, resource: Resource, item: Item, signal: AbortSignal): Promise<Outcome> {
    const { journal, suspensions } = this.#deps;
    const suspension = resource.suspend
      ? 'the manifest says suspend: true'
      : suspensions.reasonFor(state.key);
    if (suspension !== undefined) {
      this.#report.set(state, 'Suspended', 'True', 'Suspended', suspension);
      this.#report.set(state, 'Ready', 'Unknown', 'Suspended', suspension);
      return 'suspended';
    }
    state.conditions.clear('Suspended');

    const intent = journal.intent(state.key);
    if (intent?.phase === 'undoing')
      await undo(this.#deps, this.#report, this.targets, state, intent, signal);

    const confirmed = journal.holding(state.key)?.confirmed;
    let trouble: Stalled | Waiting;
    /** Unknown while it can't be understood, or lacks a secret. */
    let digest = '';
    try {
      const wanted = this.targets.wanted(state, resource);
      digest = wanted.desired.digest;
      state.desiredDigest = digest;
      this.#keepCiphertext(state, wanted);
      const refused = await this.#refusedBefore(state, wanted, item, signal);
      if (refused === undefined) {
        const outcome = await this.#converger.converge(state, resource, wanted, item, signal);
        state.stalled = undefined;
        return outcome;
      }
      trouble = refused;
    } catch (error) {
      if (error instanceof Stalled) state.stalled = { digest, reason: error.reason, message: error.message };
      // Of a change that was begun and waits, the last confirmed state may already be replaced.
      else if (!(error instanceof Waiting) || journal.intent(state.key) !== undefined) throw error;
      trouble = error;
    }
    // What git asks for can't be had, or not yet. The last confirmed state is kept up meanwhile.
    if (confirmed !== undefined && confirmed.digest !== digest) {
      const fallback = this.targets.standIn(state, resource, confirmed.spec, confirmed.digest);
      if (fallback !== undefined) await this.#converger.converge(state, resource, fallback, item, signal);
    }
    throw trouble;
  }

  /** Why the desired digest isn't to be tried now, if so. */
  async #refusedBefore(
    state: ResourceState,
    wanted: Target,
    item: Item,
    signal: AbortSignal,
  ): Promise<Stalled | undefined> {
    const { journal, ports } = this.#deps;
    const holding = journal.holding(state.key);
    const quarantined = holding?.quarantined;
    if (quarantined?.digest === wanted.desired.digest) {
      const version = (await wanted.kind.version?.(wanted.desired, ports, signal)) ?? '';
      if (version === quarantined.version) {
        return new Stalled('RolledBack', `${quarantined.reason}: ${quarantined.evidence}`);
      }
    }
    if (quarantined !== undefined) {
      const { quarantined: _, ...rest } = holding!;
      journal.write({ key: state.key, holding: rest });
    }
    const onlyWatch = item.causes.size === 1 && item.causes.has('watch');
    if (onlyWatch && state.stalled !== undefined && state.stalled.digest === wanted.desired.digest) {
      return new Stalled(state.stalled.reason, state.stalled.message);
    }
    return undefined;
  }

  /** Encrypted anew, it is the same desired state; what was confirmed must stay readable under new keys. */
  #keepCiphertext(state: ResourceState, { desired }: Target): void {
    const { journal } = this.#deps;
    const holding = journal.holding(state.key);
    if (holding?.confirmed?.digest !== desired.digest || secretRefsIn(desired.spec).length === 0) return;
    if (isDeepStrictEqual(holding.confirmed.spec, desired.spec)) return;
    const confirmed = { ...holding.confirmed, spec: desired.spec };
    journal.write({ key: state.key, holding: { ...holding, confirmed } });
  }

  /** Once a start: what a killed agent left half-written beside the files of this key. */
  #tidy(state: ResourceState): void {
    if (state.tidied) return;
    const { kinds, journal, ports } = this.#deps;
    const parsed = state.resource && kinds.get(state.resource.kind)?.spec.safeParse(state.resource.spec);
    const wanted = parsed?.success ? kinds.get(state.resource!.kind)!.owns(parsed.data) : [];
    for (const claim of new Set([...wanted, ...(journal.holding(state.key)?.owns ?? [])])) {
      const path = /^file:([^#]+)/.exec(claim)?.[1];
      if (path !== undefined) ports.files.tidy?.(path);
    }
    state.tidied = true;
  }

  #failed(state: ResourceState, error: unknown, signal: AbortSignal): Outcome {
    const { observer, stopping } = this.#deps;
    if (stopping.aborted) return 'waiting';
    if (error instanceof Stalled) {
      observer.succeeded(state.key);
      if (
        !state.conditions.isTrue('Applied') ||
        this.#deps.journal.holding(state.key)?.confirmed === undefined
      ) {
        this.#report.set(state, 'Applied', 'False', error.reason, error.message);
      }
      this.#report.set(state, 'Ready', 'False', error.reason, error.message);
      return error.reason === 'RolledBack' ? 'rolled_back' : 'stalled';
    }
    if (error instanceof Waiting) {
      observer.requeue(state.key, 'retry', error.afterMs);
      this.#report.set(state, 'Ready', 'False', error.reason, error.message);
      return 'waiting';
    }
    const timedOut = signal.aborted ? `the pass took longer than ${PASS_TIMEOUT_MS / 1000} s: ` : '';
    observer.backOff(state.key);
    this.#report.set(state, 'Ready', 'False', errnoOf(error) || 'Error', `${timedOut}${inWords(error)}`);
    return 'error';
  }
}
