// A repository elsewhere, as far as it is needed: the newest commit of one branch, fetched into a git directory of our
// own. It is a cache: what is damaged is fetched anew beside it and takes its place.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import pRetry, { AbortError } from 'p-retry';
import { didYouMean } from '../../api/diagnostics.ts';
import { sha256 } from '../../api/json.ts';
import type { Clock } from '../../kinds/ports.ts';
import {
  askRemote,
  type Environment,
  Git,
  GitError,
  type GitRun,
  makeGitDir,
  withoutSecrets,
} from './git.ts';
import { SourceError } from './snapshot.ts';

export interface MirrorOptions {
  readonly repo: string;
  readonly branch: string | undefined;
  readonly stateDir: string;
  /** Between two tries of one look. Default 1,000, then twice that. */
  readonly retryMs?: number;
}

export interface MirrorPorts {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly environment: Environment;
  readonly signal: AbortSignal;
}

export const MIRRORED = 'refs/homeostat/head';

const ASK_MS = 60_000;
/** A large repository takes its time; one that sends nothing does not. */
const FETCH_MS = 3600_000;
const QUIET_MS = 120_000;
const RETRIES = 2;
/** How soon a mirror may be made anew again: doubled each time that it did not help. */
const REBUILD_MS = 60_000;
const MAX_REBUILD_MS = 3600_000;

/** No other try mends these. */
const LASTING =
  /not found|does not exist|not allowed|not supported|Authentication failed|could not read Username|Permission denied|Host key verification|does not appear to be|certificate/i;

export class Mirror {
  readonly #options: MirrorOptions;
  readonly #ports: MirrorPorts;
  readonly #gitDir: string;
  #git: Git | undefined;
  /** Commit that the mirror has. */
  #has: string | undefined;
  #damage: string | undefined;
  #rebuilds = 0;
  #rebuildAt = Number.NEGATIVE_INFINITY;
  #shallow = true;

  constructor(options: MirrorOptions, ports: MirrorPorts) {
    this.#options = options;
    this.#ports = ports;
    const name = sha256(options.repo).slice(0, 12);
    this.#gitDir = join(resolve(options.stateDir), `mirror-${name}.git`);
  }

  /** What was read there is not as git wrote it; the next look makes it anew. */
  suspect(why: string): void {
    this.#damage = why;
  }

  get isSuspect(): boolean {
    return this.#damage !== undefined;
  }

