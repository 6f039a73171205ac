// Whether somebody is in the middle of writing the config: docs/decisions/0071. No file event says that a writer is done,
// so it goes by what can be known: since when it rests, who has it open, and whether its end is gone.
import { isDeepStrictEqual } from 'node:util';
import { Waiting } from '../../api/errors.ts';
import type { Clock, FileState, Files } from '../ports.ts';
import { withoutBlocks } from './block.ts';

/** A config as it was read. */
export interface Read {
  readonly path: string;
  readonly config: Extract<FileState, { type: 'file' }>;
  readonly text: string;
}

type Io = { readonly files: Files; readonly clock: Clock };

/** A file that changed within this time may be half of what somebody is writing. */
const REST_MS = 3_000;
/** The same for one that has lost its end. */
const CUT_OFF_REST_MS = 60_000;
/** Who has it open and has written nothing for so long is in the middle of nothing. */
const OPEN_MS = 300_000;
const OPEN_AGAIN_MS = 1_000;
const AGAIN_MS = 10_000;
const LAST_LINES = 5;

/** When we wrote a config last, by the host's files: nobody has to wait for what we wrote whole. */
const written = new WeakMap<Files, Map<string, number>>();
/** How a config ended when it was as it is to be. */
const ends = new WeakMap<Files, Map<string, End>>();

interface End {
  readonly lines: number;
  /** Several, since one may look like another. */
  readonly last: readonly string[];
  readonly mtimeMs: number;
}

function of<T>(all: WeakMap<Files, Map<string, T>>, files: Files): Map<string, T> {
  const found = all.get(files) ?? new Map<string, T>();
  all.set(files, found);
  return found;
}

/**
 * People edit this file, and an editor empties it before it fills it, perhaps in steps. What stands there in between is
 * never built upon: the rest of what they write would be lost, or mixed with ours.
 * @throws Waiting
 */
export function requireAtRest(read: Read, io: Io): void {
  requireDone(read, io);
  if (read.text.trim() !== '') return;
  throw new Waiting('Empty', `${read.path} is empty: is it being edited, or has it been lost?`, AGAIN_MS);
}

/** As far as the writing goes; also for what is only loaded. @throws Waiting */
export function requireDone(read: Read, { files, clock }: Io): void {
  const { path, config } = read;
  const { mtimeMs = 0 } = config;
  if (written.get(files)?.get(path) === mtimeMs) return;
  const ageMs = clock.now() - mtimeMs;
  const age = `${(ageMs / 1000).toFixed(1)} s ago`;
  if (ageMs >= 0 && ageMs < REST_MS) {
    throw new Waiting('BeingEdited', `${path} was written ${age}, and may be half done`, REST_MS - ageMs);
  }
  const writer = ageMs < OPEN_MS ? files.writerOf?.(path) : undefined;
  if (writer !== undefined) {
    const message = `${path} was written ${age}, and ${writer} has it open for more: end that, if it is stuck`;
    throw new Waiting('BeingEdited', message, OPEN_AGAIN_MS);
  }
  const before = ends.get(files)?.get(path);
  if (before === undefined || ageMs < 0 || ageMs >= CUT_OFF_REST_MS || !isCutOff(before, endOf(read))) return;
  const message = `${path} was written ${age}, and has lost its end (“${before.last.at(-1)?.slice(0, 80)}”): is the rest still to come?`;
  throw new Waiting('BeingEdited', message, CUT_OFF_REST_MS - ageMs);
}

/** What stands there is whole, and as it is to be: what has less, later, may be half of it. */
export function noteWhole(read: Read, { files, clock }: Io): void {
  const { mtimeMs = 0 } = read.config;
  const known = of(ends, files);
  if (known.get(read.path)?.mtimeMs === mtimeMs) return;
  const isOurs = written.get(files)?.get(read.path) === mtimeMs;
  if (isOurs || clock.now() - mtimeMs >= CUT_OFF_REST_MS) known.set(read.path, endOf(read));
}

/** @throws Waiting where it is not what was read any more: programs were asked about it meanwhile. */
export function requireUnchanged({ path, config }: Read, files: Files): void {
  const now = files.read(path);
  if (now.type === 'file' && now.mtimeMs === config.mtimeMs && now.content.equals(config.content)) return;
  throw new Waiting('BeingEdited', `${path} was changed while it was looked at`, REST_MS);
}

export function noteWritten(path: string, text: string, files: Files): void {
  const now = files.read(path);
  if (now.type !== 'file' || now.content.toString() !== text) return;
  of(written, files).set(path, now.mtimeMs ?? 0);
}

function endOf({ text, config }: Read): End {
  const lines = withoutBlocks(text)
    .split('\n')
    // Nor the keys that came with our blocks.
    .filter((line) => line.trim() !== '' && !line.trimEnd().endsWith(': # homeostat'));
  return {
    lines: lines.length,
    last: lines.slice(-LAST_LINES).map((line) => line.trim()),
    mtimeMs: config.mtimeMs ?? 0,
  };
}

const isCutOff = (before: End, now: End): boolean =>
  now.lines > 0 && now.lines < before.lines && !isDeepStrictEqual(now.last, before.last);
