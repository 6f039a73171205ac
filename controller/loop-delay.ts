// How long the event loop stood still: whoever asked meanwhile waited as long.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from '../kinds/ports.ts';

/** What is measured is a timer of so many milliseconds, and how much later than that it comes. */
const RESOLUTION_MS = 10;
const EVERY_MS = 10_000;

/** @param longest of each ten seconds, seconds. @returns what ends it. */
export function watchLoop(clock: Pick<Clock, 'setTimeout'>, longest: (seconds: number) => void): () => void {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  let timer: { cancel(): void };
  const look = (): void => {
    longest(Math.max(0, histogram.max / 1e6 - RESOLUTION_MS) / 1000);
    histogram.reset();
    timer = clock.setTimeout(look, EVERY_MS);
  };
  timer = clock.setTimeout(look, EVERY_MS);
  return () => {
    timer.cancel();
    histogram.disable();
  };
}
