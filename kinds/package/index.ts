// Package: a Debian package at a version, installed whole, and held when that is asked. Looking costs no process: what
// is there is read from dpkg's own file, and apt runs only when something is to be done.
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import { apt, DPKG_LOCK } from '../apt.ts';
import { type Change, type Desired, defineKind, type InventoryRecord } from '../kind.ts';
import type { Files, Ports } from '../ports.ts';
import { findings } from '../shared/findings.ts';
import { YES } from '../shared/verdicts.ts';
import { type Installed, missingFiles, readPackage, STATUS } from './dpkg-status.ts';
import { PackageSpec } from './schema.ts';
import {
  configure,
  install,
  installing,
  leaveOf,
  lookUp,
  refreshMs,
  remove,
  setHold,
  simulate,
} from './transaction.ts';
import { compareVersions, fits, LATEST, PRESENT } from './version.ts';

type Needs = 'files' | 'processes' | 'clock';
type Io = Pick<Ports, Needs>;

interface Observed {
  readonly installed: Installed | undefined;
  /** Of its files, those that somebody removed. */
  readonly missing: readonly string[];
  readonly nowMs: number;
}

const Before = z.object({
  name: z.string(),
  installed: z.object({ version: z.string(), architecture: z.string(), want: z.string() }).nullable(),
  purge: z.boolean(),
  /** Taken before anything of ours succeeded: the state that a removal puts back. */
  first: z.boolean(),
});
type Before = z.infer<typeof Before>;

const Memory = z.object({
  purge: z.boolean(),
  /** Whether the hold was ours to set. */
  holds: z.boolean(),
  /** Of `latest`: what it was when the lists were looked at, and when they are to be looked at again. */
  latest: z.object({ version: z.string(), againMs: z.number() }).optional(),
  /** A newer version that could not be installed; it is not tried again. */
  failed: z.object({ version: z.string(), words: z.string() }).optional(),
  /** Why the lists are older than they should be. */
  lists: z.string().optional(),
});
type Memory = z.infer<typeof Memory>;
type D = Desired<PackageSpec, Memory>;

/** After a refresh that failed. */
const REFRESH_AGAIN_MS = 3_600_000;
/** For a rollback. */
const ALL_LEAVE = { mayRemove: [], allowDowngrade: true };

