// AptRepository: a source that apt takes packages from, with the key that signs it; both files, and an index that apt
// has fetched and found signed by that key.
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import type { Reason } from '../../api/reasons.ts';
import { DPKG_LOCK, update } from '../apt.ts';
import { type Change, type Desired, defineKind, type Permission } from '../kind.ts';
import {
  fileChanges,
  restoreFile,
  SavedFile,
  saveFile,
  type WantedFile,
  writeFile,
} from '../managed-file.ts';
import type { FileState, Files, Ports } from '../ports.ts';
import { placesOf, targetsOf } from '../shared/places.ts';
import { no, YES } from '../shared/verdicts.ts';
import { watchAll } from '../watch-all.ts';
import { checkRepository } from './check.ts';
import { conflictOf, keyringSeen, OTHER_SOURCES, wouldConflict } from './conflict.ts';
import {
  exactly,
  expiryConcern,
  expiryFor,
  fingerprintsOf,
  isInGit,
  type Keyring,
  obtain,
  pinned,
} from './key.ts';
import { signersOf } from './openpgp.ts';
import { AptRepositorySpec } from './schema.ts';
import { indexPaths, keyringPath, sourcePath, sourceText } from './source.ts';

type Needs = 'files' | 'processes' | 'http' | 'clock';
type Io = Pick<Ports, Needs>;

interface Observed {
  readonly source: FileState;
  readonly keyring: FileState;
  /** The path of the keyring as apt sees it. */
  readonly keyringSeen: string;
  /** Suites whose index apt does not have. */
  readonly unfetched: readonly string[];
  /** Of the indexes that are there, as `signersOf` gives them. */
  readonly signers: readonly string[];
  /** Why apt refuses all of the host's sources over this one; not asked while anything differs. */
  readonly conflict: string | undefined;
  readonly nowMs: number;
}

const Before = z.object({ files: z.array(SavedFile) });
type Before = z.infer<typeof Before>;

const Memory = z.object({
  /** The keyring's bytes in base64, so that putting it back needs no network. */
  keyring: z.base64(),
  /** When a key that had expired was last taken anew, unix milliseconds. */
  renewedMs: z.number().optional(),
});
type Memory = z.infer<typeof Memory>;
type D = Desired<AptRepositorySpec, Memory>;

/** What apt says of a signature by a key that the keyring does not have, or not any more. */
const KEY_TROUBLE = /NO_PUBKEY|EXPKEYSIG|KEYEXPIRED|REVKEYSIG/;
const RENEW_AGAIN_MS = 6 * 3_600_000;
const DAY_MS = 86_400_000;

