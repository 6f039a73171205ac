// A change: New begins one, Resume goes on with one that was begun. Both end confirmed, on trial, or rolled back.
import type { Resource } from '../../api/bundle.ts';
import { Stalled, Waiting } from '../../api/errors.ts';
import { digestOf, type Json } from '../../api/json.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import { readVersioned } from '../../kinds/shared/versioned.ts';
import type { Entry, Intent, InventoryEntry, Snapshot } from '../journal/journal.ts';
import type { Written } from '../journal/records.ts';
import { requireDependencies } from './dependencies.ts';
import type { Decision } from './gate.ts';
import { withPolicy } from './leaving.ts';
import {
  AS_WRITTEN,
  judge,
  type Look,
  look,
  type OpenTrial,
  pendingResult,
  putIntoForce,
  readyReport,
  StillDiffers,
} from './look.ts';
import type { Pass, PassResult, ReconcilerDeps, Target } from './loop.ts';
import { oldPlace, openElsewhere } from './relocate.ts';
import { fallback } from './standing.ts';
import { undo } from './undo.ts';
import { newlyWritten, record } from './written.ts';

const FIRST_PARKED_MS = 1_000;
const LONGEST_PARKED_MS = 300_000;
/** What is applied and differs again at once, for as long: it does not stay. */
const STAYS_WITHIN_MS = 60_000;

/**
 * Dependencies, look, prepare, intent on disk; then as Resume. Over an open change it keeps that one's snapshot, since
 * that is the state to go back to.
 */
export async function begin(pass: Pass, target: Target, resource: Resource): Promise<PassResult> {
  const { deps, state } = pass;
  let opened: Look | undefined;
  try {
    opened = await open(pass, target, resource);
  } catch (error) {
    if (!(error instanceof Stalled || error instanceof Waiting)) throw error;
    if (error instanceof Stalled) park(pass, target.desired.digest, error);
    // What was begun before may be half done: it is rolled back first, or waits with this one.
    const intent = deps.journal.intent(state.key);
    if (intent === undefined) return await fallback(pass, error);
    if (error instanceof Stalled) return await undo(pass, intent);
    return { outcome: 'waiting', reports: [notYet(error)], requeueAfterMs: error.afterMs };
  }
  // Git moved on meanwhile. What it dropped before it was ever written has no record, and would stay for good.
  if (opened === undefined) return { outcome: 'waiting' };
  state.tried = state.parked;
  state.parked = undefined;
  return await carryOut(pass, opened);
}

/** Look, put into force what this process did not yet, and judge. */
export async function resume(pass: Pass, target: Target): Promise<PassResult> {
  return await carryOut(pass, await look(pass, target));
}

async function open(pass: Pass, target: Target, resource: Resource): Promise<Look | undefined> {
  const { deps, state, signal } = pass;
  const { world, ports } = deps;
  const { kind, desired } = target;
  if (!desired.heal) requireDependencies(world, resource);
  const seen = await look(pass, target);
  // What was confirmed here before needs no validation, and has to be possible when nothing else is.
  const prepared = desired.heal ? undefined : await kind.prepare(desired, seen.observed, ports, signal);
  const version = await versionOf(kind, target, pass);
  if (world.get(state.key)?.resource !== resource) return undefined;
  const fresh: Snapshot | undefined = prepared && {
    existed: prepared.existed,
    before: { version: kind.before.version, data: asJson(prepared.before) },
  };
  writeIntent(pass, seen, resource, fresh, version);
  state.inForce = undefined;
  return seen;
}

