// Runs the git program: argument arrays only, never a prompt, never the repository's working tree, a bounded
// time. Which directory is the git directory is said in full each time (--git-dir), so that a repository of
// another user's can be read (git's ownership check guards against *discovered* ones).
import { execa, type Options } from 'execa';
import { SourceError } from './snapshot.ts';

/** What git may see of the controller's environment. */
const PASSED = [
  'PATH',
  'HOME',
  'XDG_CONFIG_HOME',
  'SSH_AUTH_SOCK',
  'GIT_SSH_COMMAND',
  'GIT_SSL_CAINFO',
  'TMPDIR',
];
const PASSED_PROXY = ['http_proxy', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY'];

export type Environment = Readonly<Record<string, string | undefined>>;

export function gitEnvironment(environment: Environment): Record<string, string> {
  const env: Record<string, string> = {
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    // A program that asks for a password would wait for ever.
    GIT_ASKPASS: 'true',
    SSH_ASKPASS: 'true',
    GIT_SSH_COMMAND: 'ssh -o BatchMode=yes -o ConnectTimeout=15',
    // ext:: would run what a repository's configuration says.
    GIT_ALLOW_PROTOCOL: 'file:git:http:https:ssh',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_OPTIONAL_LOCKS: '0',
  };
  for (const name of [...PASSED, ...PASSED_PROXY]) {
    const value = environment[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

export interface GitRun {
  readonly signal?: AbortSignal;
  /** Default 30 s. */
  readonly timeoutMs?: number;
}

export class Git {
  readonly gitDir: string;
  readonly #env: Record<string, string>;

  /** @param gitDir absolute. */
  constructor(gitDir: string, environment: Environment) {
    this.gitDir = gitDir;
    this.#env = gitEnvironment(environment);
  }

  /** Standard output. @throws SourceError with git's own words. */
  async run(args: readonly string[], { signal, timeoutMs = 30_000 }: GitRun = {}): Promise<Buffer> {
    const result = await execa('git', [`--git-dir=${this.gitDir}`, ...args], {
      ...this.#options(),
      encoding: 'buffer',
      timeout: timeoutMs,
      reject: false,
      maxBuffer: 256 * 1024 * 1024,
      ...(signal === undefined ? {} : { cancelSignal: signal }),
    });
    if (!result.failed) return Buffer.from(result.stdout);
    throw new SourceError(explain(args[0] ?? '', result, timeoutMs));
  }

  /** A process that is spoken to; the caller ends it. */
  spawn(args: readonly string[]) {
    return execa('git', [`--git-dir=${this.gitDir}`, ...args], {
      ...this.#options(),
      stdin: 'pipe',
      buffer: false,
      reject: false,
      encoding: 'buffer',
    });
  }

  #options() {
    return {
      env: this.#env,
      extendEnv: false,
      stdin: 'ignore',
      stripFinalNewline: false,
    } as const satisfies Options;
  }
}

interface Failure {
  readonly timedOut: boolean;
  readonly isCanceled: boolean;
  readonly code?: string | undefined;
  readonly stderr?: unknown;
  readonly shortMessage?: string | undefined;
}

function explain(command: string, failure: Failure, timeoutMs: number): string {
  if (failure.timedOut) return `git ${command} did not end within ${timeoutMs / 1000} s`;
  if (failure.isCanceled) return `git ${command} was stopped`;
  if (failure.code === 'ENOENT') return 'the program git is not on PATH: install git';
  const stderr = failure.stderr instanceof Uint8Array ? Buffer.from(failure.stderr).toString() : '';
  const lines = stderr
    .split('\n')
    .map((line) => line.replace(/^(?:fatal|error): /, '').trim())
    .filter((line) => line !== '');
  const words = lines.slice(0, 3).join('; ').slice(0, 500);
  return `git ${command} failed: ${withoutSecrets(words === '' ? (failure.shortMessage ?? 'no reason given') : words)}`;
}

/** A URL may carry a password, and an error message may carry a URL. */
export function withoutSecrets(text: string): string {
  return text.replace(/(\b[a-z][a-z0-9+.-]*:\/\/)[^/@\s]+@/gi, '$1…@');
}
