// Getting a host to one target: observe, diff, prepare, journal, apply, observe again, confirm; and back, when the
// gate says no.
import type { Resource } from '../../api/bundle.ts';
import { Stalled, Waiting } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import {
  type AnyKind,
  type Change,
  type Desired,
  describeChange,
  type Snapshot,
  type Verdict,
} from '../../kinds/kind.ts';
import type { Holding, Intent } from '../journal/journal.ts';
import type { Item } from '../queue/queue.ts';
import type { Outcome, ReconcilerDeps } from './loop.ts';
import { departure, takeBackElsewhere } from './moves.ts';
import type { Report } from './report.ts';
import type { Target, Targets } from './targets.ts';
import { undo } from './undo.ts';
import type { ResourceState, World } from './world.ts';

const CONFIRM_DEADLINE_MS = 600_000;
const CONFIRM_AGAIN_MS = 5_000;
const DEPENDENCY_AGAIN_MS = 60_000;

export class Converger {
  readonly #deps: ReconcilerDeps;
  readonly #report: Report;
  readonly #targets: Targets;

  constructor(deps: ReconcilerDeps, report: Report, targets: Targets) {
    this.#deps = deps;
    this.#report = report;
    this.#targets = targets;
  }

  /** @throws Stalled, Waiting and whatever the kind throws; the caller knows what each means. */
  async converge(
    state: ResourceState,
    resource: Resource,
    target: Target,
    item: Item,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { journal, ports, observer, world, secrets } = this.#deps;
    const { kind, desired: d } = target;
    const touches = world.assignment?.payload.host.mode !== 'observe' && resource.drift !== 'warn';
    if (touches) await takeBackElsewhere(this.#deps, state.key, kind.place?.(d.spec), signal);
    const intent = journal.intent(state.key);
    if (touches && !d.heal) requireDependencies(world, resource);
    const observed = await kind.observe(d, ports, signal);
    const changes = kind.diff(d, observed);
    state.concerns = (kind.conditions?.(d, observed) ?? []).map((concern) => ({
      ...concern,
      message: secrets.hide(concern.message),
    }));
    state.drift = changes.map((change) => secrets.hide(describeChange(change)));

    const settled = d.heal && intent === undefined;
    const judged = changes.length === 0 ? kind.judge?.(d, observed) : undefined;
    if (judged !== undefined && judged.verdict !== 'Yes') return this.#report.judged(state, target, judged);
    if (changes.length === 0 && settled) return this.#report.inSync(state, target);
    const by = item.causes.has('watch') ? 'watch' : 'resync';
    if (!touches) return this.#report.drifted(state, resource, changes, by);
    if (settled) observer.driftDetected(state.key, by);
    if (settled) {
      const waitMs = state.budget.take(ports.clock.monotonic());
      if (waitMs > 0) return this.#report.contended(state, waitMs);
    }

    let snapshot: Snapshot | undefined;
    if (!settled) {
      // An intent of this digest was prepared when it was opened; one of another digest lends its way back.
      const prepared =
        intent?.digest === d.digest ? intent.snapshot : await kind.prepare(d, observed, ports, signal);
      snapshot = intent?.snapshot ?? prepared;
      // Git moved on meanwhile. What it dropped before it was ever written has no record, and would stay for good.
      if (world.get(state.key)?.resource !== resource) return 'waiting';
      if (intent?.digest !== d.digest) {
        this.#openIntent(state, kind, d, resource, snapshot, changes.length > 0 || intent !== undefined);
      }
    }
    const applied = await this.#apply(state, target, changes, snapshot, signal);
    if (applied === 'rolled_back') return applied;
    const healSeconds = (ports.clock.monotonic() - item.wokenAt) / 1000;
    if (changes.length > 0) state.lastHealSeconds = healSeconds;
    state.drift = [];
    state.activated = d.digest;
    if (!target.standIn && this.#report.set(state, 'Applied', 'True', 'Applied', 'written and in force')) {
      this.#report.wakeDependents(state.key);
    }

    const verdict: Verdict =
      kind.confirm === undefined ? { verdict: 'Yes' } : await kind.confirm(d, snapshot, ports, signal);
    switch (verdict.verdict) {
      case 'Yes':
        return this.#confirmed(state, target, changes, snapshot, settled, healSeconds);
      case 'Unknown':
        if (!target.standIn) this.#report.set(state, 'Ready', 'Unknown', verdict.reason, verdict.evidence);
        // After the deadline only an event or the resync asks again.
        if (ports.clock.now() < (journal.intent(state.key)?.deadlineMs ?? Number.POSITIVE_INFINITY)) {
          observer.requeue(state.key, 'retry', CONFIRM_AGAIN_MS);
        }
        return 'unconfirmed';
      case 'No':
        if (d.heal || snapshot === undefined || journal.intent(state.key) === undefined) {
          if (!target.standIn) {
            this.#report.set(state, 'Ready', 'False', 'Degraded', `${verdict.reason}: ${verdict.evidence}`);
          }
          observer.requeue(state.key, 'retry', CONFIRM_AGAIN_MS);
          return 'degraded';
        }
        return this.#rollBack(state, verdict.reason, verdict.evidence, signal);
    }
  }

  #openIntent(
    state: ResourceState,
    kind: AnyKind,
    d: Desired<Record<string, unknown>>,
    resource: Resource,
    snapshot: Snapshot,
    writes: boolean,
  ): void {
    const { journal, ports, bootID } = this.#deps;
    const before = journal.holding(state.key);
    // Until this is confirmed, what came before it, or was begun before it, may still be there.
    const owns = [...new Set([...kind.owns(d.spec), ...(before?.owns ?? [])])];
    const holding: Holding = before
      ? { ...before, owns, policy: resource.prune }
      : { owns, ...beginning(kind, snapshot), policy: resource.prune };
    const place = kind.place?.(d.spec);
    const intent: Intent = {
      digest: d.digest,
      snapshot,
      phase: 'applying',
      ...(place === undefined ? {} : { place }),
      deadlineMs: ports.clock.now() + CONFIRM_DEADLINE_MS,
      bootID,
    };
    journal.write({ key: state.key, holding, ...(writes ? { intent } : {}) });
  }

