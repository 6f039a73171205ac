// Follows a branch of a git repository. A repository on this machine is watched, so that a commit is seen at
// once; one elsewhere is mirrored in the state directory and fetched every 30 s, or when a hook says so. What it
// reports is the branch's commit, or in words why there is none: the last good revision then keeps serving.

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inWords } from '../../api/errors.ts';
import type { Clock } from '../../kinds/ports.ts';
import { type Environment, type Git, GitError, withoutSecrets } from './git.ts';
import { type OpenSnapshot, openSnapshot } from './git-snapshot.ts';
import {
  checkBranch,
  findLocalRepository,
  headOf,
  type LocalRepository,
  openWindow,
} from './local-repository.ts';
import { MIRRORED, Mirror, noBranch } from './mirror.ts';
import { RefWatch } from './ref-watch.ts';
import { type SnapshotFile, SourceError } from './snapshot.ts';

export interface SourceOptions {
  /** A path, or a URL that git can fetch from. */
  readonly repo: string;
  /** Default: what the repository's HEAD names. */
  readonly branch?: string;
  /** Where the manifests are in the repository; default: all of it. */
  readonly subdir?: string;
  /** Where the mirror of a repository elsewhere is kept. */
  readonly stateDir: string;
  /** How often to fetch, or to look in case an event was lost. Default 30,000. */
  readonly pollMs?: number;
  /** How long one file may take to be read. Default 30,000. */
  readonly answerMs?: number;
  /** Between two tries of one look at a repository elsewhere. Default 1,000. */
  readonly retryMs?: number;
}

export interface SourcePorts {
  readonly clock: Pick<Clock, 'setTimeout' | 'monotonic'>;
  readonly environment: Environment;
}

export interface CommitInfo {
  readonly commit: string;
  readonly subject: string;
  readonly author: string;
  /** RFC 3339. */
  readonly at: string;
}

/** What the branch points at, or why that is not known. */
export type HeadState = { readonly head: CommitInfo } | { readonly error: string };

/** How soon to look again for a repository that can't be read. */
const RETRY_MS = 2_000;

export class GitSource {
  readonly #options: SourceOptions;
  readonly #ports: SourcePorts;
  /** Of a repository on this machine. */
  readonly #path: string | undefined;
  readonly #mirror: Mirror | undefined;
  readonly #abort = new AbortController();
  #git: Git | undefined;
  #window: { readonly repository: LocalRepository; readonly git: Git } | undefined;
  #watch: RefWatch | undefined;
  #timer: { cancel(): void } | undefined;
  #listener: ((state: HeadState) => void) | undefined;
  #reported = '';
  #looking: Promise<void> | undefined;
  #again = false;

