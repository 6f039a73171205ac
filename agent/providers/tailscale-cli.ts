// The `tailscale` program, for hosts whose tailscaled has no socket we could use. It can't tell us when something
// changes, so its watch looks every 30 seconds.

import { errnoOf, Waiting } from '../../api/errors.ts';
import { canonical } from '../../api/json.ts';
import type { Clock, Processes, Tailscale } from '../../kinds/ports.ts';
import { statusOf } from './tailscale-status.ts';

const TIMEOUT_MS = 15_000;
const POLL_MS = 30_000;

/** `tailscale set` flags by preference; what is not here can't be set without the LocalAPI. */
const FLAGS: Readonly<Record<string, string>> = {
  RunWebClient: 'webclient',
  Hostname: 'hostname',
  PostureChecking: 'report-posture',
};

export function createTailscaleCli(processes: Processes, clock: Clock, program: string): Tailscale {
  async function run(args: readonly string[], signal?: AbortSignal): Promise<string> {
    try {
      const result = await processes.run(program, args, {
        timeoutMs: TIMEOUT_MS,
        ...(signal === undefined ? {} : { signal }),
      });
      if (result.exitCode === 0) return result.stdout;
      throw new Error(`tailscale ${args.join(' ')} failed: ${result.stderr.trim() || result.stdout.trim()}`);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw new Waiting(
        'NoTailscale',
        `tailscaled has no socket here, and there is no program ${program}; install Tailscale`,
        60_000,
      );
    }
  }

  /** `tailscale status` exits 1 when it is logged out or stopped, and prints its JSON all the same. */
  const read = async (args: readonly string[], signal?: AbortSignal) =>
    JSON.parse(await run(args, signal)) as Record<string, unknown>;

  const cli: Tailscale = {
    prefs: (signal) => read(['debug', 'prefs'], signal),

    async setPrefs(prefs, signal) {
      await run(['set', ...setArguments(prefs)], signal);
    },

    async status(signal) {
      return statusOf(await read(['status', '--json', '--peers=false'], signal));
    },

    async watch(wake, signal) {
      let last: string | undefined;
      while (!signal.aborted) {
        const status = await cli.status(signal);
        const now = canonical([
          await cli.prefs(signal),
          status.backendState,
          status.addresses,
          status.keyExpiry,
        ]);
        if (now !== last) wake();
        last = now;
        await clock.sleep(POLL_MS, signal).catch(() => undefined);
      }
    },
  };
  return cli;
}

/** @throws Error for a preference that `tailscale set` has no flag for. */
export function setArguments(prefs: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(prefs).map(([name, value]) => {
    const flag = FLAGS[name];
    if (flag === undefined)
      throw new Error(`the tailscale program can't set ${name}; it needs tailscaled's socket`);
    return `--${flag}=${String(value)}`;
  });
}
