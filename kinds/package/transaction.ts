// What is done to a package with apt: looked up and simulated first, so that what would take others with it is refused
// with a list before anything happens; then fetched, and only then handed to dpkg.
import { Stalled } from '../../api/errors.ts';
import { type AptIo, apt, dpkg, messageOf, requireUnlocked, TRANSACTION, type UpdateResult } from '../apt.ts';
import type { Clock, ProcessResult } from '../ports.ts';
import { choose, pinnedAway, readPolicy, readSimulation, type Simulation } from './apt-output.ts';
import { readPackage } from './dpkg-status.ts';
import { outdated, refresh } from './lists.ts';
import type { PackageSpec } from './schema.ts';
import { PRESENT } from './version.ts';

export type Io = AptIo & { readonly clock: Clock };

const HOUR_MS = 3_600_000;
/** How old lists may be in which a version is missed. */
const MISSED_MS = 300_000;
const LOOK_TIMEOUT_MS = 60_000;
/** Of a download: what was fetched stays, and the next pass goes on from there. */
const FETCH_TIMEOUT_MS = 170_000;

/** What a manifest lets a transaction do beside installing one package. */
export interface Leave {
  readonly mayRemove: readonly string[];
  readonly allowDowngrade: boolean;
}

export const refreshMs = (spec: PackageSpec): number => (spec.refreshHours ?? 24) * HOUR_MS;

/**
 * The version that a manifest's means here and now. Fetches the lists when they are old.
 * @throws Stalled('VersionUnavailable') with those that there are; Error while nobody answers.
 */
export async function lookUp(
  spec: PackageSpec,
  io: Io,
  signal: AbortSignal,
): Promise<{ version: string; lists: UpdateResult }> {
  const wanted = spec.version ?? PRESENT;
  const look = async (maxAgeMs: number) => {
    const lists = await refresh(io, maxAgeMs, signal);
    const result = await apt(io, 'apt-cache', ['policy', spec.name], { timeoutMs: LOOK_TIMEOUT_MS, signal });
    if (result.exitCode !== 0) throw new Error(messageOf(result));
    const policy = readPolicy(result.stdout);
    return { lists, policy, version: choose(policy, wanted) };
  };
  const first = await look(refreshMs(spec));
  // It may have been published since.
  const { lists, policy, version } =
    first.version === undefined ? await look(Math.min(MISSED_MS, refreshMs(spec))) : first;
  if (version !== undefined) return { version, lists };
  const there = policy.versions.slice(0, 8).join(', ');
  const pinned = pinnedAway(policy, wanted);
  if (pinned.length > 0) {
    const away = `this host's owner pins ${spec.name} ${pinned.join(', ')} away`;
    throw new Stalled(
      'VersionUnavailable',
      `${away} (a Pin-Priority below zero in /etc/apt/preferences or preferences.d, see apt-cache policy ${spec.name}): ask for another version, or have the pin removed`,
    );
  }
  const message =
    there === ''
      ? `no repository of this host has a package ${spec.name}`
      : `there is no ${spec.name} ${wanted}; there is ${there}`;
  if (lists.result === 'done') throw new Stalled('VersionUnavailable', message);
  throw new Error(`${message}; the lists could not be fetched: ${lists.message}`);
}

export const leaveOf = (spec: PackageSpec): Leave => ({
  mayRemove: spec.mayRemove ?? [],
  allowDowngrade: spec.allowDowngrade === true,
});

/** Arguments for apt-get. */
export function installing(spec: Pick<PackageSpec, 'name' | 'recommends'>, version: string): string[] {
  const { recommends } = spec;
  return [
    'install',
    '--reinstall', // of the same version: what is broken is unpacked anew
    ...(recommends === undefined ? [] : ['-o', `APT::Install-Recommends=${recommends}`]),
    `${spec.name}=${version}`,
  ];
}

/** @throws Stalled with the list of what would be removed or become older without leave. */
export async function simulate(
  name: string,
  args: readonly string[],
  leave: Leave,
  io: AptIo,
  signal: AbortSignal,
): Promise<void> {
  const force = ['--allow-downgrades', '--allow-change-held-packages', '--allow-remove-essential'];
  const result = await apt(io, 'apt-get', ['--simulate', '--yes', ...force, ...args], {
    timeoutMs: LOOK_TIMEOUT_MS,
    signal,
  });
  requireUnlocked(result);
  if (result.exitCode !== 0) {
    const unmet = /The following packages have unmet dependencies:\n([\s\S]*?)(?=\n\S|$)/.exec(
      result.stdout,
    )?.[1];
    throw new Stalled(
      'Unsolvable',
      [messageOf(result), unmet?.replace(/\s+/g, ' ').trim()].filter(Boolean).join(' '),
    );
  }
  // apt counts that as done: what is broken then stays so.
  const notToBeHad = /^Reinstallation of .* not possible.*$/m.exec(result.stdout)?.[0];
  if (notToBeHad !== undefined) throw new Error(notToBeHad);
  refuse(name, args[0] === 'install', readSimulation(result.stdout), leave);
}

