// Texts that manifests name by address and digest (Kind.downloads): fetched once, checked, and kept under their
// digest, so that what is rendered depends on the digest alone and the network is asked no second time. The
// directory may be filled by hand: a file whose name is its SHA-256 is as good as a download.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pRetry, { AbortError } from 'p-retry';
import { inWords } from '../../api/errors.ts';
import { sha256 } from '../../api/json.ts';
import { MAX_CONTENT_BYTES } from './snapshot.ts';

export interface Wanted {
  readonly url: string;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** A text, or why there is none, in words and without a place. */
export type Downloaded =
  | { readonly text: string }
  | {
      readonly problem: string;
      readonly severity: 'error' | 'warning';
      /** Whether the same manifest may fare better later. */
      readonly passing: boolean;
    };

export interface Downloads {
  /** Never throws: a failure is for the diagnostics. */
  get(wanted: Wanted): Promise<Downloaded>;
}

export interface DownloadOptions {
  readonly directory: string;
  /** Origins, and the base URLs that are asked in their place (a mirror, a test). */
  readonly mirrors?: ReadonlyMap<string, string>;
  /** How a download that can't be reached counts; a wrong digest is always an error. Default: error. */
  readonly unreachable?: 'error' | 'warning';
  /** All tries of one download together. Default 30,000. */
  readonly timeoutMs?: number;
  /** Before the second try; twice that before the third. Default 1,000. */
  readonly retryMs?: number;
  /** Cuts off what is under way. */
  readonly signal?: AbortSignal;
}

const TIMEOUT_MS = 30_000;
const RETRY_MS = 1_000;
const RETRIES = 2;

export class DownloadStore implements Downloads {
  readonly #options: DownloadOptions;
  readonly #underWay = new Map<string, Promise<Downloaded>>();

  constructor(options: DownloadOptions) {
    this.#options = options;
  }

  get(wanted: Wanted): Promise<Downloaded> {
    const key = `${wanted.sha256} ${wanted.url}`;
    let running = this.#underWay.get(key);
    if (running === undefined) {
      running = this.#get(wanted).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, running);
    }
    return running;
  }

  async #get(wanted: Wanted): Promise<Downloaded> {
    const kept = this.#read(wanted.sha256);
    if (kept !== undefined) return asText(wanted.url, kept);
    const from = this.#address(wanted.url);
    let bytes: Buffer;
    try {
      bytes = await this.#fetch(from);
    } catch (error) {
      return this.#unreachable(from, causeOf(error));
    }
    const found = sha256(bytes);
    if (found !== wanted.sha256) {
      const problem = `what ${from} gives has the sha256 ${found}, and another one is asked for: look at what came, and write this digest if it is what you want`;
      return { problem, severity: 'error', passing: false };
    }
    this.#write(found, bytes);
    return asText(wanted.url, bytes);
  }

  /** A fault that may pass is waited for a little; an answer that another try would get again is not. */
  #fetch(from: string): Promise<Buffer> {
    const { timeoutMs = TIMEOUT_MS, retryMs = RETRY_MS, signal: stop } = this.#options;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = stop === undefined ? deadline : AbortSignal.any([deadline, stop]);
    const attempt = async (): Promise<Buffer> => {
      const { status, bytes } = await fetchCapped(from, signal);
      if (status === 200) return bytes;
      const answered = new Error(`it answers ${status}`);
      throw status >= 500 || status === 408 || status === 429 ? answered : new AbortError(answered);
    };
    return pRetry(attempt, { retries: RETRIES, minTimeout: retryMs, factor: 2, signal });
  }

  #address(url: string): string {
    for (const [origin, base] of this.#options.mirrors ?? []) {
      if (url.startsWith(`${origin}/`)) return base.replace(/\/$/, '') + url.slice(origin.length);
    }
    return url;
  }

  #unreachable(from: string, why: string): Downloaded {
    const { directory, unreachable = 'error' } = this.#options;
    const problem = `${from} can't be fetched (${why}), and ${directory} has no copy of it yet: without a network, put the file there under its sha256 as its name`;
    return { problem, severity: unreachable, passing: true };
  }

  /** A copy that was damaged counts as none. */
  #read(digest: string): Buffer | undefined {
    try {
      const bytes = readFileSync(join(this.#options.directory, digest));
      return sha256(bytes) === digest ? bytes : undefined;
    } catch {
      return undefined;
    }
  }

  #write(digest: string, bytes: Buffer): void {
    const file = join(this.#options.directory, digest);
    const beside = `${file}.${process.pid}.new`;
    try {
      mkdirSync(this.#options.directory, { recursive: true });
      writeFileSync(beside, bytes);
      renameSync(beside, file);
    } catch {
      // Nowhere to keep it: it is fetched again next time.
      rmSync(beside, { force: true });
    }
  }
}

function asText(url: string, bytes: Buffer): Downloaded {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { problem: `what ${url} gives is not UTF-8 text`, severity: 'error', passing: false };
  }
}

/** @throws Error when no whole answer came in time, or one that is too large. */
async function fetchCapped(url: string, signal: AbortSignal): Promise<{ status: number; bytes: Buffer }> {
  // Loaded with the first download. Honours HTTPS_PROXY and NO_PROXY.
  const { EnvHttpProxyAgent, fetch } = await import('undici');
  const dispatcher = new EnvHttpProxyAgent();
  try {
    const response = await fetch(url, { dispatcher, signal });
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      if (size > MAX_CONTENT_BYTES)
        throw new AbortError(`it has more than ${MAX_CONTENT_BYTES / 1024 / 1024} MiB`);
      chunks.push(chunk);
    }
    return { status: response.status, bytes: Buffer.concat(chunks) };
  } finally {
    await dispatcher.destroy();
  }
}

/** undici's fetch says `fetch failed`, and why in the cause. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inWords(cause) || String(cause);
}

/**
 * `https://grafana.com=http://mirror.local/grafana`, several divided by commas.
 * @throws Error that says what is wrong.
 */
export function parseMirrors(text: string): Map<string, string> {
  const mirrors = new Map<string, string>();
  for (const part of text.split(',').map((p) => p.trim())) {
    if (part === '') continue;
    const match = /^(https?:\/\/[^/=]+)=(https?:\/\/\S+)$/.exec(part);
    if (match === null)
      throw new Error(
        `a mirror is ORIGIN=BASE, as in https://grafana.com=http://127.0.0.1:8000, not ${part}`,
      );
    mirrors.set(match[1]!, match[2]!);
  }
  return mirrors;
}
