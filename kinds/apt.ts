// apt and dpkg, as the kinds that use them share them: how they are called so that nobody is asked anything, and what
// their answers mean. Everything through the ports; below a sandbox root where the agent has one.
import { errnoOf, Stalled, Waiting } from '../api/errors.ts';
import type { Files, Ports, ProcessResult } from './ports.ts';

export type AptIo = Pick<Ports, 'files' | 'processes'>;

/** Serialises the passes of everything that takes dpkg's lock. */
export const DPKG_LOCK = 'dpkg';

/** How long apt itself waits for the lock; longer waits are the queue's, so that no pass stands still. */
const LOCK_SECONDS = 2;
const LOCKED_AGAIN_MS = 15_000;
const UPDATE_TIMEOUT_MS = 150_000;

/** debconf(7), apt-listchanges(1), ucf(1), needrestart(1): no questions, and who is restarted is Service's business. */
const ENV = {
  DEBIAN_FRONTEND: 'noninteractive',
  APT_LISTCHANGES_FRONTEND: 'none',
  UCF_FORCE_CONFFOLD: '1',
  NEEDRESTART_MODE: 'l',
};

/** What a maintainer's new version of a file that was edited here does: nothing (dpkg(1), --force-things). */
const KEEP_CONFFILES = ['--force-confdef', '--force-confold'];

/** The sandbox's root without a slash at its end; '' on a host. */
function rootOf(files: Files): string {
  return (files.hostPath?.('/') ?? '/').replace(/\/$/, '');
}

function aptOptions(files: Files): string[] {
  const root = rootOf(files);
  const options = [
    `DPkg::Lock::Timeout=${LOCK_SECONDS}`,
    'Dpkg::Use-Pty=0',
    'Acquire::Retries=1',
    'Acquire::http::Timeout=20',
    'Acquire::https::Timeout=20',
    ...KEEP_CONFFILES.map((force) => `DPkg::Options::=${force}`),
    ...(root === ''
      ? []
      : [
          `Dir=${root}`,
          `Dir::State::status=${root}/var/lib/dpkg/status`,
          `DPkg::Options::=--root=${root}`,
          'APT::Sandbox::User=root',
        ]),
  ];
  return ['-q', ...options.flatMap((option) => ['-o', option])];
}

export interface RunOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** For what must not be cut off in the middle: it outlives the agent (ports.ts). */
  readonly detached?: { readonly unit: string };
}

/** What dpkg began is seen to its end, whatever becomes of the pass and of the agent. */
export const TRANSACTION = {
  timeoutMs: 1_800_000, // for unpacking and maintainer scripts, on a slow card with a big package
  detached: { unit: 'homeostat-apt' },
} as const satisfies RunOptions;

/** apt-get, apt-cache. @throws Stalled('NoApt') */
export function apt(
  io: AptIo,
  program: 'apt-get' | 'apt-cache',
  args: readonly string[],
  options: RunOptions,
): Promise<ProcessResult> {
  return run(io, program, [...aptOptions(io.files), ...args], options);
}

/** @param input standard input. @throws Stalled('NoApt') */
export function dpkg(
  io: AptIo,
  args: readonly string[],
  options: RunOptions & { readonly input?: string },
): Promise<ProcessResult> {
  const root = rootOf(io.files);
  return run(io, 'dpkg', [...(root === '' ? [] : [`--root=${root}`]), ...KEEP_CONFFILES, ...args], options);
}

async function run(
  io: AptIo,
  program: string,
  args: readonly string[],
  options: RunOptions & { readonly input?: string },
): Promise<ProcessResult> {
  const { timeoutMs, signal, input, detached } = options;
  const root = rootOf(io.files);
  try {
    return await io.processes.run(program, args, {
      timeoutMs,
      env: { ...ENV, ...(root === '' ? {} : { APT_CONFIG: `${root}/etc/apt/apt.conf` }) },
      ...(signal === undefined ? {} : { signal }),
      ...(input === undefined ? {} : { input }),
      ...(detached === undefined ? {} : { detached }),
    });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new Stalled(
      'NoApt',
      `there is no ${program} on this host: packages are for Debian and its descendants`,
    );
  }
}