function refuse(name: string, isInstall: boolean, { removed, downgraded }: Simulation, leave: Leave): void {
  const own = isInstall ? [] : [name];
  const lost = removed.map(bare).filter((other) => !own.includes(other) && !leave.mayRemove.includes(other));
  if (lost.length > 0) {
    const what = isInstall ? `installing ${name}` : `removing ${name}`;
    const say = isInstall ? `; mayRemove: [${lost.join(', ')}] says that they may go` : '';
    throw new Stalled('WouldRemove', `${what} would remove ${lost.join(', ')}${say}`);
  }
  const older = downgraded.filter((other) => !(leave.allowDowngrade && bare(other.name) === name));
  if (older.length > 0) {
    const list = older.map((other) => `${other.name} from ${other.from} to ${other.to}`).join(', ');
    const say = older.every((other) => bare(other.name) === name)
      ? '; allowDowngrade: true says that it may'
      : '';
    throw new Stalled('WouldDowngrade', `this would take back ${list}${say}`);
  }
}

const bare = (name: string): string => name.replace(/:.*$/, '');

/**
 * Installs, after simulate() found nothing against it. Fetching may be cut off; what dpkg began is seen to
 * its end, whatever becomes of the pass and of the agent: it runs apart from both.
 * @throws Stalled('InstallFailed') in dpkg's words; Error for what may pass.
 */
export async function install(
  args: readonly string[],
  leave: Leave,
  io: AptIo,
  signal: AbortSignal,
): Promise<void> {
  const yes = [
    '--yes',
    '--allow-change-held-packages',
    ...(leave.allowDowngrade ? ['--allow-downgrades'] : []),
    // What the simulation found may have changed since.
    ...(leave.mayRemove.length > 0 ? [] : ['--no-remove']),
  ];
  const fetch = [...yes, '--download-only', ...args];
  let fetched = await apt(io, 'apt-get', fetch, { timeoutMs: FETCH_TIMEOUT_MS, signal });
  if (isInterrupted(fetched)) {
    await configure(io);
    fetched = await apt(io, 'apt-get', fetch, { timeoutMs: FETCH_TIMEOUT_MS, signal });
  }
  requireUnlocked(fetched);
  if (fetched.exitCode !== 0) {
    // A version that the lists still name may be gone from the repository.
    outdated(io);
    throw new Error(messageOf(fetched));
  }
  await change([...yes, ...args], io);
}

/** @throws Stalled('InstallFailed'), Error, Waiting. */
async function change(args: readonly string[], io: AptIo): Promise<void> {
  const run = () => apt(io, 'apt-get', args, TRANSACTION);
  let result = await run();
  if (isInterrupted(result)) {
    await configure(io);
    result = await run();
  }
  requireUnlocked(result);
  if (result.exitCode === 0) return;
  const words = messageOf(result);
  if (/No space left on device|have enough free space/.test(`${result.stdout}${result.stderr}`))
    throw new Error(words);
  throw new Stalled('InstallFailed', words);
}

const isInterrupted = ({ exitCode, stderr }: ProcessResult): boolean =>
  exitCode !== 0 && stderr.includes('dpkg was interrupted');

/** Ends what was cut off: `dpkg --configure -a`. What it can't end is told by whatever is tried next. */
export async function configure(io: AptIo): Promise<void> {
  const result = await dpkg(io, ['--configure', '--pending'], TRANSACTION);
  requireUnlocked(result);
}

/** @throws Stalled when other packages would go with it, or its scripts fail. */
export async function remove(name: string, purge: boolean, io: AptIo, signal: AbortSignal): Promise<void> {
  const args = [purge ? 'purge' : 'remove', name];
  await configure(io);
  await simulate(name, args, { mayRemove: [], allowDowngrade: false }, io, signal);
  await change(['--yes', '--allow-change-held-packages', ...args], io);
}

/** What `apt-mark hold` and `unhold` do, without loading apt's lists for it. */
export async function setHold(name: string, hold: boolean, io: AptIo): Promise<void> {
  const installed = readPackage(io.files, name);
  if (installed === undefined || (installed.want === 'hold') === hold) return;
  const input = `${name} ${hold ? 'hold' : 'install'}\n`;
  const result = await dpkg(io, ['--set-selections'], { timeoutMs: LOOK_TIMEOUT_MS, input });
  requireUnlocked(result);
  if (result.exitCode !== 0) throw new Error(messageOf(result));
}
