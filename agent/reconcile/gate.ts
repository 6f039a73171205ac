// Whether what was assessed counts: as Ready, as not yet, or as a change that is refused. Pure. This is the only gate:
// kinds say what they see, the loop asks again and decides.
import type { Gate, Verdict } from '../../kinds/kind.ts';

/** Since when Yes has been seen without a break. */
export interface YesSeen {
  /** On the clock's monotonic scale. */
  readonly sinceMs: number;
  readonly run: string | undefined;
}

export type Decision =
  | { readonly is: 'Ready' }
  | {
      readonly is: 'Pending';
      readonly ready: 'False' | 'Unknown';
      readonly reason: string;
      readonly message: string;
      readonly againMs: number;
    }
  | { readonly is: 'Refused'; readonly reason: string; readonly evidence: string };

export interface Question {
  readonly verdict: Verdict;
  readonly gate: Gate;
  /** As `seenYes` gives it for this verdict. */
  readonly yes: YesSeen | undefined;
  /** How often in a row it was looked at without being Ready. */
  readonly looks: number;
  /** On the clock's monotonic scale. */
  readonly nowMs: number;
  /** Of a change that can be rolled back: since when it is in force, milliseconds. */
  readonly trialMs: number | undefined;
}

export const NO_GATE: Gate = { withinMs: 0, settleMs: 0 };
const TRIAL_AGAIN_MS = 250;
const FIRST_AGAIN_MS = 1_000;
const LONGEST_AGAIN_MS = 60_000;
const SHORTEST_AGAIN_MS = 20;

/**
 * @param isFirst nothing was looked at, and nothing put into force, since the agent started: what is well then is taken
 *   to have been so.
 */
export function seenYes(
  verdict: Verdict,
  before: YesSeen | undefined,
  nowMs: number,
  isFirst: boolean,
): YesSeen | undefined {
  if (verdict.verdict !== 'Yes') return undefined;
  const run = verdict.run?.id;
  if (before !== undefined && before.run === run) return before;
  return { sinceMs: isFirst ? Number.NEGATIVE_INFINITY : nowMs, run };
}

export function decide(question: Question): Decision {
  const { verdict, gate, yes, looks, nowMs, trialMs } = question;
  if (verdict.verdict === 'Yes') {
    const seenMs = yes === undefined ? 0 : nowMs - yes.sinceMs;
    // A run is as old as the host says, whoever looked at it, and since when.
    const lastedMs = Math.max(
      verdict.run?.ageMs ?? 0,
      verdict.run !== undefined && seenMs === Infinity ? 0 : seenMs,
    );
    if (lastedMs >= gate.settleMs) return { is: 'Ready' };
    const seconds = Math.ceil(gate.settleMs / 1000);
    return {
      is: 'Pending',
      ready: 'Unknown',
      reason: 'Settling',
      message: `it works, and counts when it has worked for ${seconds} s`,
      againMs: Math.max(SHORTEST_AGAIN_MS, gate.settleMs - lastedMs),
    };
  }
  const { reason, evidence } = verdict;
  const isNo = verdict.verdict === 'No';
  const isOnTrial = trialMs !== undefined && verdict.keep !== true;
  if (isNo && isOnTrial) return { is: 'Refused', reason, evidence };
  const isInTime = isOnTrial && trialMs <= gate.withinMs;
  const againMs = isInTime
    ? TRIAL_AGAIN_MS
    : Math.min(LONGEST_AGAIN_MS, FIRST_AGAIN_MS * 2 ** Math.min(looks, 10));
  const overdue =
    isOnTrial && !isInTime ? ` (not confirmed, ${Math.round(trialMs / 1000)} s after the change)` : '';
  return {
    is: 'Pending',
    ready: isNo ? 'False' : 'Unknown',
    reason,
    message: `${evidence}${overdue}`,
    againMs: Math.max(SHORTEST_AGAIN_MS, verdict.againMs ?? againMs),
  };
}