/** @throws Waiting('DpkgLocked') with who holds the lock, when that is why a program gave up. */
export function requireUnlocked(result: ProcessResult): void {
  if (result.exitCode === 0) return;
  const text = `${result.stdout}\n${result.stderr}`;
  const lock = /Could not get lock (\S+?)\.? |Unable to acquire the dpkg frontend lock \((\S+)\)/.exec(text);
  const byDpkg = /(?:frontend|database) lock was locked by another process(?: with pid (\d+))?/.exec(text);
  if (lock === null && byDpkg === null) return;
  const process = /held by process (\d+ \([^)]*\))/.exec(text)?.[1] ?? byDpkg?.[1];
  const holder = process === undefined ? 'another process' : `process ${process}`;
  const what = lock?.[1]?.includes('/apt/lists') === true ? 'the lock of apt’s lists' : 'dpkg’s lock';
  throw new Waiting('DpkgLocked', `${what} is held by ${holder}`, LOCKED_AGAIN_MS);
}

/** What apt and dpkg say went wrong, in one line. */
export function messageOf({ stdout, stderr }: ProcessResult): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  const said = lines.flatMap((line, i) => {
    // dpkg names the package in one line and the reason in the next.
    if (/^dpkg: error processing/.test(line)) return [`${line} ${lines[i + 1] ?? ''}`];
    if (/^(E|W): |^dpkg: error|^Err:/.test(line)) return [line.replace(/^[EW]: /, '')];
    return [];
  });
  const reasons = said.filter(
    (line) => !/^Some index files failed|^An error occurred during the signature/.test(line),
  );
  const message = [...new Set(reasons.length > 0 ? reasons : said)].join('; ');
  return message || stderr.trim() || stdout.trim().split('\n').slice(-3).join(' ');
}

export type UpdateResult =
  | { readonly result: 'done' }
  /** The repository is not as the source says; a retry alone does not mend that. */
  | { readonly result: 'refused'; readonly message: string }
  /** Nobody answered, or not with the whole of it. */
  | { readonly result: 'unreachable'; readonly message: string };

/**
 * Of apt's messages, those that say that a repository is not what its source says: not signed by the key, not there,
 * no longer valid. A certificate or a date in the future is no such thing: a host's clock may be wrong at boot.
 */
const REFUSALS =
  /NO_PUBKEY|BADSIG|EXPKEYSIG|REVKEYSIG|EXPSIG|KEYEXPIRED|is not signed|have a Release file|have the component|support architecture|is expired|\s(?:40[134]|410) {2}|isn't valid|signatures? (?:was|were|is) invalid|Malformed|Conflicting values|could not be read/m;

/** `apt-get update`. @throws Waiting('DpkgLocked') */
export async function update(io: AptIo, args: readonly string[], signal: AbortSignal): Promise<UpdateResult> {
  // Older ones say W: and end with 0 when a repository could not be had (apt-get(8), APT::Update::Error-Mode).
  const options = ['-o', 'APT::Update::Error-Mode=any', ...args];
  const result = await apt(io, 'apt-get', ['update', ...options], { timeoutMs: UPDATE_TIMEOUT_MS, signal });
  requireUnlocked(result);
  const text = `${result.stdout}\n${result.stderr}`;
  const failed = result.exitCode !== 0 || /^W: .*(?:Failed to fetch|doesn't have the component)/m.test(text);
  if (!failed) return { result: 'done' };
  const isRefused = REFUSALS.test(text) && !/\s5\d\d {2}/.test(text);
  return { result: isRefused ? 'refused' : 'unreachable', message: messageOf(result) };
}