/** The entry, and the intent where there is something to write. @param fresh what prepare found, where it was asked. */
function writeIntent(
  pass: Pass,
  { target, changes }: Look,
  resource: Resource,
  fresh: Snapshot | undefined,
  version: string,
): void {
  const { deps, state } = pass;
  const { journal, world, ports } = deps;
  const { kind, desired } = target;
  const place = kind.place?.(desired.spec);
  const elsewhere = openElsewhere(journal, state.key, kind, place);
  if (elsewhere !== undefined) {
    journal.write(...elsewhere.entries);
    world.leave(elsewhere.key, ports.clock.monotonic());
    state.relocated.push(elsewhere.key);
  }
  const intent = journal.intent(state.key);
  const snapshot = intent?.snapshot ?? fresh;
  if (snapshot === undefined) return;
  const before = journal.entry(state.key);
  // Until this is confirmed, what came before it, or was begun before it, may still be there.
  const owns = [...new Set([...kind.owns(desired.spec), ...(before?.owns ?? [])])];
  const begun = before ?? { ...beginning(kind, snapshot), policy: resource.prune };
  const next: Intent = {
    digest: desired.digest,
    snapshot,
    phase: 'applying',
    ...(place === undefined ? {} : { place }),
    version,
    basis: basisOf(deps, kind, resource, desired.spec),
  };
  const writes = changes.length > 0 || intent !== undefined;
  const entry = withPolicy({ ...begun, owns }, resource);
  journal.write({ key: state.key, entry, ...(writes ? { intent: next } : {}) });
}

/** From a look at what is to be, to its confirmation, its trial, or its rollback. */
async function carryOut(pass: Pass, seen: Look): Promise<PassResult> {
  const { deps, state, item } = pass;
  const { journal, ports } = deps;
  const { desired } = seen.target;
  const intent = journal.intent(state.key);
  // Found as it should be: nothing was written, so there is nothing to put into force.
  if (intent === undefined) return await settle(pass, seen);
  // Nothing is written that could not be taken back; what was confirmed before never is.
  const before = desired.heal ? undefined : baseline(pass, seen.target.kind, intent);
  let now = seen;
  let written: Written | undefined;
  if (seen.changes.length > 0 || state.inForce?.digest !== desired.digest) {
    const since = state.inForce;
    // The snapshot must be on the disk before anything is written.
    await journal.flushed();
    await deps.turns.next();
    try {
      now = await putIntoForce(pass, seen, true);
    } catch (error) {
      const failure = refusalOf(error, since && ports.clock.monotonic() - since.atMs);
      if (failure === undefined || desired.heal) throw error;
      return await rollBack(pass, intent, failure);
    }
    state.lastHealSeconds = (ports.clock.monotonic() - item.wokenAt) / 1000;
    written = newlyWritten(pass, now);
  }
  return await settle(pass, now, written, { intent, before });
}

/**
 * @param written what is to be recorded in any case; with the confirmation, where that comes at once
 * @param trial the open change; undefined where nothing was written.
 */
async function settle(
  pass: Pass,
  seen: Look,
  written?: Written,
  trial?: OpenTrial & { readonly intent: Intent },
): Promise<PassResult> {
  // What was confirmed before is not on trial: it is in force again, and kept as it is from now on.
  if (seen.target.desired.heal) return confirmed(pass, seen, written);
  let decision: Decision | undefined;
  try {
    decision = judge(pass, seen, trial);
  } finally {
    if (written !== undefined && decision?.is !== 'Ready') record(pass, written);
  }
  switch (decision.is) {
    case 'Ready':
      return confirmed(pass, seen, written);
    case 'Pending':
      return pendingResult(decision);
    case 'Refused':
      return await rollBack(pass, trial!.intent, decision);
  }
}

function confirmed(pass: Pass, { target }: Look, written?: Written): PassResult {
  const { deps, state } = pass;
  const { journal, world, ports } = deps;
  const { kind, desired } = target;
  const snapshot = journal.intent(state.key)?.snapshot;
  state.tried = undefined;
  const { quarantined: _, ...entry } = journal.entry(state.key)!;
  const old = snapshot && oldPlace(journal, state.key, kind, desired.spec);
  journal.write(...(old === undefined ? [] : [old satisfies Entry]), {
    key: state.key,
    entry: {
      ...entry,
      ...(old === undefined ? {} : beginning(kind, snapshot!)),
      owns: [...kind.owns(desired.spec)],
      written: written ?? entry.written ?? { digest: desired.digest, atMs: 0 },
      confirmed: { digest: desired.digest, spec: desired.spec, atMs: ports.clock.now() },
    },
    intent: null,
  });
  if (old !== undefined) world.leave(old.key, ports.clock.monotonic());
  state.relocated.push(...world.relocatedFrom(state.key));
  // A revert goes on as Heal, which says whether it works; and what a kind kept for a rollback may go now.
  if (desired.heal) return { outcome: 'applied', reports: [AS_WRITTEN], requeueAfterMs: 0 };
  return {
    outcome: 'applied',
    reports: [AS_WRITTEN, readyReport('Applied')],
    ...(kind.gate === undefined ? {} : { requeueAfterMs: 0 }),
  };
}