  /** Brings the branch's newest commit here. @throws SourceError */
  async fetch(): Promise<Git> {
    const tip = await this.#ask();
    if (this.#git !== undefined && this.#has === tip && this.#damage === undefined) return this.#git;
    if (this.#damage !== undefined) {
      const waitMs = this.#waitMs();
      if (waitMs <= 0) return this.#anew(tip);
      const where = withoutSecrets(this.#options.repo);
      const when = `it is fetched anew in ${Math.ceil(waitMs / 1000)} s`;
      throw new SourceError(`the mirror of ${where} is damaged (${this.#damage}): ${when}`);
    }
    const existed = existsSync(join(this.#gitDir, 'HEAD'));
    try {
      const git = await this.#into(this.#gitDir, tip);
      this.#rebuilds = 0;
      return git;
    } catch (error) {
      if (!existed) rmSync(this.#gitDir, { recursive: true, force: true });
      // The other end answered a moment ago, so that what is wrong may be here.
      if (!existed || !isOurs(error) || this.#waitMs() > 0) throw error;
      return this.#anew(tip);
    }
  }

  #waitMs(): number {
    return this.#rebuildAt - this.#ports.clock.monotonic();
  }

  /** Beside the old one, which stays if the other end is gone after all. */
  async #anew(tip: string): Promise<Git> {
    this.#rebuildAt =
      this.#ports.clock.monotonic() + Math.min(MAX_REBUILD_MS, REBUILD_MS * 2 ** this.#rebuilds);
    this.#rebuilds += 1;
    const fresh = `${this.#gitDir}.new`;
    rmSync(fresh, { recursive: true, force: true });
    try {
      await this.#into(fresh, tip);
      rmSync(this.#gitDir, { recursive: true, force: true });
      renameSync(fresh, this.#gitDir);
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
    this.#damage = undefined;
    this.#git = new Git(this.#gitDir, this.#ports.environment);
    return this.#git;
  }

  async #into(gitDir: string, tip: string): Promise<Git> {
    makeGitDir(gitDir, tip.length === 64 ? { objectFormat: 'sha256' } : {});
    for (const name of ['objects', 'refs']) mkdirSync(join(gitDir, name), { recursive: true, mode: 0o700 });
    removeLeftovers(gitDir);
    const git = new Git(gitDir, this.#ports.environment);
    await this.#patiently(() => this.#fetchInto(git));
    const { signal } = this.#ports;
    const has = (await git.run(['rev-parse', '--verify', `${MIRRORED}^{commit}`], { signal }))
      .toString()
      .trim();
    // Every tree and blob of the commit is there, or what is wrong shows here and not while publishing.
    await git.run(['rev-list', '--objects', '--quiet', '-n', '1', has], { signal, timeoutMs: FETCH_MS });
    // Tidies now and then; that it can't is no reason to have no commit.
    await git.run(['gc', '--auto', '--quiet'], { signal, timeoutMs: FETCH_MS }).catch(() => undefined);
    this.#git = git;
    this.#has = has;
    return git;
  }

  async #fetchInto(git: Git): Promise<void> {
    const { repo, branch } = this.#options;
    const fetch = (depth: readonly string[]): Promise<Buffer> => {
      const options = ['--progress', '--no-tags', '--no-write-fetch-head', '--no-auto-maintenance', ...depth];
      const refspec = `+${refOf(branch)}:${MIRRORED}`;
      return git.run(['fetch', ...options, '--end-of-options', repo, refspec], {
        way: 'contact',
        signal: this.#ports.signal,
        timeoutMs: FETCH_MS,
        quietMs: QUIET_MS,
      });
    };
    try {
      await fetch(this.#shallow ? ['--depth=1'] : []);
    } catch (error) {
      // A server of plain files (git-update-server-info(1)) has the whole history or nothing.
      if (!this.#shallow || !/does not support shallow/.test(String(error))) throw error;
      this.#shallow = false;
      await fetch([]);
    }
  }

  /** The commit that the branch points at there. */
  async #ask(): Promise<string> {
    const { repo, branch, stateDir } = this.#options;
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const ref = refOf(branch);
    const out = await this.#patiently(() =>
      this.#remote(['ls-remote', '--quiet', '--end-of-options', repo, ref]),
    );
    const line = out.split('\n').find((l) => l.endsWith(`\t${ref}`));
    const tip = /^[0-9a-f]{40,64}/.exec(line ?? '')?.[0];
    if (tip !== undefined) return tip;
    const heads = await this.#patiently(() =>
      this.#remote(['ls-remote', '--quiet', '--heads', '--end-of-options', repo]),
    );
    throw noBranch(
      repo,
      branch,
      [...heads.matchAll(/\trefs\/heads\/(.+)/g)].map((m) => m[1]!),
    );
  }

  async #remote(args: readonly string[]): Promise<string> {
    const options: GitRun = { signal: this.#ports.signal, timeoutMs: ASK_MS };
    const out = await askRemote(args, resolve(this.#options.stateDir), this.#ports.environment, options);
    return out.toString('utf8');
  }

  #patiently<T>(work: () => Promise<T>): Promise<T> {
    const { retryMs = 1000 } = this.#options;
    const attempt = async (): Promise<T> => {
      try {
        return await work();
      } catch (error) {
        if (error instanceof GitError && (error.how !== 'ended' || LASTING.test(error.message)))
          throw new AbortError(error);
        throw error;
      }
    };
    return pRetry(attempt, {
      retries: RETRIES,
      minTimeout: retryMs,
      factor: 2,
      signal: this.#ports.signal,
    });
  }
}

function refOf(branch: string | undefined): string {
  return branch === undefined ? 'HEAD' : `refs/heads/${branch}`;
}

/** What a git that was killed leaves behind. The mirror has no other user. */
function removeLeftovers(gitDir: string): void {
  for (const name of readdirSync(gitDir, { recursive: true, encoding: 'utf8' })) {
    if (/\.lock$|(?:^|\/)tmp_[^/]*$|^gc\.pid$/.test(name))
      rmSync(join(gitDir, name), { recursive: true, force: true });
  }
}

/** Whether git ended by itself and complains of something that another fetch into an empty directory may not have. */
function isOurs(error: unknown): boolean {
  return error instanceof GitError && error.how === 'ended' && !LASTING.test(error.message);
}

export function noBranch(repo: string, branch: string | undefined, branches: readonly string[]): SourceError {
  const where = withoutSecrets(repo);
  if (branch === undefined || branches.length === 0)
    return new SourceError(`${where} has no commit yet: commit the manifests`);
  const near = didYouMean(branch, branches);
  const hint = near === undefined ? `it has ${branches.slice(0, 5).join(', ')}` : `did you mean ${near}?`;
  return new SourceError(`${where} has no branch ${branch}: ${hint}`);
}
