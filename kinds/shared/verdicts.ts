// What kinds say of what they observed. Pure.
import type { Trial, Verdict } from '../kind.ts';

export const YES: Verdict = { verdict: 'Yes' };

export function no(reason: string, evidence: string, againMs?: number): Verdict {
  return { verdict: 'No', reason, evidence, ...(againMs === undefined ? {} : { againMs }) };
}

export function unknown(reason: string, evidence: string, againMs?: number): Verdict {
  return { verdict: 'Unknown', reason, evidence, ...(againMs === undefined ? {} : { againMs }) };
}

/**
 * A No that may pass: Unknown while a change on trial may still need its time, No after that, and No for what is not
 * on trial.
 * @param withinMs how long a change may take, milliseconds.
 */
export function notYet(
  trial: Trial<unknown> | undefined,
  withinMs: number,
  reason: string,
  evidence: string,
): Verdict {
  return trial !== undefined && trial.elapsedMs < withinMs ? unknown(reason, evidence) : no(reason, evidence);
}