export const packageKind = defineKind<PackageSpec, Observed, Needs, Before, Memory>({
  kind: 'Package',
  scope: 'host',
  spec: PackageSpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['files', 'processes', 'clock'],

  place: ({ name }) => name,
  owns: ({ name }) => [`package:${name}`],
  locks: () => [DPKG_LOCK],
  // Its scripts run as root; the list of packages is closed by default, and is the word for it (docs/decisions/).
  permissions: ({ name, mayRemove = [] }) => [
    { type: 'package', value: name },
    ...mayRemove.map((other) => ({ type: 'package' as const, value: other, why: 'it may be removed' })),
  ],

  check: ({ name, mayRemove = [] }) =>
    findings([
      mayRemove.includes(name),
      ['mayRemove'],
      `${name} itself is never removed to make room for itself`,
    ]),

  async observe(d, { files, clock }) {
    return { ...look(files, d.spec.name), nowMs: clock.now() };
  },

  diff,

  // What is installed, whole and configured is what there is to say of a package; what it runs is a Service's.
  assess: () => YES,

  async prepare(d, observed, io, signal) {
    const { spec } = d;
    const { installed } = observed;
    // What was only cut off needs no repository: dpkg ends it.
    if (diff(d, observed).some(({ what }) => what !== 'hold' && what !== 'state')) {
      const { version } = await lookUp(spec, io, signal);
      if (observed.missing.length > 0 || isToInstall(spec, installed, version)) {
        refuseHeld(d, installed, version);
        await simulate(spec.name, installing(spec, version), leaveOf(spec), io, signal);
      }
    }
    const before: Before = {
      name: spec.name,
      installed:
        installed === undefined
          ? null
          : { version: installed.version, architecture: installed.architecture, want: installed.want },
      purge: spec.purge === true,
      first: d.memory === undefined,
    };
    return { existed: installed !== undefined, before };
  },

  async apply(changes, d, io, signal) {
    const { spec } = d;
    if (changes.length === 0) return undefined;
    let memory: Memory = { ...d.memory, purge: spec.purge === true, holds: spec.hold !== undefined };
    // First of all, since nothing else goes before that.
    if (isBroken(look(io.files, spec.name).installed)) await configure(io);
    const { installed, missing } = look(io.files, spec.name);
    const nowMs = io.clock.now();
    if (diff(d, { installed, missing, nowMs }).some(({ what }) => what !== 'hold')) {
      const found = await lookUp(spec, io, signal);
      memory = remember(spec, memory, found, nowMs);
      if (missing.length > 0 || isToInstall(spec, installed, found.version)) {
        refuseHeld(d, installed, found.version);
        memory = await upgrade(d, installed, found.version, memory, io, signal);
      }
    }
    const hold = holdOf(d) ?? installed?.want === 'hold';
    await setHold(spec.name, hold, io);
    return memory;
  },

  undo,

  revision: (_d, { installed }) =>
    installed === undefined ? '' : `${installed.version} ${installed.architecture}`,

  watch: (_d, { files }, wake, signal) => files.watch(STATUS, wake, signal),

  conditions(d) {
    // Of a version that is named, what was in the lists once is no news.
    const { failed, lists } = wantedOf(d.spec) === LATEST ? (d.memory ?? {}) : {};
    const of = (type: string, reason: string, message: string) => [
      { type, status: 'False' as const, reason, message },
    ];
    return [
      ...(failed === undefined ? [] : of('Latest', 'UpgradeFailed', `${failed.version}: ${failed.words}`)),
      ...(lists === undefined ? [] : of('ListsFresh', 'UpdateFailed', lists)),
    ];
  },
});

/** What dpkg knows of it, and which of its files are gone. */
function look(files: Files, name: string): Pick<Observed, 'installed' | 'missing'> {
  const installed = readPackage(files, name);
  const isWhole = installed !== undefined && !isBroken(installed);
  return { installed, missing: isWhole ? missingFiles(files, { name, ...installed }) : [] };
}

/** A hold of ours that git no longer asks for is taken off; somebody else's is left. */
const holdOf = (d: D) => d.spec.hold ?? (d.memory?.holds === true ? false : undefined);
const wantedOf = (spec: PackageSpec): string => spec.version ?? PRESENT;

const isBroken = (installed: Installed | undefined): boolean =>
  installed !== undefined && (installed.state !== 'installed' || installed.flag !== 'ok');

function diff(d: D, { installed, missing, nowMs }: Observed): Change[] {
  const { spec } = d;
  const wanted = wantedOf(spec);
  if (installed === undefined) return [{ what: 'package', from: 'absent', to: wanted }];
  const changes: Change[] = [];
  if (isBroken(installed)) {
    const from = installed.flag === 'ok' ? installed.state : `${installed.state} (${installed.flag})`;
    changes.push({ what: 'state', from, to: 'installed' });
  }
  if (missing.length > 0) {
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : '';
    changes.push({ what: 'files', from: `missing: ${missing.slice(0, 3).join(', ')}${more}`, to: 'there' });
  }
  if (wanted === LATEST) {
    const latest = d.memory?.latest;
    // A clock that was ahead once must not put it off for ever.
    if (latest === undefined || latest.againMs <= nowMs || latest.againMs > nowMs + refreshMs(spec))
      changes.push({ what: 'lists', from: latest === undefined ? 'never looked at' : 'old', to: 'fresh' });
    else if (compareVersions(installed.version, latest.version) < 0)
      changes.push({ what: 'version', from: installed.version, to: latest.version });
  } else if (wanted !== PRESENT && !fits(installed.version, wanted)) {
    changes.push({ what: 'version', from: installed.version, to: wanted });
  }
  const [isHeld, hold] = [installed.want === 'hold', holdOf(d)];
  if (hold !== undefined && isHeld !== hold)
    changes.push({ what: 'hold', from: isHeld ? 'held' : 'not held', to: hold ? 'held' : 'not held' });
  return changes;
}

