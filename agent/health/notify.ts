// systemd's notification protocol (sd_notify(3)), through the systemd-notify program, since Node has no unix
// datagram sockets; the unit therefore needs NotifyAccess=all.
import type { Clock, Processes } from '../../kinds/ports.ts';

export interface Notifier {
  ready(): Promise<void>;
  stopping(): Promise<void>;
  stop(): void;
}

/** @param env of the process: NOTIFY_SOCKET, and WATCHDOG_USEC when the unit has WatchdogSec=. */
export function createNotifier(options: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly processes: Processes;
  readonly clock: Clock;
  /** Asked before each ping: a process that is not well must not say so. */
  readonly healthy: () => boolean;
}): Notifier {
  const { env, processes, clock, healthy } = options;
  const watchdogMs = Number(env['WATCHDOG_USEC'] ?? 0) / 1000;
  let timer: { cancel(): void } | undefined;

  async function notify(state: string): Promise<void> {
    if (env['NOTIFY_SOCKET'] === undefined) return;
    // A notification that is lost costs a restart by systemd at worst, and never the reconciling.
    await processes.run('systemd-notify', [state], { timeoutMs: 5000 }).catch(() => {});
  }
  function ping(): void {
    timer = clock.setTimeout(() => {
      if (healthy()) void notify('WATCHDOG=1');
      ping();
    }, watchdogMs / 3);
  }
  return {
    async ready() {
      await notify('READY=1');
      if (watchdogMs > 0) ping();
    },
    // Pings go on: what runs may take its time to end.
    stopping: () => notify('STOPPING=1'),
    stop: () => timer?.cancel(),
  };
}
