// What Alloy loads, all of it: the document's files, and those of others where it loads the whole directory. Whether it
// does, is what it was started with, and what the document says.
import path from 'node:path';
import { Stalled, Waiting } from '../../api/errors.ts';
import type { Desired } from '../kind.ts';
import type { WantedFile } from '../managed-file.ts';
import { type ResolvedBind, uncovered } from '../mounts-wanted.ts';
import type { Ports } from '../ports.ts';
import type { AlloyAnswers } from './alloy-api.ts';
import { type CommandLine, type Difference, differences, type Loads, validateFlags } from './command-line.ts';
import { missingComponents } from './components.ts';
import {
  directoryHash,
  directoryOf,
  droppedFiles,
  type Neighbours,
  neighboursOf,
  pathsOf,
  placeOf,
  type Written,
  wantedFiles,
  wholeDirectory,
} from './files.ts';
import { lockouts, speaksTls } from './http-block.ts';
import { targetImage } from './runner.ts';
import type { AlloyConfigSpec } from './schema.ts';
import { hostValidator, imageValidator, neighbourRefused, validate } from './validate.ts';

type Io = Pick<Ports, 'files' | 'processes' | 'docker' | 'mounts'>;
type D = Desired<AlloyConfigSpec, Written>;

export const short = (hash: string): string => hash.slice(0, 12);
export const binaryOf = (spec: AlloyConfigSpec): string => spec.binary ?? 'alloy';
const NEIGHBOUR_AGAIN_MS = 60_000;

/** What the validating container sees of the host. */
export function bindOf(d: D, { mounts }: Pick<Io, 'mounts'>): ResolvedBind {
  const source = directoryOf(d.spec);
  return uncovered({ source, target: source, readOnly: true, isRecursive: false }, mounts);
}

/** What Alloy loads, as one text and by its hash. */
export interface Whole {
  readonly text: string;
  readonly hash: string;
}

/** What the config path of a running Alloy is to us; undefined where it is neither, as a container may name it. */
function loadsOf(
  spec: AlloyConfigSpec,
  config: string | undefined,
  { files }: Pick<Io, 'files'>,
): Loads | undefined {
  if (config === undefined) return undefined;
  const names = (at: string): string[] => {
    const host = files.hostPath?.(at) ?? at;
    try {
      const real = files.realPath(at, true);
      return [at, host, real, files.hostPath?.(real) ?? real];
    } catch {
      return [at, host];
    }
  };
  const asked = names(config);
  const is = (at: string): boolean => names(at).some((name) => asked.includes(name));
  if (is(directoryOf(spec))) return 'directory';
  return pathsOf(spec).some(is) ? 'file' : undefined;
}

/** Whether Alloy loads all that lies in the directory: as the document says, or else as the running one does. */
function isWhole(spec: AlloyConfigSpec, running: CommandLine | undefined, io: Pick<Io, 'files'>): boolean {
  if (spec.files !== undefined) return true;
  return spec.directory ?? loadsOf(spec, running?.config, io) === 'directory';
}

/** Files of others that are loaded as well; undefined where Alloy does not load the directory. */
function neighboursIn(
  spec: AlloyConfigSpec,
  running: CommandLine | undefined,
  io: Pick<Io, 'files'>,
): Neighbours | undefined {
  return isWhole(spec, running, io) ? neighboursOf(directoryOf(spec), pathsOf(spec), io.files) : undefined;
}

export function wholeOf(
  spec: AlloyConfigSpec,
  wanted: readonly WantedFile[],
  running: CommandLine | undefined,
  io: Pick<Io, 'files'>,
): Whole {
  const all = wholeDirectory(wanted, neighboursIn(spec, running, io)?.contents ?? new Map());
  return { text: [...all.values()].join('\n'), hash: directoryHash(all) };
}

/** @param isRun what is ours is loaded, whatever Alloy was started with. */
export function differencesOf(
  spec: AlloyConfigSpec,
  running: CommandLine | undefined,
  isRun: boolean,
  io: Pick<Io, 'files'>,
): Difference[] {
  const loads = loadsOf(spec, running?.config, io);
  const found = differences(spec, running, loads);
  // In a container the same file may have another name.
  if (running?.config === undefined || loads !== undefined || isRun || spec.container !== undefined)
    return found;
  const text = `the config ${running.config}, and the document keeps ${placeOf(spec)}`;
  return [...found, { text, standsInWay: true }];
}