  constructor(options: SourceOptions, ports: SourcePorts) {
    this.#options = options;
    this.#ports = ports;
    const { repo, branch, stateDir, retryMs } = options;
    this.#path = pathOf(repo);
    if (this.#path !== undefined) return;
    const patience = retryMs === undefined ? {} : { retryMs };
    this.#mirror = new Mirror(
      { repo, branch, stateDir, ...patience },
      { ...ports, signal: this.#abort.signal },
    );
  }

  /** Looks once before it settles, and reports each change of what it sees to the listener. Never throws. */
  async start(listener: (state: HeadState) => void): Promise<void> {
    this.#listener = listener;
    await this.refresh();
  }

  async stop(): Promise<void> {
    this.#listener = undefined;
    this.#abort.abort();
    this.#timer?.cancel();
    await this.#watch?.stop();
    await this.#looking;
    this.#timer?.cancel();
    await this.#watch?.stop();
  }

  /** Looks now. Calls while a look is under way lead to one more look. */
  refresh(): Promise<void> {
    this.#again = true;
    this.#looking ??= this.#lookUntilQuiet().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** @throws SourceError */
  async snapshot(commit: string): Promise<OpenSnapshot> {
    // What was damaged when it was last read is fetched anew first.
    if (this.#mirror?.isSuspect) await this.refresh();
    if (this.#git === undefined) throw new SourceError('the repository was not found yet');
    const { answerMs } = this.#options;
    const complete = this.#mirror !== undefined;
    const options = { complete, signal: this.#abort.signal, ...(answerMs === undefined ? {} : { answerMs }) };
    try {
      const snapshot = await openSnapshot(this.#git, commit, normaliseSubdir(this.#options.subdir), options);
      return this.#mirror === undefined ? snapshot : this.#guarded(snapshot);
    } catch (error) {
      if (isDamage(error)) this.#suspect(error);
      throw error;
    }
  }

  /** A mirror whose files can't be read is damaged. */
  #guarded(snapshot: OpenSnapshot): OpenSnapshot {
    const files = new Map<string, SnapshotFile>();
    let closed = false;
    for (const [path, file] of snapshot.files) {
      const read = async (): Promise<Buffer> => {
        try {
          return await file.read();
        } catch (error) {
          if (!closed && isDamage(error)) this.#suspect(error);
          throw error;
        }
      };
      files.set(path, { ...file, read });
    }
    const close = (): Promise<void> => {
      closed = true;
      return snapshot.close();
    };
    return { ...snapshot, files, close };
  }

  #suspect(error: unknown): void {
    if (!this.#abort.signal.aborted) this.#mirror?.suspect(inWords(error));
  }

  async #lookUntilQuiet(): Promise<void> {
    while (this.#again && !this.#abort.signal.aborted) {
      this.#again = false;
      this.#timer?.cancel();
      let failed = false;
      try {
        const git = await this.#ready();
        this.#report({ head: await this.#head(git) });
      } catch (error) {
        failed = true;
        // Our own git directory may be what is wrong: it is made anew, which costs little.
        this.#window = undefined;
        if (this.#abort.signal.aborted) return;
        this.#report({ error: withoutSecrets(inWords(error)) });
      }
      const pollMs = this.#options.pollMs ?? 30_000;
      const delay = failed && this.#mirror === undefined ? Math.min(RETRY_MS, pollMs) : pollMs;
      // Stopped meanwhile: a timer would outlive it.
      if (this.#abort.signal.aborted) return;
      this.#timer = this.#ports.clock.setTimeout(() => void this.refresh(), delay);
    }
  }

  #report(state: HeadState): void {
    const text = JSON.stringify(state);
    if (text === this.#reported) return;
    this.#reported = text;
    this.#listener?.(state);
  }

  async #ready(): Promise<Git> {
    const { branch, stateDir } = this.#options;
    if (branch !== undefined && !isBranchName(branch))
      throw new SourceError(`"${branch}" can't be the name of a branch`);
    if (this.#mirror !== undefined) this.#git = await this.#mirror.fetch();
    else {
      const repository = findLocalRepository(resolve(this.#path ?? ''));
      const before = this.#window;
      const same =
        before?.repository.gitDir === repository.gitDir &&
        before.repository.commonDir === repository.commonDir;
      if (!same || !this.#watch?.isCurrent()) {
        const git = await openWindow(repository, stateDir, this.#ports.environment, this.#abort.signal);
        this.#window = { repository, git };
      }
      this.#git = this.#window!.git;
      await this.#arm(repository);
    }
    return this.#git;
  }

  /** The watch is on directories by their inode: one that was removed and made again is watched anew. */
  async #arm({ gitDir, commonDir }: LocalRepository): Promise<void> {
    if (this.#watch?.isCurrent()) return;
    await this.#watch?.stop();
    if (this.#abort.signal.aborted) return;
    this.#watch = new RefWatch(gitDir, commonDir, () => void this.refresh());
    await this.#watch.start();
  }

  #ref(): string {
    const { branch } = this.#options;
    if (this.#window === undefined) return MIRRORED;
    const { repository } = this.#window;
    const ref = branch === undefined ? headOf(repository) : `refs/heads/${branch}`;
    checkBranch(repository, ref);
    return ref;
  }

  async #head(git: Git): Promise<CommitInfo> {
    const format = '--format=%H%x00%s%x00%an%x00%cI';
    // Without a walk, since the parents of a shallow clone's commit are not there.
    const args = ['log', '-1', '--no-walk', '--no-show-signature', format, `${this.#ref()}^{commit}`, '--'];
    const { signal } = this.#abort;
    try {
      const out = await git.run(args, { signal });
      const [commit = '', subject = '', author = '', at = ''] = out.toString('utf8').trimEnd().split('\0');
      return { commit, subject: clip(subject), author: clip(author), at };
    } catch (error) {
      if (this.#mirror !== undefined) this.#suspect(error);
      else if (
        /unknown revision|bad revision|ambiguous argument|does not have any commits/i.test(String(error))
      )
        throw await this.#noBranch(git);
      throw error;
    }
  }

  async #noBranch(git: Git): Promise<SourceError> {
    const { signal } = this.#abort;
    const out = await git
      .run(['for-each-ref', '--format=%(refname:short)', 'refs/heads/'], { signal })
      .catch(() => Buffer.alloc(0));
    return noBranch(
      this.#options.repo,
      this.#options.branch,
      out.toString('utf8').split('\n').filter(Boolean),
    );
  }
}

/** What git says of a commit that is there and can't be read; a limit that it exceeds is another thing. */
function isDamage(error: unknown): boolean {
  return error instanceof GitError || /is the repository damaged\?|did not read object/.test(String(error));
}

/** As much as a page shows. */
function clip(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 199)}…`;
}

/** Where a repository on this machine is: a path, or a file: URL; undefined for one elsewhere. */
function pathOf(repo: string): string | undefined {
  if (!isRemote(repo)) return repo;
  if (!/^file:/i.test(repo)) return undefined;
  try {
    return fileURLToPath(repo);
  } catch {
    return undefined;
  }
}

/** A URL, or `user@host:path` as ssh has it; what exists on this machine is a path. */
export function isRemote(repo: string): boolean {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(repo)) return true;
  return /^[^/\\]+@?[^/\\:]*:[^\\]/.test(repo) && !existsSync(repo) && !/^[A-Za-z]:[\\/]/.test(repo);
}

function isBranchName(name: string): boolean {
  // git-check-ref-format(1), as far as it could be mistaken for something else on a command line.
  return (
    !/^[-/.]|\.\.|[\s~^:?*[\\\x00-\x1f\x7f]|@\{|\/$|\.lock$|\.$/.test(name) && name !== '' && name !== '@'
  );
}

function normaliseSubdir(subdir: string | undefined): string {
  return (subdir ?? '')
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}
