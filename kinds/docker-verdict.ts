// Whether a container works, by what its engine shows of it alone: so it is seen again after a restart of the agent.
// Pure, but for reading what it wrote. Shared by the kinds that keep containers.
//
// Facts of moby 20.10 to 28: the engine counts its own starts (RestartCount), and counts anew after a `docker start`, a
// `docker restart` and its own restart. While it waits to start one again, Running is true as well as Restarting. One
// with restart `always` or `unless-stopped` is `exited` only when somebody stopped it.
import type { Container } from './docker-engine.ts';
import type { Verdict } from './kind.ts';
import type { Docker } from './ports.ts';
import { no, unknown } from './shared/verdicts.ts';

/** For as long a new container must run to be confirmed. */
export const SETTLE_MS = 10_000;
/** A run that ends within this is a crash. For as long one that nobody else starts is left as it ended. */
const SHORT_MS = 60_000;
const LOG_LINES = 200;
const LOG_HEAD = 600;
const LOG_TAIL = 1200;
/** 128 and SIGINT, SIGKILL, SIGTERM: somebody else ended it. */
const ENDED_BY_SIGNAL = [130, 137, 143];

export interface Seen {
  /** What people call it. */
  readonly name: string;
  readonly container: Container;
  readonly nowMs: number;
  /** What it wrote last; '' where it was not read. */
  readonly log: string;
}

/** @param trial how often the engine had started this very container before the change that is on trial. */
export function verdictOf(seen: Seen, trial?: { readonly restarts: number }): Verdict {
  const { name, container, nowMs } = seen;
  const { State, RestartCount } = container;
  const isTrial = trial !== undefined;
  const message = (what: string) => `${name} ${what}${said(seen.log)}`;
  if (State.Restarting) {
    const what = `ended with ${exitOf(container)}, and the engine has started it again ${times(RestartCount)}`;
    return no('CrashLoop', message(what));
  }
  if (!State.Running) {
    const waits = backoffMs(container, nowMs);
    if (waits === 0) return no('NotRunning', message(`is ${State.Status}, with ${exitOf(container)}`));
    const lived = Math.max(0, endOf(container) - startOf(container));
    const what = `ended with ${exitOf(container)}, ${seconds(lived)} after its start`;
    if (isTrial) return no('Exited', message(what));
    return no('CrashLoop', message(`${what}; it is started again in ${seconds(waits)}`), waits);
  }
  if (State.Paused) return no('Paused', `${name} is paused`);
  const ageMs = Math.max(0, nowMs - startOf(container));
  if (RestartCount > (trial?.restarts ?? 0) && (isTrial || ageMs < SHORT_MS)) {
    const what = `ended, and the engine has started it again ${times(RestartCount)}, last ${seconds(ageMs)} ago`;
    return no('CrashLoop', message(what), Math.max(0, SHORT_MS - ageMs));
  }
  if (RestartCount > 0 && ageMs < SHORT_MS) {
    // It was so before this change, and may be better now.
    const what = `was started again by the engine ${times(RestartCount)}, last ${seconds(ageMs)} ago`;
    return unknown('CrashLoop', message(what), SHORT_MS - ageMs);
  }
  switch (State.Health?.Status) {
    case 'unhealthy':
      // So the engine has it after a pause, until the healthcheck is asked again.
      if (State.Health.Log?.at(-1)?.ExitCode === 0) return starting(name);
      return no('Unhealthy', message(`is unhealthy: ${healthText(container)}`));
    case 'starting':
      return starting(name);
    default:
      return { verdict: 'Yes', run: { id: `${container.Id} ${State.StartedAt}`, ageMs } };
  }
}

const starting = (name: string): Verdict =>
  unknown('HealthStarting', `the healthcheck of ${name} has not answered yet`);

/** What is worth reading where it is not well: how it began, and how it ended. */
export async function logOf(
  seen: Omit<Seen, 'log'>,
  docker: Docker,
  secrets: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  if (verdictOf({ ...seen, log: '' }).verdict !== 'No') return '';
  const log = await docker.logs(seen.container.Id, LOG_LINES, signal).catch(() => '');
  const shown = secrets
    .filter((secret) => secret !== '')
    .reduce((text, secret) => text.replaceAll(secret, '[secret]'), log);
  const text = shown.trim();
  if (text.length <= LOG_HEAD + LOG_TAIL) return text;
  return `${text.slice(0, LOG_HEAD)}\n[…]\n${text.slice(-LOG_TAIL)}`;
}

/**
 * How long one that ended by itself short after its start, and that the engine does not start again, is left as it is;
 * 0 for one that may be started at once.
 */
export function backoffMs(container: Container, nowMs: number): number {
  const { State, HostConfig } = container;
  if (State.Status !== 'exited' || endOf(container) - startOf(container) >= SHORT_MS) return 0;
  if (ENDED_BY_SIGNAL.includes(State.ExitCode) && !State.OOMKilled) return 0;
  const { Name, MaximumRetryCount } = HostConfig.RestartPolicy;
  const isEngines = Name === 'on-failure' && State.ExitCode !== 0 && !MaximumRetryCount;
  if (isEngines || Name === 'always' || Name === 'unless-stopped') return 0;
  return Math.min(SHORT_MS, Math.max(0, endOf(container) + SHORT_MS - nowMs));
}

const startOf = ({ State }: Container): number => Date.parse(State.StartedAt);
const endOf = ({ State }: Container): number => Date.parse(State.FinishedAt);

function exitOf({ State }: Container): string {
  const { ExitCode, OOMKilled, Error: why } = State;
  return `exit code ${ExitCode}${OOMKilled ? ' (out of memory)' : ''}${why === '' ? '' : ` (${why})`}`;
}

/** What the healthcheck wrote last. */
function healthText({ State }: Container): string {
  const last = State.Health?.Log?.at(-1);
  const wrote = last?.Output.trim().slice(0, 500);
  return `its healthcheck ends with exit code ${last?.ExitCode ?? '?'}${wrote ? `: ${wrote}` : ''}`;
}

const said = (log: string): string => (log === '' ? '' : `; it wrote:\n${log}`);
const times = (count: number): string => (count === 1 ? 'once' : `${count} times`);
const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;