export function runs(alloy: AlloyAnswers, hash: string): boolean {
  return alloy.hashes.includes(hash);
}

/** What Alloy runs instead of this text, for people; undefined when it runs it, or it can't be seen. */
export function otherThan({ text, hash }: Whole, alloy: AlloyAnswers): string | undefined {
  // Before its first load it has none; it loads the file by itself.
  if (!alloy.ready || alloy.hashes.length === 0) return undefined;
  if (!runs(alloy, hash)) return alloy.hashes.map(short).join(', ');
  // The hash is of the file that was tried last, and these say that Alloy refused it.
  if (alloy.lastLoadFailed) return 'an earlier config, since Alloy could not read this one';
  const missing = missingComponents(text, alloy.components ?? []);
  if (alloy.components === undefined || missing.length === 0) return undefined;
  return `an earlier config, without ${missing.join(', ')}`;
}

/** @returns the files of others, where the whole directory is loaded. @throws Stalled */
export async function validated(
  d: D,
  running: CommandLine | undefined,
  io: Io,
  signal: AbortSignal,
): Promise<Neighbours | undefined> {
  const { spec } = d;
  const neighbours = neighboursIn(spec, running, io);
  const droppedPaths = droppedFiles(d, io.files);
  const standing = new Map<string, Buffer>();
  for (const at of [...pathsOf(spec), ...droppedPaths]) {
    const state = io.files.read(at);
    if (state.type === 'file' && at.endsWith('.alloy')) standing.set(path.basename(at), state.content);
  }
  // What the document drops is none of its neighbours.
  const dropped = new Set(droppedPaths.map((at) => path.basename(at)));
  const others = neighbours && {
    ...neighbours,
    contents: new Map([...neighbours.contents].filter(([name]) => !dropped.has(name))),
  };
  const validator =
    spec.container === undefined
      ? hostValidator(binaryOf(spec), io, signal)
      : imageValidator(d, await targetImage(spec.container, io, signal), bindOf(d, io), io, signal);
  const own = wantedFiles(d, {});
  await validate(
    { own, flags: validateFlags(spec, running), neighbours: others, standing },
    io.files,
    validator,
  );
  return others;
}

/** A reload with a fault in a file of others would tear the pipeline down. @throws Waiting */
export async function requireSoundNeighbours(
  d: D,
  running: CommandLine | undefined,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  if (!isWhole(d.spec, running, io)) return;
  try {
    requireOpen(d, await validated(d, running, io, signal));
  } catch (error) {
    if (!(error instanceof Stalled)) throw error;
    const message = `${error.message} (this document's files are as git says, and Alloy goes on with what it loaded before)`;
    throw new Waiting('NeighbourRefused', message, NEIGHBOUR_AGAIN_MS, { cause: error });
  }
}

/** @throws Stalled('LockedOut') for a config that closes Alloy's API to us once it is loaded. */
export function requireOpen(d: D, neighbours: Neighbours | undefined): void {
  const { http } = d.spec;
  const basicAuth = http?.basicAuth && {
    username: http.basicAuth.username,
    password: d.content(http.basicAuth.password).bytes.toString(),
  };
  const credentials = { basicAuth, tls: http?.tls !== undefined };
  const own = wantedFiles(d, {});
  for (const { path: at, bytes } of own) {
    const [first] = lockouts(bytes.toString(), credentials);
    if (first !== undefined)
      throw new Stalled('LockedOut', `${at}:${first.line}:${first.column}: ${first.message}`);
  }
  const directory = directoryOf(d.spec);
  for (const [name, content] of neighbours?.contents ?? []) {
    const [first] = lockouts(content.toString(), credentials);
    if (first !== undefined)
      throw neighbourRefused(`${path.join(directory, name)}:${first.line}:${first.column}: ${first.message}`);
  }
  const texts = [...own.map(({ bytes }) => bytes), ...(neighbours?.contents.values() ?? [])];
  if (credentials.tls && !texts.some((text) => speaksTls(text.toString()))) {
    const message = `${placeOf(d.spec)} has no http { tls } block, so Alloy’s API would not speak TLS, as spec.http.tls has it: leave one out, or give both`;
    throw new Stalled('LockedOut', message);
  }
}