  async #apply(
    state: ResourceState,
    { kind, desired: d }: Target,
    changes: readonly Change[],
    snapshot: Snapshot | undefined,
    signal: AbortSignal,
  ): Promise<'rolled_back' | 'applied'> {
    const { journal, ports } = this.#deps;
    // Found as it should be, or put into force by this process already and only waiting for its gate.
    const intent = journal.intent(state.key);
    if (changes.length === 0 && (intent === undefined || state.activated === d.digest)) return 'applied';
    // The way back must be on the disk before anything is written.
    if (intent !== undefined) await journal.flushed();
    let memory: Json | undefined;
    try {
      memory = (await kind.apply(changes, d, ports, signal)).memory;
    } catch (error) {
      if (!(error instanceof Stalled) || d.heal || snapshot === undefined) throw error;
      return this.#rollBack(state, error.reason, error.message, signal);
    }
    this.#record(state, d, changes, memory);
    if (changes.length > 0) {
      const again = { ...d, memory: journal.holding(state.key)?.memory };
      const rest = kind.diff(again, await kind.observe(again, ports, signal));
      if (rest.length > 0)
        throw new Error(`it still differs after it was applied: ${rest.map(describeChange).join('; ')}`);
    }
    return 'applied';
  }

  /** What was written when, and what the kind wants to remember; on disk only where it says something new. */
  #record(
    state: ResourceState,
    d: Desired<Record<string, unknown>>,
    changes: readonly Change[],
    memory: Json | undefined,
  ): void {
    const { journal, ports, world, observer } = this.#deps;
    const holding = journal.holding(state.key);
    if (holding === undefined) return;
    const isNew = changes.length > 0 && holding.written?.digest !== d.digest;
    const remembers = memory !== undefined && JSON.stringify(memory) !== JSON.stringify(holding.memory);
    if (!isNew && !remembers) return;
    journal.write({
      key: state.key,
      holding: {
        ...holding,
        ...(isNew ? { written: { digest: d.digest, atMs: ports.clock.now() } } : {}),
        ...(remembers ? { memory } : {}),
      },
    });
    if (isNew) for (const key of world.dependentsOf(state.key)) observer.wake(key, 'dependency');
  }

  #confirmed(
    state: ResourceState,
    target: Target,
    changes: readonly Change[],
    snapshot: Snapshot | undefined,
    settled: boolean,
    healSeconds: number,
  ): Outcome {
    const { journal, ports, observer, world } = this.#deps;
    const { kind, desired: d } = target;
    const outcome: Outcome = !settled ? 'applied' : changes.length > 0 ? 'healed' : 'in_sync';
    if (!d.heal || !settled) {
      const { quarantined, ...holding } = journal.holding(state.key)!;
      const leaving = snapshot && departure(journal, state.key, kind, d.spec);
      const leaver = leaving === undefined ? [] : [leaving];
      journal.write(...leaver, {
        key: state.key,
        holding: {
          ...holding,
          ...(leaving === undefined ? {} : beginning(kind, snapshot!)),
          // Another digest in quarantine stays there: this may be the confirmed state that stands in for it.
          ...(quarantined !== undefined && quarantined.digest !== d.digest ? { quarantined } : {}),
          owns: kind.owns(d.spec),
          written: holding.written ?? { digest: d.digest, atMs: 0 },
          confirmed: { digest: d.digest, spec: d.spec, atMs: ports.clock.now() },
        },
        intent: null,
      });
      for (const { key } of leaver) {
        world.leave(key, ports.clock.monotonic());
        observer.wake(key, 'bundle');
      }
    }
    if (outcome === 'healed') {
      state.healedTotal += 1;
      observer.healed(state.key, healSeconds);
      observer.transition(state.key, 'Normal', 'Healed', changes.map(describeChange).join('; '));
    }
    this.#report.ready(
      state,
      target,
      outcome === 'in_sync' ? 'InSync' : outcome === 'healed' ? 'Healed' : 'Applied',
    );
    return outcome;
  }

  async #rollBack(
    state: ResourceState,
    reason: string,
    evidence: string,
    signal: AbortSignal,
  ): Promise<'rolled_back'> {
    const { journal, secrets } = this.#deps;
    const intent: Intent = {
      ...journal.intent(state.key)!,
      phase: 'undoing',
      failure: { reason, evidence: secrets.hide(evidence) },
    };
    journal.write({ key: state.key, intent });
    await undo(this.#deps, this.#report, this.#targets, state, intent, signal);
    return 'rolled_back';
  }
}

/** Where what is held begins. */
function beginning(kind: AnyKind, snapshot: Snapshot): Pick<Holding, 'origin' | 'original'> {
  return { origin: snapshot.existed ? 'adopted' : 'created', original: { kind: kind.kind, snapshot } };
}

/** Only what is new waits for its dependencies; a heal never does. @throws Waiting */
function requireDependencies(world: World, resource: Resource): void {
  for (const { ref, until } of resource.dependsOn) {
    const dependency = world.get(ref);
    const its = dependency?.resource;
    if (its !== undefined && (its.suspend || its.drift === 'warn')) continue;
    if (dependency?.conditions.isTrue(until) && dependency.stalled === undefined) continue;
    const now = dependency?.conditions.get('Ready');
    throw new Waiting(
      'Dependency',
      `waits for ${ref} to be ${until}${now === undefined ? '' : ` (it is ${now.reason}: ${now.message})`}`,
      DEPENDENCY_AGAIN_MS,
    );
  }
}