/** Quarantine is on the disk before the first step back. */
async function rollBack(
  pass: Pass,
  intent: Intent,
  { reason, evidence }: { readonly reason: string; readonly evidence: string },
): Promise<PassResult> {
  const { deps, state } = pass;
  const { journal, ports, secrets } = deps;
  const failure = { reason, evidence: secrets.hide(evidence) };
  const { digest, version, basis } = intent;
  const undoing: Intent = { ...intent, phase: 'undoing', failure };
  // What is not granted is refused by the next look at the host, too, and may be granted later.
  const refused = { ...failure, digest, version, basis, atMs: ports.clock.now() };
  const isToBeAsked = reason === 'NotAllowed';
  if (isToBeAsked) park(pass, digest, new Stalled(reason, failure.evidence));
  const quarantine = isToBeAsked ? {} : { quarantined: refused };
  journal.write({
    key: state.key,
    entry: { ...journal.entry(state.key)!, ...quarantine },
    intent: undoing,
  });
  await journal.flushed();
  return await undo(pass, undoing);
}

function refusalOf(
  error: unknown,
  inForceMs: number | undefined,
): { readonly reason: string; readonly evidence: string } | undefined {
  if (error instanceof Stalled) return { reason: error.reason, evidence: error.message };
  if (!(error instanceof StillDiffers) || (inForceMs ?? 0) < STAYS_WITHIN_MS) return undefined;
  return { reason: 'DoesNotStay', evidence: error.message };
}

function park({ state, deps }: Pass, digest: string, error: Stalled): void {
  const before = state.parked ?? state.tried;
  const tries = before?.digest === digest ? before.tries + 1 : 0;
  const waitMs = Math.min(LONGEST_PARKED_MS, FIRST_PARKED_MS * 2 ** Math.min(tries, 20));
  const notBeforeMs = deps.ports.clock.monotonic() + waitMs;
  state.parked = { digest, error, notBeforeMs, tries, wasWoken: false };
}

/** What the gate compares with. A snapshot that can't be read is none to compare with, and still one to report. */
function baseline({ state }: Pass, kind: AnyKind, { snapshot }: Intent): unknown {
  return readVersioned(kind.before, snapshot.before, `the snapshot of ${state.key}`);
}

async function versionOf(kind: AnyKind, { desired }: Target, { deps, signal }: Pass): Promise<string> {
  return desired.heal ? '' : ((await kind.version?.(desired, deps.ports, signal)) ?? '');
}

/** Digest of what it depends on and restarts on, as it is written now. */
export function basisOf(
  { journal }: ReconcilerDeps,
  kind: AnyKind,
  resource: Resource,
  spec: Record<string, unknown>,
): string {
  const refs = new Set([...resource.dependsOn.map(({ ref }) => ref), ...(kind.inputs?.(spec) ?? [])]);
  return refs.size === 0
    ? ''
    : digestOf([...refs].sort().map((ref) => [ref, journal.entry(ref)?.written?.digest ?? '']));
}

/** Where what is held begins. */
function beginning(kind: AnyKind, snapshot: Snapshot): Pick<InventoryEntry, 'origin' | 'original'> {
  return { origin: snapshot.existed ? 'adopted' : 'created', original: { kind: kind.kind, snapshot } };
}

function asJson(value: unknown): Json {
  return JSON.parse(JSON.stringify(value));
}

function notYet({ reason, message }: Waiting) {
  return { type: 'Ready', status: 'False', reason, message } as const;
}
