// Situations in which nothing new is begun: Heal keeps what was confirmed, Fallback keeps the last confirmed state
// while another one can't be had, Observe only looks.
import { Stalled, type Waiting } from '../../api/errors.ts';
import { describeChange } from '../../kinds/kind.ts';
import { AS_WRITTEN, judge, type Look, look, pendingResult, putIntoForce, readyReport } from './look.ts';
import type { Pass, PassResult, Report, Target } from './loop.ts';
import { recordWritten } from './written.ts';

const CONTENTION_AGAIN_MS = 30_000;

/** Look; heal what differs, no faster than its limit; assess. */
export async function heal(pass: Pass, target: Target): Promise<PassResult> {
  const { state, deps, item } = pass;
  const { clock } = deps.ports;
  const seen = await look(pass, target);
  if (seen.changes.length === 0) {
    recordWritten(pass, seen);
    return standing(pass, seen, 'InSync');
  }
  const waitMs = state.healLimit.take(clock.monotonic());
  if (waitMs > 0) return contended(pass, waitMs);
  const now = await putIntoForce(pass, seen);
  recordWritten(pass, now);
  const seconds = (clock.monotonic() - item.wokenAt) / 1000;
  state.lastHealSeconds = seconds;
  return {
    ...standing(pass, now, 'Healed'),
    outcome: 'healed',
    detected: seenBy(pass),
    healed: { seconds, what: seen.changes.map(describeChange).join('; ') },
  };
}

/** What git asks for can't be had: say why, and keep up what was confirmed. */
export async function fallback(pass: Pass, trouble: Stalled | Waiting): Promise<PassResult> {
  const parked = parkedResult(pass, trouble);
  const target = pass.targets.confirmed(pass.state);
  if (target === undefined) return parked;
  const kept = await heal(pass, target);
  const requeueAfterMs = soonest(parked.requeueAfterMs, kept.requeueAfterMs);
  const result = { ...kept, ...parked, ...(requeueAfterMs === undefined ? {} : { requeueAfterMs }) };
  const unwell = kept.reports?.find(({ type, status }) => type === 'Ready' && status === 'False');
  if (unwell === undefined) return result;
  const message = `${trouble.message}; and what is kept up meanwhile does not work: ${unwell.reason}: ${unwell.message}`;
  const reports = parked.reports!.map((report) =>
    report.type === 'Ready' ? { ...report, message } : report,
  );
  return { ...result, reports };
}

/** Look and assess; touch nothing. */
export async function observe(pass: Pass, target: Target, why: string): Promise<PassResult> {
  const { state } = pass;
  const seen = await look(pass, target);
  if (seen.changes.length === 0) {
    const result = standing(pass, seen, 'InSync');
    const applied: Report = { ...AS_WRITTEN, reason: 'Observed', message: 'as the manifest says' };
    const refused = refusedHere(pass, target, why);
    const reports = result.reports!.map((r) =>
      r.type === 'Applied' ? applied : r.status === 'True' ? (refused ?? r) : r,
    );
    return { ...result, reports };
  }
  const wasSeen = state.conditions.get('Ready')?.reason === 'Drifted';
  const message = `${state.drift.join('; ')} (nothing is touched: ${why})`;
  return {
    outcome: 'drifted',
    reports: [
      { type: 'Applied', status: 'False', reason: 'Drifted', message: why },
      { type: 'Ready', status: 'False', reason: 'Drifted', message },
    ],
    ...(wasSeen ? {} : { detected: seenBy(pass) }),
  };
}

/** What was refused stays so, also where it is in force, looks well, and nothing may be done about it. */
function refusedHere({ state, deps }: Pass, { desired }: Target, why: string): Report | undefined {
  const quarantined = deps.journal.entry(state.key)?.quarantined;
  if (quarantined?.digest !== desired.digest) return undefined;
  const { reason, evidence } = quarantined;
  const message = `it is in force, and was refused here: ${reason}: ${evidence} (nothing is touched: ${why})`;
  return { type: 'Ready', status: 'False', reason: 'RolledBack', message };
}

/** Nothing differs: whether it is Ready. */
function standing(pass: Pass, seen: Look, reason: 'InSync' | 'Healed'): PassResult {
  const { state, deps } = pass;
  const decision = judge(pass, seen);
  // Only a change on trial is refused.
  if (decision.is === 'Refused') throw new Error('what is not on trial was refused');
  if (decision.is === 'Pending') return pendingResult(decision);
  const ready: PassResult = { outcome: 'in_sync', reports: [AS_WRITTEN, readyReport(reason)] };
  if (reason === 'Healed') return ready;
  if (state.healLimit.quiet(deps.ports.clock.monotonic())) {
    const message = 'nothing else changes it any more';
    return { ...ready, clear: ['Contended'], event: { type: 'Normal', reason: 'ContentionOver', message } };
  }
  return state.healLimit.contended ? { ...ready, requeueAfterMs: CONTENTION_AGAIN_MS } : ready;
}

function contended({ state }: Pass, waitMs: number): PassResult {
  const seconds = Math.ceil(waitMs / 1000);
  const message = `it was healed again and again, and differs again: ${state.drift.join('; ')}; another program changes it, or what heals it does not last; next in ${seconds} s`;
  return {
    outcome: 'waiting',
    reports: (['Contended', 'Ready'] as const).map((type) => ({
      type,
      status: type === 'Ready' ? 'False' : 'True',
      reason: 'Contended',
      message,
    })),
    requeueAfterMs: waitMs,
  };
}

/** Why what git asks for isn't tried. */
export function parkedResult({ state, deps }: Pass, trouble: Stalled | Waiting): PassResult {
  const { reason, message } = trouble;
  const ready: Report = { type: 'Ready', status: 'False', reason, message };
  if (!(trouble instanceof Stalled))
    return { outcome: 'waiting', reports: [ready], requeueAfterMs: trouble.afterMs };
  const isNew = deps.journal.entry(state.key)?.confirmed === undefined;
  const applied: Report = { type: 'Applied', status: 'False', reason, message };
  const notBeforeMs = state.parked?.error === trouble ? state.parked.notBeforeMs : 0;
  const waitMs = notBeforeMs - deps.ports.clock.monotonic();
  return {
    outcome: reason === 'RolledBack' ? 'rolled_back' : 'stalled',
    reports: isNew || !state.conditions.isTrue('Applied') ? [applied, ready] : [ready],
    // An event came that may have lifted it, sooner than it is tried again.
    ...(trouble.liftedBy === 'host' && waitMs > 0 && state.parked?.wasWoken === true
      ? { requeueAfterMs: waitMs }
      : {}),
  };
}

function seenBy({ item }: Pass): 'watch' | 'resync' {
  return item.causes.has('watch') ? 'watch' : 'resync';
}

function soonest(a: PassResult['requeueAfterMs'], b: PassResult['requeueAfterMs']) {
  if (typeof a === 'number' && typeof b === 'number') return Math.min(a, b);
  return a ?? b;
}
