// Runs the git program on git directories that the controller made itself, so that git never reads the configuration
// of a repository that others write. Argument arrays only, never a prompt, and each run has a deadline and an end.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Bounds, type Result, runBounded, startTalk } from './bounded-process.ts';
import { SourceError } from './snapshot.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * How git is run: `read` looks into objects and needs nothing of anybody's configuration; `contact` speaks with another
 * machine, for which the configuration of the controller's own user counts (ssh, credential helpers, proxies).
 */
export type Way = 'read' | 'contact';

const READ = ['PATH', 'TMPDIR'];
const CONTACT = [
  ...READ,
  ...['HOME', 'XDG_CONFIG_HOME', 'SSH_AUTH_SOCK', 'GIT_SSH_COMMAND', 'GIT_SSL_CAINFO'],
  ...['http_proxy', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY'],
];

const ALWAYS: Readonly<Record<string, string>> = {
  LC_ALL: 'C',
  GIT_TERMINAL_PROMPT: '0',
  // A program that asks for a password would wait for ever.
  GIT_ASKPASS: 'true',
  SSH_ASKPASS: 'true',
  // Not file: and ext:, which run programs on this machine, whatever asks for them (a redirect, insteadOf).
  GIT_ALLOW_PROTOCOL: 'git:http:https:ssh',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_OPTIONAL_LOCKS: '0',
  // A missing object is a damaged repository, and no reason to fetch.
  GIT_NO_LAZY_FETCH: '1',
};
const NO_CONFIGURATION = { GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', HOME: '/nonexistent' };
const SSH =
  'ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -o ControlMaster=no';

/** What the user's own configuration may not switch on: programs that a fetch would start, and work beside it. */
const FORCED = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.alternateRefsCommand=true',
  'fetch.recurseSubmodules=false',
  'fetch.bundleURI=',
  'fetch.writeCommitGraph=false',
  'gc.autoDetach=false',
  'gc.pruneExpire=1.hour.ago',
  'log.showSignature=false',
  'maintenance.auto=false',
].flatMap((setting) => ['-c', setting]);

export function gitEnvironment(environment: Environment, way: Way): Record<string, string> {
  const env: Record<string, string> = { ...ALWAYS };
  for (const name of way === 'read' ? READ : CONTACT) {
    const value = environment[name];
    if (value !== undefined) env[name] = value;
  }
  if (way === 'read') return { ...env, ...NO_CONFIGURATION };
  return { GIT_SSH_COMMAND: SSH, ...env };
}

const RUN_MS = 30_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

export interface GitRun extends Partial<Bounds> {
  /** Default: read. */
  readonly way?: Way;
}

/** git ended without success. */
export class GitError extends SourceError {
  /** Whether by itself. */
  readonly how: Result['cause'];
  constructor(message: string, how: Result['cause']) {
    super(message);
    this.how = how;
  }
}

export class Git {
  readonly gitDir: string;
  readonly #environment: Environment;

  /** @param gitDir absolute, and made by `makeGitDir`. */
  constructor(gitDir: string, environment: Environment) {
    this.gitDir = gitDir;
    this.#environment = environment;
  }

  /** Standard output. @throws GitError with git's own message. */
  run(args: readonly string[], options: GitRun = {}): Promise<Buffer> {
    return runGit([`--git-dir=${this.gitDir}`, ...FORCED, ...args], args[0]!, this.#environment, options);
  }

  /** A process that is spoken to; the caller ends it. */
  talk(args: readonly string[]) {
    return startTalk({
      file: 'git',
      args: [`--git-dir=${this.gitDir}`, ...FORCED, ...args],
      env: gitEnvironment(this.#environment, 'read'),
    });
  }
}

/** Asks another repository outside of any git directory. @param scratch a directory that is none. */
export function askRemote(
  args: readonly string[],
  scratch: string,
  environment: Environment,
  options: GitRun,
): Promise<Buffer> {
  return runGit([...FORCED, ...args], args[0]!, environment, { ...options, way: 'contact' }, scratch);
}

async function runGit(
  args: readonly string[],
  command: string,
  environment: Environment,
  { way = 'read', timeoutMs = RUN_MS, maxBytes = MAX_OUTPUT, ...bounds }: GitRun,
  cwd?: string,
): Promise<Buffer> {
  const env = gitEnvironment(environment, way);
  if (cwd !== undefined) env['GIT_CEILING_DIRECTORIES'] = dirname(cwd);
  const program = { file: 'git', args, env, ...(cwd === undefined ? {} : { cwd }) };
  const all = { ...bounds, timeoutMs, maxBytes };
  const result = await runBounded(program, all);
  if (result.cause === 'ended' && result.code === 0) return result.stdout;
  throw new GitError(explain(command, result, all), result.cause);
}

function explain(
  command: string,
  { cause, code, stderr }: Result,
  { timeoutMs, quietMs = 0 }: Bounds,
): string {
  if (cause === 'late') return `git ${command} did not end within ${timeoutMs / 1000} s`;
  if (cause === 'quiet') return `git ${command} heard nothing for ${quietMs / 1000} s`;
  if (cause === 'aborted') return `git ${command} was stopped`;
  if (cause === 'too much') return `git ${command} says more than can be read`;
  if (cause === 'not found') return 'the program git is not on PATH: install git';
  const lines = stderr
    .split(/[\r\n]/)
    .filter((line) => /^(?:remote: )?(?:fatal|error|ssh|ERROR)\b|[Pp]ermission denied|Host key/.test(line));
  const some = lines.length > 0 ? lines : stderr.split(/[\r\n]/);
  const message = some
    .map((line) => line.replace(/^(?:fatal|error): /, '').trim())
    .filter((line) => line !== '')
    .slice(0, 3)
    .join('; ')
    .slice(0, 500);
  const fallback = code === null ? 'a signal ended it' : `exit code ${code}`;
  return `git ${command} failed: ${withoutSecrets(message === '' ? fallback : message)}`;
}

/** A URL may carry a password, and an error message may carry a URL. */
export function withoutSecrets(text: string): string {
  return text.replace(/(\b[a-z][a-z0-9+.-]*:\/\/)[^/@\s]+@/gi, '$1…@');
}

export interface GitDirOptions {
  /** Default: sha1. */
  readonly objectFormat?: 'sha1' | 'sha256';
  /** Default: files. */
  readonly refStorage?: string;
}

/** What makes a directory a git directory (gitrepository-layout(5)), without a template: no hooks, and our configuration. */
export function makeGitDir(gitDir: string, { objectFormat = 'sha1', refStorage }: GitDirOptions = {}): void {
  const extensions = [
    ...(objectFormat === 'sha1' ? [] : [`\tobjectFormat = ${objectFormat}\n`]),
    ...(refStorage === undefined ? [] : [`\trefStorage = ${refStorage}\n`]),
  ];
  const version = extensions.length === 0 ? 0 : 1;
  mkdirSync(gitDir, { recursive: true, mode: 0o700 });
  for (const name of ['hooks', 'config', 'config.worktree', 'info'])
    rmSync(join(gitDir, name), { recursive: true, force: true });
  writeFileSync(
    join(gitDir, 'config'),
    `[core]\n\trepositoryFormatVersion = ${version}\n\tbare = true\n${extensions.length === 0 ? '' : `[extensions]\n${extensions.join('')}`}`,
  );
  writeFileSync(join(gitDir, 'HEAD'), 'ref: refs/heads/main\n');
}
