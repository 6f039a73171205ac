// What the agent currently wants and knows, key by key: the assigned payload beside each resource's state in
// memory. Everything that must survive a crash is in the journal instead.

import { isDeepStrictEqual } from 'node:util';
import type * as z from 'zod';
import { keyOf, type Payload, type Resource } from '../../api/bundle.ts';
import type { Stalled } from '../../api/errors.ts';
import { digestOf, sha256 } from '../../api/json.ts';
import type { Condition, ResourceStatus } from '../../api/status.ts';
import type { AnyKind, Claim, Concern } from '../../kinds/kind.ts';
import type { InventoryEntry, Journal } from '../journal/journal.ts';
import { ConditionSet } from './conditions.ts';
import type { YesSeen } from './gate.ts';
import { handOver } from './handover.ts';
import { DEFAULT_HEAL_RATE, HealLimit } from './heal-limit.ts';
import { staysBecause, withPolicy } from './leaving.ts';

export interface ResourceState {
  readonly key: string;
  /** Undefined once the resource left the payload and only its inventory record is left to be dealt with. */
  resource: Resource | undefined;
  /** The parsed spec, for as long as the resource is the same object. */
  parsed:
    | { readonly from: Resource; readonly spec: Record<string, unknown>; readonly digest?: string }
    | undefined;
  /** What the last pass that ended was about; undefined before the first. */
  passed: Resource | undefined;
  desiredDigest: string;
  /** A desired state that could not even be begun, and why. */
  parked: Parked | undefined;
  /** The last of them that was begun after all, so that one that is refused again and again is tried more seldom. */
  tried: Parked | undefined;
  /** What this process itself put into force last, and when (monotonic milliseconds); after a restart nobody knows. */
  inForce: { readonly digest: string; readonly atMs: number } | undefined;
  yes: YesSeen | undefined;
  /** How often in a row it was looked at without being Ready; undefined before the first look. */
  looks: number | undefined;
  /** Something new was written, or rolled back, for those that restart on it. */
  wroteNew: boolean;
  /** Keys under which what it left in other places is undone, to be looked at. */
  readonly relocated: string[];
  /** Whether stale temporary files of a killed agent were looked for. */
  cleaned: boolean;
  readonly conditions: ConditionSet;
  concerns: readonly Concern[];
  drift: string[];
  healedTotal: number;
  lastHealSeconds: number | undefined;
  readonly healLimit: HealLimit;
}

/** Why what git asks for isn't tried, until what its reason names changes. */
interface Parked {
  readonly digest: string;
  readonly error: Stalled;
  /** An event on the host tries it again from then on, where that can lift it; monotonic milliseconds. */
  readonly notBeforeMs: number;
  readonly tries: number;
  /** An event came that may have lifted it, too early. */
  readonly wasWoken: boolean;
}

export interface Assignment {
  readonly sequence: number;
  readonly commit: string;
  readonly payload: Payload;
}

/** Removals that were held back because they are too many at once. */
export interface HeldBackRemovals {
  readonly digest: string;
  readonly keys: readonly string[];
}

export class World {
  readonly #kinds: ReadonlyMap<string, AnyKind>;
  readonly #journal: Journal;
  readonly #states = new Map<string, ResourceState>();
  /** Keys of what leaves an old place (relocate.ts): a few at most, of perhaps thousands of states. */
  readonly #relocated = new Set<string>();
  readonly #dependents = new Map<string, Set<string>>();
  /** Each read once, for all who ask. */
  readonly #specs = new WeakMap<Resource, z.ZodSafeParseResult<Record<string, unknown>>>();
  assignment: Assignment | undefined;
  heldBack: HeldBackRemovals | undefined;

  constructor(kinds: ReadonlyMap<string, AnyKind>, journal: Journal) {
    this.#kinds = kinds;
    this.#journal = journal;
  }

  get(key: string): ResourceState | undefined {
    return this.#states.get(key);
  }

