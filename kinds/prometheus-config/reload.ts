// How Prometheus is made to read its config anew.
import { inspect } from '../docker-engine.ts';
import type { HttpResponse } from '../ports.ts';
import { ask, type Io, type Server } from './server.ts';
import { afterSignal, noteSignal } from './signalled.ts';

const TIMEOUT_MS = 30_000;
const SIGNALLED_POLL_MS = 100;

/**
 * Reloads by HTTP, else by SIGHUP through the unit or the container, which is not waited for: signalled.ts.
 * @returns why it refuses, if it says so
 */
export async function reload(server: Server, io: Io, signal: AbortSignal): Promise<string | undefined> {
  const { address, unit, container = null } = server;
  let answer: HttpResponse;
  try {
    const options = { method: 'POST', timeoutMs: TIMEOUT_MS, signal };
    answer = await io.http.request(`http://${address}/-/reload`, options);
  } catch {
    signal.throwIfAborted();
    return undefined; // not running: it reads the file when it starts
  }
  if (answer.status === 200) return undefined;
  if (answer.status === 500) return answer.body.trim();
  if (unit !== null || container !== null) return await reloadBySignal(server, io, signal);
  throw new Error(`it answers ${answer.status} to a reload: ${cannotReload(address)}`);
}

export const cannotReload = (address: string): string =>
  `Prometheus at ${address} does not reload over HTTP: name its unit or container here, which is then signalled; --web.enable-lifecycle would let everybody who reaches it end it`;

async function reloadBySignal(server: Server, io: Io, signal: AbortSignal): Promise<undefined> {
  const before = await ask(server, io, signal);
  if (server.container) await hangUp(server.container, io, signal);
  else await io.units.run('reload', server.unit!, signal);
  noteSignal(server, io, before);
}

/** For an undo, which no gate follows: until it is known what came of it. @returns why it refuses, if it does */
export async function reloadToTheEnd(
  server: Server,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  const refused = await reload(server, io, signal);
  if (refused !== undefined) return refused;
  for (;;) {
    const verdict = afterSignal(server, io, await ask(server, io, signal));
    if (verdict === undefined || verdict.verdict === 'Yes') return undefined;
    if (verdict.verdict === 'No') return verdict.reason === 'ReloadRefused' ? verdict.evidence : undefined;
    await io.clock.sleep(SIGNALLED_POLL_MS, signal);
  }
}

/** Engine API, ContainerKill. */
async function hangUp(container: string, { docker }: Io, signal: AbortSignal): Promise<void> {
  // By its whole name: the engine would take the beginning of another one's ID for it.
  const found = await inspect(docker, container, signal);
  if (found === undefined) throw new Error(`there is no container ${container} to be sent SIGHUP`);
  const path = `/containers/${found.Id}/kill`;
  const { status, body } = await docker.request('POST', path, {
    query: { signal: 'HUP' },
    timeoutMs: TIMEOUT_MS,
    signal,
  });
  if (status !== 204)
    throw new Error(`container ${container} can't be sent SIGHUP (${status}): ${body.trim()}`);
}
