// Follows a branch of a git repository. A repository on this machine is watched, so that a commit is seen at
// once; one elsewhere is mirrored in the state directory and fetched every 30 s, or when a hook says so. What it
// reports is the branch's commit, or in words why there is none: the last good revision then keeps serving.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { didYouMean } from '../../api/diagnostics.ts';
import { inWords } from '../../api/errors.ts';
import type { Clock } from '../../kinds/ports.ts';
import { type Environment, Git, withoutSecrets } from './git.ts';
import { type OpenSnapshot, openSnapshot } from './git-snapshot.ts';
import { RefWatch } from './ref-watch.ts';
import { SourceError } from './snapshot.ts';

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
}

export interface SourcePorts {
  readonly clock: Pick<Clock, 'setTimeout'>;
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
const FETCH_TIMEOUT_MS = 120_000;
const MIRRORED = 'refs/homeostat/head';

export class GitSource {
  readonly #options: SourceOptions;
  readonly #ports: SourcePorts;
  readonly #remote: boolean;
  readonly #abort = new AbortController();
  #git: Git | undefined;
  #watch: RefWatch | undefined;
  #timer: { cancel(): void } | undefined;
  #listener: ((state: HeadState) => void) | undefined;
  #reported = '';
  #looking: Promise<void> | undefined;
  #again = false;

  constructor(options: SourceOptions, ports: SourcePorts) {
    this.#options = options;
    this.#ports = ports;
    this.#remote = isRemote(options.repo);
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
    if (this.#git === undefined) throw new SourceError('the repository was not found yet');
    return openSnapshot(this.#git, commit, normaliseSubdir(this.#options.subdir), this.#abort.signal);
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
        if (this.#abort.signal.aborted) return;
        this.#report({ error: withoutSecrets(inWords(error)) });
      }
      const pollMs = this.#options.pollMs ?? 30_000;
      const delay = failed && !this.#remote ? Math.min(RETRY_MS, pollMs) : pollMs;
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
    const { repo, branch } = this.#options;
    if (branch !== undefined && !isBranchName(branch))
      throw new SourceError(`"${branch}" can't be the name of a branch`);
    if (this.#remote) {
      this.#git ??= await this.#createMirror(repo);
      const refspec = `+${branch === undefined ? 'HEAD' : `refs/heads/${branch}`}:${MIRRORED}`;
      const args = [
        'fetch',
        '--quiet',
        '--no-tags',
        '--no-write-fetch-head',
        '--end-of-options',
        repo,
        refspec,
      ];
      await this.#git.run(args, { signal: this.#abort.signal, timeoutMs: FETCH_TIMEOUT_MS });
      return this.#git;
    }
    const gitDir = findGitDir(resolve(repo));
    if (this.#git?.gitDir !== gitDir) this.#git = new Git(gitDir, this.#ports.environment);
    await this.#arm(gitDir);
    return this.#git;
  }

  /** The watch is on directories by their inode: one that was removed and made again is watched anew. */
  async #arm(gitDir: string): Promise<void> {
    if (this.#watch?.isCurrent()) return;
    await this.#watch?.stop();
    if (this.#abort.signal.aborted) return;
    this.#watch = new RefWatch(gitDir, commonDir(gitDir), () => void this.refresh());
    await this.#watch.start();
  }

  async #createMirror(repo: string): Promise<Git> {
    const name = createHash('sha256').update(repo).digest('hex').slice(0, 12);
    const gitDir = join(this.#options.stateDir, `mirror-${name}.git`);
    const git = new Git(gitDir, this.#ports.environment);
    if (!existsSync(join(gitDir, 'HEAD'))) {
      await mkdir(this.#options.stateDir, { recursive: true, mode: 0o700 });
      await git.run(['init', '--quiet', '--bare'], { signal: this.#abort.signal });
    }
    return git;
  }

  async #head(git: Git): Promise<CommitInfo> {
    const { branch } = this.#options;
    const ref = this.#remote ? MIRRORED : branch === undefined ? 'HEAD' : `refs/heads/${branch}`;
    const format = '--format=%H%x00%s%x00%an%x00%cI';
    try {
      const out = await git.run(['log', '-1', '--no-show-signature', format, `${ref}^{commit}`, '--'], {
        signal: this.#abort.signal,
      });
      const [commit = '', subject = '', author = '', at = ''] = out.toString('utf8').trimEnd().split('\0');
      return { commit, subject, author, at };
    } catch (error) {
      throw await this.#explainHead(git, error);
    }
  }

  async #explainHead(git: Git, error: unknown): Promise<unknown> {
    if (!/unknown revision|bad revision|ambiguous argument|does not have any commits/i.test(String(error)))
      return error;
    const out = await git
      .run(['for-each-ref', '--format=%(refname:short)', 'refs/heads/'])
      .catch(() => Buffer.alloc(0));
    const branches = out.toString('utf8').split('\n').filter(Boolean);
    const { branch, repo } = this.#options;
    if (branch === undefined || branches.length === 0) {
      return new SourceError(`${withoutSecrets(repo)} has no commit yet: commit the manifests`);
    }
    const near = didYouMean(branch, branches);
    const hint = near === undefined ? `it has ${branches.slice(0, 5).join(', ')}` : `did you mean ${near}?`;
    return new SourceError(`${withoutSecrets(repo)} has no branch ${branch}: ${hint}`);
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

/** The git directory of a bare repository, a repository, or a linked worktree (gitrepository-layout(5)). */
function findGitDir(repo: string): string {
  if (!existsSync(repo)) throw new SourceError(`there is no repository at ${repo}`);
  const dotGit = join(repo, '.git');
  if (existsSync(dotGit)) {
    if (statSync(dotGit).isDirectory()) return dotGit;
    const link = /^gitdir: (.*)$/m.exec(readFileSync(dotGit, 'utf8'))?.[1];
    if (link !== undefined) return resolve(repo, link.trim());
  }
  if (existsSync(join(repo, 'HEAD')) && existsSync(join(repo, 'objects'))) return repo;
  throw new SourceError(`${repo} is not a git repository: make it one with git init, or say another --repo`);
}

/** Where a worktree's branches are. */
function commonDir(gitDir: string): string {
  const file = join(gitDir, 'commondir');
  return existsSync(file) ? resolve(gitDir, readFileSync(file, 'utf8').trim()) : gitDir;
}

function normaliseSubdir(subdir: string | undefined): string {
  return (subdir ?? '')
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}
