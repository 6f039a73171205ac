// How Prometheus is made to read its config anew.
import { Waiting } from '../../api/errors.ts';
import { inspect } from '../docker-engine.ts';
import type { HttpResponse } from '../ports.ts';
import { type Io, isUnreached, oddAnswer, type Reached, saidBy, send } from './connection.ts';
import { ask } from './server.ts';
import { afterSignal, noteSignal } from './signalled.ts';

const TIMEOUT_MS = 30_000;
const AGAIN_MS = 30_000;
const SIGNALLED_POLL_MS = 100;
const RELOAD = '/-/reload';
const SIGNAL_IT = 'name its unit or container here, which is then signalled';

/**
 * Reloads by HTTP, else by SIGHUP through the unit or the container, which is not waited for: signalled.ts.
 * @returns why it refuses, if it says so
 * @throws Waiting('CannotReload') where it can't be told to
 */
export async function reload(server: Reached, io: Io, signal: AbortSignal): Promise<string | undefined> {
  const { unit, container = null } = server;
  const answer = await send(server, RELOAD, io, signal, { method: 'POST', timeoutMs: TIMEOUT_MS });
  if (isUnreached(answer)) {
    if (answer.state === 'silent') return undefined; // not running: it reads the file when it starts
  } else {
    if (answer.status === 200) return undefined;
    // Prometheus's own words (web/web.go); others answer 500, too.
    if (answer.status === 500 && answer.body.startsWith('failed to reload config')) return answer.body.trim();
  }
  if (unit !== null || container !== null) return await reloadBySignal(server, io, signal);
  const words = isUnreached(answer) ? answer.words : whyNotReloaded(server, answer);
  throw new Waiting('CannotReload', words, AGAIN_MS);
}

export const cannotReload = (address: string): string =>
  `Prometheus at ${address} does not reload over HTTP: ${SIGNAL_IT}; --web.enable-lifecycle would let everybody who reaches it end it`;

function whyNotReloaded(server: Reached, answer: HttpResponse): string {
  const { status, body } = answer;
  if (status === 403 && /lifecycle api is not enabled/i.test(body)) return cannotReload(server.address);
  if (status === 401 || status >= 502) return oddAnswer(server, RELOAD, answer).words;
  const remedy = 'let what stands before Prometheus pass a POST on to it, or';
  return `${saidBy(server, RELOAD, answer)} to a POST, and nothing was reloaded: ${remedy} ${SIGNAL_IT}`;
}

async function reloadBySignal(server: Reached, io: Io, signal: AbortSignal): Promise<undefined> {
  const before = await ask(server, io, signal);
  if (server.container) await hangUp(server.container, io, signal);
  else await io.units.run('reload', server.unit!, signal);
  noteSignal(server, io, before);
}

/** For an undo, which no gate follows: until it is known what came of it. @returns why it refuses, if it does */
export async function reloadToTheEnd(
  server: Reached,
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
