// Looking at a target, getting it into force, and judging what is there: the steps that the situations share.
import { Stalled } from '../../api/errors.ts';
import { type Change, describeChange, type Verdict } from '../../kinds/kind.ts';
import { requireGranted } from './allow.ts';
import { type Decision, decide, NO_GATE, seenYes } from './gate.ts';
import type { Pass, PassResult, Report, Target } from './loop.ts';

export interface Look {
  readonly target: Target;
  readonly observed: unknown;
  readonly changes: readonly Change[];
}

/** A change on trial, as the kind's own schema read it. */
export interface OpenTrial {
  readonly before: unknown;
}

/**
 * Observes and compares; writes nothing. What was not confirmed here before is judged first: what is compared is read.
 * @throws what the kind throws, Stalled('NotAllowed')
 */
export async function look(pass: Pass, target: Target): Promise<Look> {
  const { deps, state, signal } = pass;
  const { kind, desired } = target;
  if (!desired.heal) await requireResolved(pass, target);
  const observed = await kind.observe(desired, deps.ports, signal);
  const changes = kind.diff(desired, observed);
  const { hide } = deps.secrets;
  state.concerns = (kind.conditions?.(desired, observed) ?? []).map((concern) => ({
    ...concern,
    message: hide(concern.message),
  }));
  state.drift = changes.map((change) => hide(describeChange(change)));
  return { target, observed, changes };
}

/**
 * Judges what the target would touch on this host as it is now. @throws Stalled('NotAllowed') that names what is missing
 */
export async function requireResolved(
  { deps, signal }: Pick<Pass, 'deps' | 'signal'>,
  { kind, desired }: Target,
): Promise<void> {
  if (kind.resolve === undefined) return;
  requireGranted(await kind.resolve(desired, deps.ports, signal), deps);
}

/**
 * Applies, remembers what the kind wants remembered, and looks again: what still differs was not applied.
 * @param waited something was waited for since the look
 * @throws what the kind throws, Error for what still differs
 */
export async function putIntoForce(
  pass: Pass,
  { target, changes, observed }: Look,
  waited = false,
): Promise<Look> {
  const { state, deps, signal } = pass;
  const { kind, desired } = target;
  const { journal, ports } = deps;
  state.yes = undefined;
  state.looks = 0;
  try {
    await requireResolved(pass, target);
  } catch (error) {
    if (error instanceof Stalled && error.reason === 'NotAllowed')
      await kind.contain?.(desired, ports, signal);
    throw error;
  }
  const memory = await kind.apply(changes, desired, ports, signal, waited ? undefined : observed);
  const entry = journal.entry(state.key);
  if (memory !== undefined && kind.memory !== undefined && entry !== undefined) {
    const stored = { version: kind.memory.version, data: JSON.parse(JSON.stringify(memory)) };
    if (JSON.stringify(stored) !== JSON.stringify(entry.memory))
      journal.write({ key: state.key, entry: { ...entry, memory: stored } });
  }
  const applied = memory === undefined ? target : { ...target, desired: { ...desired, memory } };
  const now = await look(pass, applied);
  if (now.changes.length > 0) throw new StillDiffers(now.changes);
  state.inForce = { digest: desired.digest, atMs: ports.clock.monotonic() };
  return now;
}

/** The kind says that it applied, and there still is a difference. */
export class StillDiffers extends Error {
  override readonly name = 'StillDiffers';
  constructor(changes: readonly Change[]) {
    super(`it still differs after it was applied: ${changes.map(describeChange).join('; ')}`);
  }
}

/** Asks the kind whether what it observed works, and the gate whether that counts. */
export function judge({ state, deps }: Pass, { target, observed }: Look, trial?: OpenTrial): Decision {
  const { kind, desired } = target;
  const nowMs = deps.ports.clock.monotonic();
  const elapsedMs = state.inForce === undefined ? 0 : nowMs - state.inForce.atMs;
  const verdict: Verdict = kind.assess(desired, observed, trial && { before: trial.before, elapsedMs });
  const isFirst = state.looks === undefined && trial === undefined;
  state.yes = seenYes(verdict, state.yes, nowMs, isFirst);
  const decision = decide({
    verdict,
    gate: kind.gate?.(desired.spec) ?? NO_GATE,
    yes: state.yes,
    looks: state.looks ?? 0,
    nowMs,
    trialMs: trial === undefined ? undefined : elapsedMs,
  });
  state.looks = decision.is === 'Ready' ? 0 : (state.looks ?? 0) + 1;
  return decision;
}

export const AS_WRITTEN: Report = {
  type: 'Applied',
  status: 'True',
  reason: 'Applied',
  message: 'written and in force',
};

/** @param reason InSync, Healed or Applied. */
export function readyReport(reason: string): Report {
  return { type: 'Ready', status: 'True', reason, message: 'as the manifest says, and it works' };
}

/** As it should be, and it does not work, or not yet, or it can't be seen. */
export function pendingResult(decision: Extract<Decision, { is: 'Pending' }>): PassResult {
  const { ready, reason, message, againMs } = decision;
  return {
    outcome: ready === 'False' ? 'degraded' : 'unconfirmed',
    reports: [AS_WRITTEN, { type: 'Ready', status: ready, reason, message }],
    requeueAfterMs: againMs,
  };
}
