// A repository on this machine, read through a git directory of our own: its objects and branches by links, its
// configuration not at all, so that git runs nothing that the repository names, and asks not who owns it.
import { existsSync, lstatSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { sha256 } from '../../api/json.ts';
import { type Environment, Git, type GitDirOptions, makeGitDir } from './git.ts';
import { SourceError } from './snapshot.ts';

export interface LocalRepository {
  /** Its own git directory, and the one that has its branches: another one for a linked worktree. */
  readonly gitDir: string;
  readonly commonDir: string;
}

/** Of HEAD, .git and commondir: a path. */
const MAX_SMALL_FILE = 8192;

/** The git directory of a bare repository, a repository, or a linked worktree (gitrepository-layout(5)). */
export function findLocalRepository(repo: string): LocalRepository {
  const gitDir = findGitDir(repo);
  const file = join(gitDir, 'commondir');
  return { gitDir, commonDir: existsSync(file) ? resolve(gitDir, readSmall(file).trim()) : gitDir };
}

function findGitDir(repo: string): string {
  if (!existsSync(repo)) throw new SourceError(`there is no repository at ${repo}`);
  const dotGit = join(repo, '.git');
  if (existsSync(dotGit)) {
    if (statSync(dotGit).isDirectory()) return dotGit;
    const link = /^gitdir: (.*)$/m.exec(readSmall(dotGit))?.[1];
    if (link !== undefined) return resolve(repo, link.trim());
  }
  if (existsSync(join(repo, 'HEAD')) && existsSync(join(repo, 'objects'))) return repo;
  throw new SourceError(`${repo} is not a git repository: make it one with git init, or say another --repo`);
}

/** A pipe or a device in its place would stop everything. */
function readSmall(file: string): string {
  const stat = statSync(file);
  if (!stat.isFile() || stat.size > MAX_SMALL_FILE)
    throw new SourceError(`${file} is not what git writes there: is the repository damaged?`);
  return readFileSync(file, 'utf8');
}

/** What HEAD names: a branch, or a commit. */
export function headOf({ gitDir }: LocalRepository): string {
  const text = readSmall(join(gitDir, 'HEAD')).trim();
  const ref = /^ref: (refs\/[^\s]+)$/.exec(text)?.[1] ?? /^[0-9a-f]{40,64}$/.exec(text)?.[0];
  if (ref === undefined)
    throw new SourceError(`${join(gitDir, 'HEAD')} names no branch: is the repository damaged?`);
  return ref;
}

/** git would read all of a branch's file, whatever it is. @throws SourceError when it is not what git writes. */
export function checkBranch({ commonDir }: LocalRepository, ref: string): void {
  const file = join(commonDir, ref);
  const stat = statSync(file, { throwIfNoEntry: false });
  // There is none for a branch that is packed, and none for a commit.
  if (stat === undefined || stat.isDirectory()) return;
  readSmall(file);
}

/** Our git directory for it, below `stateDir`; made anew unless it is as it should be. */
export async function openWindow(
  { commonDir }: LocalRepository,
  stateDir: string,
  environment: Environment,
  signal: AbortSignal,
): Promise<Git> {
  const name = sha256(commonDir).slice(0, 12);
  const window = join(resolve(stateDir), `window-${name}.git`);
  const format = await formatOf(commonDir, window, environment, signal);
  makeGitDir(window, format);
  for (const entry of ['objects', 'refs', 'packed-refs', 'reftable']) {
    const link = join(window, entry);
    const target = join(commonDir, entry);
    if (linkAt(link) === target) continue;
    rmSync(link, { recursive: true, force: true });
    symlinkSync(target, link);
  }
  return new Git(window, environment);
}

function linkAt(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined;
}

/** Two of its settings say how it is stored. They are read as text: git includes and runs nothing for `--file`. */
async function formatOf(commonDir: string, window: string, environment: Environment, signal: AbortSignal) {
  const file = join(commonDir, 'config');
  if (!existsSync(file)) return {};
  if (!statSync(file).isFile()) throw new SourceError(`${file} is not a file: is the repository damaged?`);
  makeGitDir(window);
  const git = new Git(window, environment);
  const read = async (key: string): Promise<string> => {
    const out = await git.run(['config', '--file', file, '--no-includes', '--default', '', '--get', key], {
      signal,
    });
    return out.toString('utf8').trim().toLowerCase();
  };
  const format: { -readonly [K in keyof GitDirOptions]: GitDirOptions[K] } = {};
  if ((await read('extensions.objectformat')) === 'sha256') format.objectFormat = 'sha256';
  if ((await read('extensions.refstorage')) === 'reftable') format.refStorage = 'reftable';
  return format;
}
