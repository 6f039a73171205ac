// Whether what was brought up works: it runs and goes on running, and is healthy where it can tell.
import type { Concern, Desired, Snapshot, Verdict } from '../kind.ts';
import type { Io } from './compose.ts';
import { type Container, containersOf } from './containers.ts';
import { type Observed, secretVariables } from './observe.ts';
import type { ComposeProjectSpec } from './schema.ts';
import type { Before } from './undo.ts';

/** For as long it has to run; what exits does so at once, as a rule. */
const SETTLE_MS = 2_000;
const GATE_MS = 20_000;
const POLL_MS = 250;

export async function confirm(
  d: Desired<ComposeProjectSpec>,
  snapshot: Snapshot | undefined,
  io: Io,
  signal: AbortSignal,
): Promise<Verdict> {
  // A heal brings nothing new; conditions tell how the services are.
  if (snapshot === undefined) return { verdict: 'Yes' };
  const before = snapshot.data as unknown as Before;
  const names = new Set([...Object.keys(d.spec.services ?? {}), ...Object.keys(d.spec.extend ?? {})]);
  const began = io.clock.monotonic();
  /** When each container was first seen running as it is now. */
  const since = new Map<string, number>();
  for (;;) {
    const containers = await containersOf(before.project, names, io, signal);
    const now = io.clock.monotonic();
    let pending = '';
    for (const container of containers) {
      const trouble = troubleOf(container, before);
      if (trouble !== undefined) return failed(d, container, trouble, io, signal);
      const seen = `${container.id} ${container.startedAt}`;
      if (!since.has(seen)) since.set(seen, now);
      if (container.health === 'starting') pending = `${container.service} is starting`;
      else if (now - since.get(seen)! < SETTLE_MS) pending ||= `${container.service} was just started`;
    }
    const missing = [...names].find((name) => !containers.some((c) => c.service === name));
    if (missing !== undefined) pending = `${missing} has no container`;
    if (pending === '') return { verdict: 'Yes' };
    if (now - began > GATE_MS) return { verdict: 'Unknown', reason: 'NotYetHealthy', evidence: pending };
    await io.clock.sleep(POLL_MS, signal);
  }
}

function troubleOf(c: Container, before: Before): { reason: string; words: string } | undefined {
  const { service, state, health, exitCode, restarts } = c;
  if (state === 'restarting' || restarts > (before.restarts[c.id] ?? 0)) {
    const words = `${service} ended with exit code ${exitCode} and is restarted again and again`;
    return { reason: 'Restarting', words };
  }
  // It was so before we came.
  if (before.unwell.includes(service)) return undefined;
  if (state === 'exited' || state === 'dead') {
    return { reason: 'Exited', words: `${service} ended with exit code ${exitCode}` };
  }
  return health === 'unhealthy' ? { reason: 'Unhealthy', words: `${service} is unhealthy` } : undefined;
}

/** With what the container said last, since that is what people would look for; without its secrets. */
async function failed(
  d: Desired<ComposeProjectSpec>,
  container: Container,
  { reason, words }: { reason: string; words: string },
  io: Io,
  signal: AbortSignal,
): Promise<Verdict> {
  const log = await io.docker.logs(container.id, 3, signal).catch(() => '');
  const secrets = secretVariables(d, container.service).map(([, value]) => value);
  const shown = secrets.reduce(
    (text, secret) => (secret === '' ? text : text.replaceAll(secret, '[secret]')),
    log,
  );
  const said = shown
    .trim()
    .replace(/\s*\n\s*/g, ' | ')
    .slice(-400);
  return { verdict: 'No', reason, evidence: said === '' ? words : `${words}; it said last: ${said}` };
}

export function conditionsOf(_d: Desired<ComposeProjectSpec>, { containers }: Observed): Concern[] {
  const type = 'ServicesHealthy';
  const bad = containers.filter(({ state, health }) => state === 'restarting' || health === 'unhealthy');
  if (bad.length === 0) {
    return [
      { type, status: 'True', reason: 'Healthy', message: 'no service restarts or says it is unhealthy' },
    ];
  }
  const words = bad.map(
    ({ service, state, health }) => `${service} is ${health === 'unhealthy' ? health : state}`,
  );
  return [{ type, status: 'False', reason: 'Unhealthy', message: words.join(', ') }];
}
