// Pulls of images that go on while passes come and go: a pull may take longer than a pass, and one that is cut off
// begins its layers again.
import type { HttpResponse, PullState, RegistryAccount } from '../../kinds/ports.ts';
import { after, Ending, firstOf, onAbort } from './waits.ts';

/** A POST that is answered by one JSON value a line. @throws Error when nothing came for idleMs. */
export type Stream = (
  path: string,
  options: {
    query: Readonly<Record<string, string>>;
    headers: Readonly<Record<string, string>>;
    idleMs: number;
    onLine: (value: Readonly<Record<string, unknown>>) => void;
  },
) => Promise<HttpResponse>;

interface Pull {
  readonly ended: Ending<PullState>;
  progress: string;
}

/** Unpacking a large layer on a slow disk is silent for a while. */
const IDLE_MS = 300_000;
/** What engines say of images that a registry does not have, or does not give (distribution's error codes). */
const NO_SUCH =
  /manifest unknown|not found|access denied|denied: requested|name unknown|unauthorized|authentication required|no basic auth/i;

export function createPulls(stream: Stream) {
  const pulls = new Map<string, Pull>();

  function begin(key: string, reference: string, account: RegistryAccount | undefined): Pull {
    const layers = new Map<string, { current: number; total: number }>();
    let why: string | undefined;
    const run = async (): Promise<PullState> => {
      const response = await stream('/images/create', {
        query: { fromImage: reference, ...(/[:@][^/]+$/.test(reference) ? {} : { tag: 'latest' }) },
        headers: account === undefined ? {} : { 'x-registry-auth': authOf(account) },
        idleMs: IDLE_MS,
        onLine(line) {
          if (typeof line['error'] === 'string') why = line['error'];
          pull.progress = progressOf(line, layers) ?? pull.progress;
        },
      });
      if (response.status !== 200) why = messageOf(response);
      if (why === undefined) return { state: 'done' };
      // Some engines pass a registry's refusal on as their own failure, with status 500.
      const final = [400, 401, 403, 404].includes(response.status) || NO_SUCH.test(why);
      return { state: 'failed', why, final };
    };
    const pull: Pull = {
      progress: 'asking the registry',
      ended: new Ending(),
    };
    // The pull is complete before its first line comes.
    Promise.resolve()
      .then(run)
      .catch((error: Error): PullState => ({ state: 'failed', why: error.message, final: false }))
      .then((end) => pull.ended.end(end));
    pulls.set(key, pull);
    return pull;
  }

  return {
    async pull(
      reference: string,
      { waitMs, signal, account }: { waitMs: number; signal: AbortSignal; account?: RegistryAccount },
    ): Promise<PullState> {
      signal.throwIfAborted();
      // One that nobody was named for, or with another password, may be about to be refused.
      const key = account === undefined ? reference : `${reference} ${authOf(account)}`;
      const pull = pulls.get(key) ?? begin(key, reference, account);
      await firstOf<void>(
        (resolve) => pull.ended.on(() => resolve()),
        (resolve) => after(waitMs, resolve),
        (_, reject) => onAbort(signal, reject),
      );
      const end = pull.ended.value;
      if (end === undefined) return { state: 'pulling', progress: pull.progress };
      pulls.delete(key);
      return end;
    },
  };
}

/** As the engine takes it: base64 of RFC 4648, section 5, with its padding; anything else it ignores without a word. */
function authOf({ registry, username, password }: RegistryAccount): string {
  const text = JSON.stringify({ username, password, serveraddress: registry });
  return Buffer.from(text).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

/** In words, over all layers that the engine has told of; undefined for lines that say nothing about it. */
function progressOf(
  line: Readonly<Record<string, unknown>>,
  layers: Map<string, { current: number; total: number }>,
): string | undefined {
  const { id, status, progressDetail } = line;
  const { current, total } = (progressDetail ?? {}) as { current?: number; total?: number };
  if (typeof id !== 'string' || typeof current !== 'number') {
    return layers.size === 0 && typeof status === 'string' ? status : undefined;
  }
  // Layers that are there after all are unpacked, which counts from 0 again.
  if (status === 'Downloading' && typeof total === 'number') layers.set(id, { current, total });
  if (status === 'Extracting') return `unpacking ${layers.size} layers`;
  const [have, of] = [...layers.values()].reduce(
    ([h, o], layer) => [h + layer.current, o + layer.total],
    [0, 0],
  );
  const mib = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);
  return `${mib(have)} of ${mib(of)} MiB in ${layers.size} layers so far`;
}

function messageOf({ status, body }: HttpResponse): string {
  try {
    return (JSON.parse(body) as { message: string }).message;
  } catch {
    return `the engine answers ${status}: ${body.trim().slice(0, 300)}`;
  }
}
