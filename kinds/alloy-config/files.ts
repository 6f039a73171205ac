// The files of a config: those of the document, and what else lies in a directory that Alloy loads as a whole, which is
// read and never touched.
import path from 'node:path';
import { inWords } from '../../api/errors.ts';
import { sha256 } from '../../api/json.ts';
import type { Desired } from '../kind.ts';
import type { WantedFile } from '../managed-file.ts';
import type { Files } from '../ports.ts';
import type { AlloyConfigSpec } from './schema.ts';

/** What a snapshot is about: the file, or the directory, whose files may come and go. */
export function placeOf(spec: AlloyConfigSpec): string {
  return spec.files === undefined ? pathsOf(spec)[0]! : directoryOf(spec);
}

/** Where the config is. */
export function directoryOf(spec: AlloyConfigSpec): string {
  const at = path.normalize(
    spec.path ?? (spec.files === undefined ? '/etc/alloy/config.alloy' : '/etc/alloy'),
  );
  return spec.files === undefined ? path.dirname(at) : at;
}

/** The document's own, in their order. */
export function pathsOf(spec: AlloyConfigSpec): string[] {
  if (spec.files === undefined) return [path.normalize(spec.path ?? '/etc/alloy/config.alloy')];
  return Object.keys(spec.files)
    .sort()
    .map((name) => path.join(directoryOf(spec), name));
}

export interface IDs {
  readonly uid?: number;
  readonly gid?: number;
}

export function wantedFiles(d: Pick<Desired<AlloyConfigSpec>, 'spec' | 'content'>, ids: IDs): WantedFile[] {
  const { spec } = d;
  return pathsOf(spec).map((at) => {
    const { content } = spec.files === undefined ? spec : spec.files[path.basename(at)]!;
    return {
      ...d.content(content ?? ''),
      path: at,
      mode: Number.parseInt(spec.mode ?? (spec.group === undefined ? '0644' : '0640'), 8),
      uid: ids.uid,
      gid: ids.gid,
      inPlace: spec.inPlace === true,
    };
  });
}

/** What apply remembers: the hash of each file that it left there, by path. */
export interface Written {
  readonly written: Readonly<Record<string, string>>;
}

/** What the document wrote into its directory, and is none of its files any more. What somebody has changed since is theirs. */
export function droppedFiles({ spec, memory }: Desired<AlloyConfigSpec, Written>, files: Files): string[] {
  if (spec.files === undefined) return [];
  const own = new Set(pathsOf(spec));
  const directory = directoryOf(spec);
  return Object.entries(memory?.written ?? {}).flatMap(([at, hash]) => {
    if (path.dirname(at) !== directory || own.has(at)) return [];
    const state = files.read(at);
    return state.type === 'file' && sha256(state.content) === hash ? [at] : [];
  });
}

/** Files of others in a directory that is loaded as a whole. */
export interface Neighbours {
  /** By name. */
  readonly contents: ReadonlyMap<string, Buffer>;
  /** Why one can't be read, as Alloy can't, with its path; undefined where all can. */
  readonly unreadable: string | undefined;
}

export function neighboursOf(directory: string, own: readonly string[], files: Files): Neighbours {
  const contents = new Map<string, Buffer>();
  let unreadable: string | undefined;
  for (const name of [...(files.list?.(directory) ?? [])].sort()) {
    const at = path.join(directory, name);
    if (!name.endsWith('.alloy') || own.includes(at)) continue;
    try {
      // Alloy follows links, and leaves directories out.
      const state = files.read(files.realPath(at, true));
      if (state.type === 'file') contents.set(name, state.content);
      else if (state.type !== 'directory') unreadable ??= `${at} leads to nothing that can be read`;
    } catch (error) {
      unreadable ??= `${at} can’t be read: ${inWords(error)}`;
    }
  }
  return { contents, unreadable };
}

/** Of all files of a directory, as Alloy has it: of their contents, in the order of their names. */
export function directoryHash(contents: ReadonlyMap<string, Buffer>): string {
  const names = [...contents.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return sha256(Buffer.concat(names.map((name) => contents.get(name)!)));
}

/** The whole directory as it is to be: the document's files among those of others. */
export function wholeDirectory(
  wanted: readonly Pick<WantedFile, 'path' | 'bytes'>[],
  others: Neighbours['contents'],
): Map<string, Buffer> {
  return new Map([...others, ...wanted.map(({ path: at, bytes }) => [path.basename(at), bytes] as const)]);
}
