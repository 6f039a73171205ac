// What SIGTERM and SIGINT mean to a program that ends in order: the first begins the end, every further one is
// reported and changes nothing. SIGQUIT and SIGKILL are there for whoever can't wait.

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

/**
 * The handlers stay for good. While a program runs, execa (signal-exit) listens to the same signals, and takes the
 * process down when nobody else does: a handler that is gone after the first signal would mean just that.
 */
export function onStopSignal(first: (signal: StopSignal) => void, again: (signal: StopSignal) => void): void {
  let asked = false;
  const handle = (signal: StopSignal): void => {
    if (asked) again(signal);
    else {
      asked = true;
      first(signal);
    }
  };
  for (const name of STOP_SIGNALS) process.on(name, () => handle(name));
}
