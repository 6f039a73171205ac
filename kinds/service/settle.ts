// Whether a service that was just started stays: one that ends within a second was not started at all, and the
// start job of a simple service is done before anybody can know.
import type { Verdict } from '../kind.ts';
import type { Clock, UnitState, Units } from '../ports.ts';
import { describeState, isOver, isRunning } from './state.ts';

const SETTLE_MS = 1_000;

/** To be asked when a start succeeded. */
export async function settle(
  unit: string,
  units: Units,
  clock: Clock,
  signal: AbortSignal,
): Promise<Verdict> {
  const first = await units.show(unit, signal);
  if (isOver(first)) return { verdict: 'Yes' };
  if (!isRunning(first)) return notRunning(unit, first);
  const age = first.startedAtMs === 0 ? 0 : clock.now() - first.startedAtMs;
  const restMs = Math.min(SETTLE_MS, SETTLE_MS - age);
  if (restMs <= 0) return { verdict: 'Yes' };
  const now = await lastState(unit, first, restMs, units, clock, signal);
  if (isOver(now)) return { verdict: 'Yes' };
  if (!isRunning(now)) return notRunning(unit, now);
  if (now.invocationID === first.invocationID) return { verdict: 'Yes' };
  return {
    verdict: 'No',
    reason: 'DiesAtStart',
    evidence: `${unit} was started again within a second; see journalctl -u ${unit}`,
  };
}

/** The state after restMs, or as soon as it is another one than a running first. */
async function lastState(
  unit: string,
  first: UnitState,
  restMs: number,
  units: Units,
  clock: Clock,
  signal: AbortSignal,
): Promise<UnitState> {
  const ending = new AbortController();
  const either = AbortSignal.any([signal, ending.signal]);
  const { promise: changed, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    units.show(unit, either).then(
      (now) => {
        if (!isRunning(now) || now.invocationID !== first.invocationID) resolve();
      },
      () => undefined, // the last look below tells
    );
  };
  const watching = units.watch(unit, look, either).catch(() => undefined);
  try {
    await Promise.race([changed, clock.sleep(restMs, either)]);
  } finally {
    ending.abort();
    await watching;
  }
  return await units.show(unit, signal);
}

function notRunning(unit: string, state: UnitState): Verdict {
  return {
    verdict: 'No',
    reason: 'NotRunning',
    evidence: `${unit} is ${describeState(state)}; see journalctl -u ${unit}`,
  };
}