export const aptRepository = defineKind<AptRepositorySpec, Observed, Needs, Before, Memory>({
  kind: 'AptRepository',
  scope: 'host',
  spec: AptRepositorySpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['files', 'processes', 'http', 'clock'],
  // Each fetches an index over the network.
  healLimit: { burst: 5, perSecond: 1 / 60 },

  place: sourcePath,
  owns: (spec) => [`file:${sourcePath(spec)}`, `file:${keyringPath(spec)}`],
  locks: () => [DPKG_LOCK],

  permissions: (spec) => [
    { type: 'path', value: sourcePath(spec) },
    { type: 'path', value: keyringPath(spec) },
    ...spec.uris.flatMap((uri): Permission[] => [
      { type: 'package', value: `repository:${uri}` },
      // See docs/decisions/: choosing among the host's own sources is no more than `package`.
      {
        type: 'root-equivalent',
        value: `repository:${uri}`,
        why: 'whoever holds its key can replace any package of this host, and packages run programs as root',
      },
    ]),
    ...(spec.key.url === undefined
      ? []
      : [{ type: 'url' as const, value: new URL(spec.key.url).origin, why: 'the key is fetched there' }]),
    ...(spec.key.file === undefined
      ? []
      : [{ type: 'path' as const, value: spec.key.file, why: 'the key is read there' }]),
  ],

  resolve: async ({ spec }, { files }) => [
    ...placesOf(files, [sourcePath(spec), keyringPath(spec)]),
    ...targetsOf(files, spec.key.file === undefined ? [] : [spec.key.file], 'the key is read there'),
  ],

  check: checkRepository,

  async observe(d, io, signal) {
    const { files } = io;
    const isThere = (path: string) => files.read(path).type !== 'absent';
    const observed = {
      conflict: undefined,
      source: files.read(sourcePath(d.spec)),
      keyring: files.read(keyringPath(d.spec)),
      keyringSeen: keyringSeen(files, d.spec),
      unfetched: indexPaths(d.spec).flatMap(({ of, paths }) => (paths.some(isThere) ? [] : [of])),
      signers: indexPaths(d.spec).flatMap(({ paths }) => signersIn(paths, files)),
      nowMs: io.clock.now(),
    };
    if (differences(d, observed).length > 0) return observed;
    return { ...observed, conflict: await conflictOf(d.spec, io, signal) };
  },

  diff: differences,

  assess(d, observed) {
    const { conflict, nowMs, signers } = observed;
    if (conflict !== undefined) return no('SourceConflict', conflict);
    const keyring = wantedKeyring(d, observed.keyring);
    const expiresMs = keyring && expiryFor(keyring, signers);
    if (expiresMs === undefined || expiresMs > nowMs) return YES;
    const day = new Date(expiresMs).toISOString().slice(0, 10);
    return no('KeyExpired', `the signing key expired on ${day}: give one that the repository signs with now`);
  },

  async prepare(d, observed, io, signal) {
    // Before anything is written: that there is a key, and that it is the pinned one.
    if (wantedKeyring(d, observed.keyring) === undefined) await obtain(d.spec, io, signal);
    // And that apt goes on working with it, also while another program keeps us waiting for its lock.
    const conflict = await wouldConflict(d.spec, io, signal);
    if (conflict !== undefined) throw new Stalled('SourceConflict', conflict);
    const files = [
      saveFile(io.files, sourcePath(d.spec), observed.source),
      saveFile(io.files, keyringPath(d.spec), observed.keyring),
    ];
    return { existed: observed.source.type !== 'absent', before: { files } };
  },

  async apply(changes, d, io, signal) {
    const { spec } = d;
    const now = io.clock.now();
    const known = wantedKeyring(d, io.files.read(keyringPath(spec)));
    const signers = indexPaths(spec).flatMap(({ paths }) => signersIn(paths, io.files));
    let isRenewed = known === undefined || mayRenew(d, known, { signers, nowMs: now });
    let keyring = isRenewed || known === undefined ? await obtain(spec, io, signal) : known;
    if (changes.length > 0) {
      // In this order: a source without its key is an error for whoever runs apt meanwhile.
      writeFile(io.files, keyringFile(spec, keyring), !d.heal);
      writeFile(io.files, sourceFile(spec, keyringSeen(io.files, spec)), !d.heal);
    }
    try {
      await fetchIndex(d, io, signal);
    } catch (error) {
      // The publisher signs with another subkey by now, which the key as it is published today has.
      const isKeys = error instanceof Error && KEY_TROUBLE.test(error.message);
      if (!isKeys || isRenewed || isInGit(spec)) throw error;
      const renewed = await obtain(spec, io, signal);
      if (renewed.bytes.equals(keyring.bytes)) throw error;
      [keyring, isRenewed] = [renewed, true];
      writeFile(io.files, keyringFile(spec, keyring), !d.heal);
      await fetchIndex(d, io, signal);
    }
    const renewedMs = isRenewed ? now : d.memory?.renewedMs;
    return {
      keyring: keyring.bytes.toString('base64'),
      ...(renewedMs === undefined ? {} : { renewedMs }),
    };
  },

  async undo(before, _record, { files }) {
    for (const saved of before.files) restoreFile(files, saved);
  },

  watch(d, io, wake, signal) {
    const on = (path: string) => (w: () => void, s: AbortSignal) => io.files.watch(path, w, s);
    const indexes = indexPaths(d.spec).flatMap(({ paths }) => paths);
    return watchAll(
      io.clock,
      wake,
      signal,
      on(sourcePath(d.spec)),
      [keyringPath(d.spec), ...indexes, ...OTHER_SOURCES].map(on),
    );
  },

  // A repository that was refused may be mended by its publisher, and nothing here would tell: once a day it is tried.
  version: async (_d, { clock }) => `day ${Math.floor(clock.now() / DAY_MS)}`,

  conditions: (d, observed) => expiryConcern(d.spec, wantedKeyring(d, observed.keyring), observed),
});

