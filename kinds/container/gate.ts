// Whether a container that was started stays, and what its own healthcheck says.
import { type Container, describeContainer, inspect } from '../docker-engine.ts';
import type { Desired, Verdict } from '../kind.ts';
import type { Ports } from '../ports.ts';
import type { ContainerSpec } from './schema.ts';

type Io = Pick<Ports, 'docker' | 'clock'>;

/** A program that can't read its configuration ends within this, as a rule. */
const SETTLE_MS = 3_000;
/** Longer healthchecks are asked again by the loop, which an event of the engine hastens. */
const HEALTH_WAIT_MS = 10_000;
const POLL_MS = 250;
const LAST_LINES = 15;
const YES: Verdict = { verdict: 'Yes' };

/** Yes when it has run for some seconds without being started again. */
export async function settle(
  d: Desired<ContainerSpec>,
  id: string,
  io: Io,
  signal: AbortSignal,
): Promise<Verdict> {
  const deadline = io.clock.monotonic() + SETTLE_MS;
  let first: Container | undefined;
  for (;;) {
    const now = await inspect(io.docker, id, signal);
    if (now === undefined) {
      return { verdict: 'No', reason: 'Gone', evidence: `somebody removed the container ${d.spec.name}` };
    }
    first ??= now;
    if (!now.State.Running || now.State.Restarting || now.RestartCount > first.RestartCount) {
      // The engine may have started it again before it was looked at, and then no longer tells the exit code.
      const reason = now.RestartCount > first.RestartCount ? 'EndsAtOnce' : 'NotRunning';
      return { verdict: 'No', reason, evidence: await evidence(d, now, io, signal) };
    }
    if (now.State.Health?.Status === 'healthy' || io.clock.monotonic() >= deadline) return YES;
    await io.clock.sleep(POLL_MS, signal);
  }
}

/** What its healthcheck says; Yes without one. */
export async function healthy(
  d: Desired<ContainerSpec>,
  id: string,
  io: Io,
  signal: AbortSignal,
): Promise<Verdict> {
  const deadline = io.clock.monotonic() + HEALTH_WAIT_MS;
  for (;;) {
    const now = await inspect(io.docker, id, signal);
    if (now === undefined || !now.State.Running || now.State.Restarting) {
      const words = now === undefined ? 'it is gone' : await evidence(d, now, io, signal);
      return { verdict: 'No', reason: 'NotRunning', evidence: words };
    }
    switch (now.State.Health?.Status) {
      case undefined:
      case 'none':
      case 'healthy':
        return YES;
      case 'unhealthy':
        return { verdict: 'No', reason: 'Unhealthy', evidence: healthText(now) };
    }
    if (io.clock.monotonic() >= deadline) {
      return {
        verdict: 'Unknown',
        reason: 'HealthStarting',
        evidence: 'its healthcheck has not answered yet',
      };
    }
    await io.clock.sleep(POLL_MS, signal);
  }
}

/** How it ended, and what it said last. */
export async function evidence(
  d: Desired<ContainerSpec>,
  container: Container,
  { docker }: Pick<Io, 'docker'>,
  signal: AbortSignal,
): Promise<string> {
  const logs = await docker.logs(container.Id, LAST_LINES, signal).catch(() => '');
  const state = `${d.spec.name} is ${describeContainer(container)}`;
  const again = container.RestartCount > 0 ? `, started again ${container.RestartCount} times` : '';
  const said = logs.trim() === '' ? 'it wrote nothing' : `its last lines:\n${logs.trim()}`;
  return `${state}${again}; ${said}`;
}

/** What the healthcheck wrote last. */
export function healthText({ State }: Container): string {
  const last = State.Health?.Log?.at(-1);
  const wrote = last?.Output.trim();
  return `its healthcheck ends with exit code ${last?.ExitCode ?? '?'}${wrote ? `: ${wrote}` : ''}`;
}