  states(): ResourceState[] {
    return [...this.#states.values()];
  }

  /** Keys that wait for this one or restart on it. */
  dependentsOf(key: string): ReadonlySet<string> {
    return this.#dependents.get(key) ?? new Set();
  }

  kindOf(key: string): AnyKind | undefined {
    return this.#kinds.get(key.slice(0, key.indexOf('/')));
  }

  /** A spec as its kind reads it; undefined for a kind that this agent does not know. */
  specOf(resource: Resource): z.ZodSafeParseResult<Record<string, unknown>> | undefined {
    let parsed = this.#specs.get(resource);
    if (parsed === undefined) {
      parsed = this.#kinds.get(resource.kind)?.spec.safeParse(resource.spec);
      if (parsed !== undefined) this.#specs.set(resource, parsed);
    }
    return parsed;
  }

  /**
   * Takes over a payload: states for what is new, nothing lost for what stays, and for what left the payload a
   * state without resource. @returns the keys to be worked on, dependencies before those that wait for them.
   */
  assign(assignment: Assignment, nowMonotonic: number, { handOver = true } = {}): string[] {
    this.assignment = assignment;
    const { host, resources } = assignment.payload;
    const wanted = new Map(host.decommission ? [] : resources.map((r) => [keyOf(r), r]));
    if (handOver) this.#handOver(wanted);
    for (const [key, resource] of wanted) {
      this.#ensure(key, nowMonotonic).resource = resource;
      const entry = this.#journal.entry(key);
      const isNews = entry?.policy !== resource.prune || entry.scope !== resource.scope;
      if (handOver && entry !== undefined && isNews)
        this.#journal.write({ key, entry: withPolicy(entry, resource) });
    }
    const leaving = this.#journal.keys().filter((key) => !wanted.has(key));
    for (const key of leaving) this.leave(key, nowMonotonic);
    for (const key of this.#states.keys()) {
      if (!wanted.has(key) && !leaving.includes(key)) this.#drop(key);
    }
    this.#indexDependents(wanted);
    const guarded = leaving.filter((key) => this.#isGuarded(key, host));
    this.heldBack = heldBackRemovals(guarded, wanted.size, host, this.#journal);
    return [...inDependencyOrder(wanted), ...leaving];
  }

  /** There is a record of it, and the manifest asks for nothing of it. */
  leave(key: string, nowMonotonic: number): void {
    this.#ensure(key, nowMonotonic).resource = undefined;
  }

  /** It was removed; unless git has come to ask for it again meanwhile. */
  forget(key: string): void {
    const state = this.#states.get(key);
    if (state?.resource === undefined) this.#drop(key);
    else state.inForce = undefined;
  }

  /** Keys under which what a document kept in other places leaves. */
  relocatedFrom(document: string): string[] {
    return [...this.#relocated].filter((key) => key.startsWith(`${document}~`));
  }

  #drop(key: string): void {
    this.#states.delete(key);
    this.#relocated.delete(key);
  }

  #ensure(key: string, now: number): ResourceState {
    let state = this.#states.get(key);
    if (state === undefined) {
      state = {
        key,
        resource: undefined,
        parsed: undefined,
        passed: undefined,
        desiredDigest: '',
        parked: undefined,
        tried: undefined,
        inForce: undefined,
        yes: undefined,
        looks: undefined,
        wroteNew: false,
        relocated: [],
        cleaned: false,
        conditions: new ConditionSet(),
        concerns: [],
        drift: [],
        healedTotal: 0,
        lastHealSeconds: undefined,
        healLimit: new HealLimit(this.kindOf(key)?.healLimit ?? DEFAULT_HEAL_RATE, now),
      };
      this.#states.set(key, state);
      if (key.includes('~')) this.#relocated.add(key);
    }
    return state;
  }

  /** Whether its removal counts: what stays as it is, and what may leave freely, does not. */
  #isGuarded(key: string, host: Payload['host']): boolean {
    const entry = this.#journal.entry(key);
    if (entry === undefined || entry.policy === 'freely') return false;
    const kinds = [this.kindOf(key), this.#kinds.get(entry.original.kind)];
    return staysBecause(key, entry, kinds, host) === undefined;
  }

  #handOver(wanted: ReadonlyMap<string, Resource>): void {
    const held = new Map(this.#journal.keys().map((key) => [key, this.#journal.entry(key)!]));
    const asked = new Map(
      [...wanted].map(([key, resource]) => {
        const kind = this.#kinds.get(resource.kind);
        return [key, { claims: this.#claimsOf(resource), hasPlace: kind?.place !== undefined }];
      }),
    );
    const entries = handOver(held, asked);
    if (entries.length > 0) this.#journal.write(...entries);
  }

  #claimsOf(resource: Resource): readonly Claim[] {
    const parsed = this.specOf(resource);
    return parsed?.success ? this.#kinds.get(resource.kind)!.owns(parsed.data) : [];
  }

  #indexDependents(wanted: ReadonlyMap<string, Resource>): void {
    this.#dependents.clear();
    for (const [key, resource] of wanted) {
      const kind = this.#kinds.get(resource.kind);
      const parsed = kind?.inputs === undefined ? undefined : this.specOf(resource);
      const inputs = parsed?.success ? kind!.inputs!(parsed.data) : [];
      for (const ref of [...resource.dependsOn.map((d) => d.ref), ...inputs]) {
        let dependents = this.#dependents.get(ref);
        if (dependents === undefined) {
          dependents = new Set();
          this.#dependents.set(ref, dependents);
        }
        dependents.add(key);
      }
    }
  }
}

/** More than max(3, 20 %) of removals at once wait until git names their digest, or the host is decommissioned. */
function heldBackRemovals(
  leaving: readonly string[],
  staying: number,
  host: Payload['host'],
  journal: Journal,
): HeldBackRemovals | undefined {
  if (host.decommission || leaving.length <= Math.max(3, 0.2 * (leaving.length + staying))) return undefined;
  const keys = [...leaving].sort();
  // With when each was confirmed, so that a word that was left in git approves no later accident.
  const what = keys.map((key) => `${key} ${journal.entry(key)?.confirmed?.atMs ?? 0}`);
  const digest = sha256(what.join('\n')).slice(0, 12);
  return host.confirmRemovals.includes(digest) ? undefined : { digest, keys };
}

/** Depth-first; the controller has refused cycles, so a cycle here only costs the order. */
function inDependencyOrder(wanted: ReadonlyMap<string, Resource>): string[] {
  const order = new Set<string>();
  const visiting = new Set<string>();
  const visit = (key: string): void => {
    const resource = wanted.get(key);
    if (resource === undefined || order.has(key) || visiting.has(key)) return;
    visiting.add(key);
    for (const { ref } of resource.dependsOn) visit(ref);
    order.add(key);
  };
  for (const key of wanted.keys()) visit(key);
  return [...order];
}

/** Digest of a desired state: the spec, and what its secrets are just now. */
export function desiredDigest(kind: string, spec: unknown, secretHmacs: readonly string[]): string {
  return digestOf(secretHmacs.length === 0 ? { kind, spec } : { kind, spec, secretHmacs });
}

/** Whether git asks for something else than at the last pass; where it only stands may differ. */
export function isBehind({ resource, passed }: ResourceState): boolean {
  if (resource === passed || passed === undefined) return false;
  const asked = (r: Resource | undefined) => r && { ...r, source: '' };
  return !isDeepStrictEqual(asked(resource), asked(passed));
}

/** Since a moment ago: how long it was well before is no matter. */
const DOUBT = { status: 'Unknown', reason: 'Reconciling', lastTransitionTime: '' } as const;

/** What was well is not known of another state that git asks for meanwhile, or while a difference is put back. */
function inDoubt(state: ResourceState, condition: Condition): Condition {
  if (condition.status !== 'True' || !['Ready', 'Applied'].includes(condition.type)) return condition;
  if (isBehind(state)) {
    const message = 'git asks for another state by now, which is yet to be looked at';
    return { ...condition, ...DOUBT, message };
  }
  if (condition.type === 'Applied' || state.drift.length === 0) return condition;
  const message = `it differs, and is being put back: ${state.drift.join('; ')}`;
  return { ...condition, ...DOUBT, message };
}

/** A resource's state as it is reported. */
export function resourceStatus(state: ResourceState, entry: InventoryEntry | undefined): ResourceStatus {
  return {
    key: state.key,
    conditions: [
      ...state.conditions.list().map((condition) => inDoubt(state, condition)),
      ...state.concerns.map((concern) => ({ ...concern, lastTransitionTime: '' })),
    ],
    desiredDigest: state.desiredDigest,
    runningDigest: entry?.confirmed?.digest ?? '',
    drift: state.drift,
    ...(state.lastHealSeconds === undefined ? {} : { lastHealSeconds: state.lastHealSeconds }),
    healedTotal: state.healedTotal,
    source: state.resource?.source ?? '',
  };
}