function differences(d: D, observed: Observed): Change[] {
  const changes: Change[] = [];
  const wanted = wantedKeyring(d, observed.keyring);
  const names = fingerprintsOf(d.spec).join(', ');
  if (wanted === undefined) {
    changes.push({ what: 'keyring', from: describe(observed.keyring), to: names });
  } else {
    for (const change of fileChanges('keyring', observed.keyring, keyringFile(d.spec, wanted))) {
      // Binary: nobody reads its bytes.
      const { text: _, ...rest } = change;
      changes.push(
        change.what === 'keyring' ? { ...rest, from: describe(observed.keyring), to: names } : rest,
      );
    }
  }
  if (wanted !== undefined && mayRenew(d, wanted, observed)) {
    const day = new Date(expiryFor(wanted, observed.signers)!).toISOString().slice(0, 10);
    changes.push({ what: 'key', from: `expired on ${day}`, to: 'taken anew' });
  }
  changes.push(...fileChanges('source', observed.source, sourceFile(d.spec, observed.keyringSeen)));
  for (const of of observed.unfetched)
    changes.push({ what: `index of ${of}`, from: 'absent', to: 'fetched' });
  return changes;
}

/** @throws Stalled when apt refuses the repository; Error while nobody answers; Waiting while it is locked. */
async function fetchIndex(d: D, io: Io, signal: AbortSignal): Promise<void> {
  const { spec } = d;
  const file = io.files.hostPath?.(sourcePath(spec)) ?? sourcePath(spec);
  const only = [`Dir::Etc::sourcelist=${file}`, 'Dir::Etc::sourceparts=-', 'APT::Get::List-Cleanup=0'];
  const updated = await update(
    io,
    only.flatMap((option) => ['-o', option]),
    signal,
  );
  if (updated.result === 'refused') throw refusal(d, 'UpdateRefused', updated.message);
  if (updated.result === 'unreachable') {
    const isThere = (path: string) => io.files.read(path).type !== 'absent';
    // What was edited is back; an index from before is there, and the next refresh brings the newest.
    if (d.heal && indexPaths(spec).every(({ paths }) => paths.some(isThere))) return;
    throw new Error(updated.message);
  }
  const conflict = await conflictOf(spec, io, signal);
  if (conflict !== undefined) throw refusal(d, 'SourceConflict', conflict);
}

/** A new state is undone and quarantined; one that was confirmed is only kept trying. */
function refusal(d: D, reason: Reason, words: string): Error {
  return d.heal ? new Error(words) : new Stalled(reason, words);
}

/**
 * What the keyring should hold, as far as that is known without asking anybody: git's key, the one that was obtained
 * before, or what is there already, when it is the pinned key alone.
 */
function wantedKeyring(d: D, found: FileState): Keyring | undefined {
  const { spec } = d;
  if (isInGit(spec)) return pinned(spec, Buffer.from(spec.key.content ?? ''), 'the manifest');
  const memory = d.memory;
  const kept = memory === undefined ? undefined : exactly(spec, Buffer.from(memory.keyring, 'base64'));
  return kept ?? (found.type === 'file' ? exactly(spec, found.content) : undefined);
}

function mayRenew(d: D, keyring: Keyring, { signers, nowMs }: Pick<Observed, 'signers' | 'nowMs'>): boolean {
  const expiresMs = expiryFor(keyring, signers);
  if (isInGit(d.spec) || expiresMs === undefined || expiresMs > nowMs) return false;
  return nowMs - (d.memory?.renewedMs ?? 0) > RENEW_AGAIN_MS;
}

/** Of the index that apt keeps. */
function signersIn([inRelease, release]: readonly [string, string], files: Files): string[] {
  const signed = [inRelease, `${release}.gpg`].map((path) => files.read(path));
  return signed.flatMap((state) => (state.type === 'file' ? signersOf(state.content) : []));
}

function keyringFile(spec: AptRepositorySpec, { bytes }: Keyring): WantedFile {
  return { path: keyringPath(spec), bytes, secret: false, mode: 0o644 };
}

function sourceFile(spec: AptRepositorySpec, keyring: string): WantedFile {
  const bytes = Buffer.from(sourceText(spec, keyring));
  return { path: sourcePath(spec), bytes, secret: false, mode: 0o644 };
}

function describe(state: FileState): string {
  return state.type === 'file' ? 'another one' : state.type;
}