function isToInstall(spec: PackageSpec, installed: Installed | undefined, version: string): boolean {
  if (installed === undefined || isBroken(installed)) return true;
  const order = compareVersions(installed.version, version);
  return wantedOf(spec) === LATEST ? order < 0 : order !== 0;
}

/** Somebody's hold is not overruled by silence. @throws Stalled('Held') */
function refuseHeld(d: D, installed: Installed | undefined, version: string): void {
  if (installed?.want !== 'hold' || holdOf(d) !== undefined || installed.version === version) return;
  const message = `${d.spec.name} is held at ${installed.version}, and ${version} is wanted: write hold: true or false`;
  throw new Stalled('Held', message);
}

function remember(
  spec: PackageSpec,
  before: Memory,
  { version, lists }: Awaited<ReturnType<typeof lookUp>>,
  nowMs: number,
): Memory {
  const { lists: _, latest: __, ...rest } = before;
  const isFresh = lists.result === 'done';
  return {
    ...rest,
    ...(isFresh ? {} : { lists: lists.message }),
    ...(wantedOf(spec) === LATEST
      ? { latest: { version, againMs: nowMs + (isFresh ? refreshMs(spec) : REFRESH_AGAIN_MS) } }
      : {}),
  };
}

/**
 * Gets the package to a version. Following `latest` is healing as far as the loop knows, which has no way back for
 * that: so here the version before is put back when a newer one can't be installed.
 */
async function upgrade(
  d: D,
  before: Installed | undefined,
  version: string,
  memory: Memory,
  io: Io,
  signal: AbortSignal,
): Promise<Memory> {
  const { spec } = d;
  const isFollowing = d.heal && wantedOf(spec) === LATEST && before !== undefined && !isBroken(before);
  const kept = {
    ...memory,
    ...(memory.latest && before ? { latest: { ...memory.latest, version: before.version } } : {}),
  };
  if (isFollowing && memory.failed?.version === version) return kept;
  const { failed: _, ...good } = memory;
  const args = installing(spec, version);
  try {
    await simulate(spec.name, args, leaveOf(spec), io, signal);
    await install(args, leaveOf(spec), io, signal);
    return good;
  } catch (error) {
    if (!(error instanceof Stalled) || !isFollowing) throw error;
    const now = readPackage(io.files, spec.name);
    if (now?.version !== before.version || isBroken(now)) await putBack(spec.name, before, io, signal);
    return { ...kept, failed: { version, words: `${error.message}; ${before.version} stays` } };
  }
}

/** From the lists, or from what apt still keeps of what it once fetched. */
async function putBack(
  name: string,
  { version, architecture }: { version: string; architecture: string },
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const policy = await apt(io, 'apt-cache', ['madison', name], { timeoutMs: 60_000, signal });
  const isKnown = policy.stdout.split('\n').some((line) => line.split('|')[1]?.trim() === version);
  const archive = `/var/cache/apt/archives/${name}_${version.replaceAll(':', '%3a')}_${architecture}.deb`;
  const isKept = !isKnown && io.files.read(archive).type === 'file';
  const args = isKept ? ['install', io.files.hostPath?.(archive) ?? archive] : installing({ name }, version);
  await simulate(name, args, ALL_LEAVE, io, signal);
  await install(args, ALL_LEAVE, io, signal);
}

async function undo(
  { name, installed: was, purge, first }: Before,
  { memory }: InventoryRecord<Memory>,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const now = readPackage(io.files, name);
  if (was === null) {
    if (now !== undefined) await remove(name, memory?.purge ?? purge, io, signal);
    return;
  }
  // A package that was there before us stays when its document leaves, at the version that it has by then: older ones
  // come back only when a change failed, which is the case where nothing succeeded since the snapshot was taken.
  const isFarewell = first && memory !== undefined;
  if (!isFarewell && (now?.version !== was.version || isBroken(now))) await putBack(name, was, io, signal);
  if (!isFarewell || memory.holds) await setHold(name, was.want === 'hold', io);
}
