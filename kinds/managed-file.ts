// A file that a kind keeps beside something else (a unit file, a configuration): how it differs, how it is
// written, and how it comes back. Pure, or through the Files port.
import path from 'node:path';
import * as z from 'zod';
import { errnoOf, Stalled } from '../api/errors.ts';
import { octal } from './fields.ts';
import type { Change } from './kind.ts';
import type { FileAttributes, FileState, Files } from './ports.ts';

/** What a path should hold; missing attributes stay as they are. */
export interface WantedFile {
  readonly path: string;
  readonly bytes: Buffer;
  readonly secret: boolean;
  readonly mode?: number;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly inPlace?: boolean;
}

/**
 * @param what how the difference in content is called; mode, owner and group have their own names. What a file with other names
 * held is shown as a secret is: it may be one that no manifest may read.
 */
export function fileChanges(what: string, state: FileState, wanted: WantedFile): Change[] {
  // Made when somebody looks at them: a heal does not.
  const text = (before?: Buffer): NonNullable<Change['text']> => ({
    get before() {
      return before?.toString() ?? '';
    },
    get after() {
      return wanted.bytes.toString();
    },
    secret: wanted.secret || (state.type === 'file' && state.links !== undefined),
  });
  if (state.type === 'absent') return [{ what, from: 'absent', to: sizeOf(wanted.bytes), text: text() }];
  if (state.type !== 'file') return [{ what, from: `a ${state.type}`, to: 'a file', text: text() }];
  const changes: Change[] = [];
  if (!wanted.bytes.equals(state.content)) {
    changes.push({
      what,
      from: sizeOf(state.content),
      to: sizeOf(wanted.bytes),
      text: text(state.content),
    });
  }
  return [...changes, ...attributeChanges(state, wanted)];
}

/** Of a file or a directory. */
export function attributeChanges(
  state: Required<FileAttributes>,
  wanted: Omit<WantedFile, 'bytes' | 'secret'>,
): Change[] {
  const changes: Change[] = [];
  if (wanted.mode !== undefined && wanted.mode !== state.mode) {
    changes.push({ what: `mode of ${wanted.path}`, from: octal(state.mode), to: octal(wanted.mode) });
  }
  for (const id of ['uid', 'gid'] as const) {
    if (wanted[id] !== undefined && wanted[id] !== state[id]) {
      const name = id === 'uid' ? 'owner' : 'group';
      changes.push({ what: `${name} of ${wanted.path}`, from: `${state[id]}`, to: `${wanted[id]}` });
    }
  }
  return changes;
}

/**
 * @param isNew content that was not there before: readers see it whole or not at all after a power failure, too.
 * @param now what stands there, for callers that have looked
 */
export function writeFile(
  files: Files,
  wanted: WantedFile,
  isNew: boolean,
  now: FileState = files.read(wanted.path),
): void {
  const { path: at, bytes } = wanted;
  if (keepsInode(wanted, now)) {
    const attributes = attributesOf(wanted, { type: 'absent' });
    if (isSame(wanted, now)) files.setAttributes(at, attributes);
    else files.rewriteInPlace(at, bytes, attributes);
    return;
  }
  files.replaceAtomic(at, bytes, attributesOf(wanted, now), { durable: isNew && 'content' });
}

/** As `writeFile` with content that was not there before; many that are written at the same time share the disk. */
export async function writeNewFile(files: Files, wanted: WantedFile, now: FileState): Promise<void> {
  if (keepsInode(wanted, now)) return writeFile(files, wanted, true, now);
  await files.replaceFlushed(wanted.path, wanted.bytes, attributesOf(wanted, now));
}

/** In place it is refused for a file with other names, which would hold it, too; any other gets an inode of its own. */
const keepsInode = (wanted: WantedFile, now: FileState): boolean =>
  now.type === 'file' && (wanted.inPlace === true || isSame(wanted, now));

const isSame = ({ bytes }: WantedFile, now: FileState): boolean =>
  now.type === 'file' && now.links === undefined && bytes.equals(now.content);

/** A replaced file keeps the owner that nobody named. */
function attributesOf({ mode = 0o644, uid, gid }: WantedFile, now: FileState): FileAttributes {
  return {
    ...(now.type === 'file' ? { uid: now.uid, gid: now.gid } : {}),
    mode,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  };
}

/** A path's state as it is kept in snapshots. */
export const SavedFile = z.discriminatedUnion('type', [
  z.object({
    path: z.string(),
    type: z.literal('absent'),
    /** Directories above it that were not there either, the deepest first: made with it, they go with it. */
    parents: z.array(z.string()).optional(),
  }),
  z.object({
    path: z.string(),
    type: z.literal('file'),
    content: z.base64(),
    mode: z.int(),
    uid: z.int(),
    gid: z.int(),
    inPlace: z.boolean(),
  }),
  z.object({ path: z.string(), type: z.literal('symlink'), target: z.string() }),
]);
export type SavedFile = z.infer<typeof SavedFile>;

/** @throws Stalled('NotAFile') for what can't be put back: a directory, a device. */
export function saveFile(files: Files, file: string, state: FileState, inPlace = false): SavedFile {
  switch (state.type) {
    case 'absent':
      return { path: file, type: 'absent', parents: absentParents(files, file) };
    case 'symlink':
      return { path: file, type: 'symlink', target: state.target };
    case 'file': {
      const { mode, uid, gid, content } = state;
      return { path: file, type: 'file', content: content.toString('base64'), mode, uid, gid, inPlace };
    }
    default:
      throw new Stalled('NotAFile', `${file} is no regular file, and is left alone; move it away first`);
  }
}

/**
 * Works over whatever stands there, however large. A directory gives way, unless there is something in it.
 * @throws ENOTEMPTY where a file or a link belongs; where nothing was, what others put into a directory stays.
 */
export function restoreFile(files: Files, saved: SavedFile): void {
  if (saved.type === 'absent') {
    unlessFilled(() => files.remove(saved.path));
    for (const parent of saved.parents ?? []) removeIfEmpty(files, parent);
    return;
  }
  try {
    putBack(files, saved);
  } catch (error) {
    if (errnoOf(error) !== 'EISDIR') throw error;
    files.remove(saved.path);
    putBack(files, saved);
  }
}

function putBack(files: Files, saved: Exclude<SavedFile, { type: 'absent' }>): void {
  if (saved.type === 'symlink') return files.makeSymlink(saved.path, saved.target);
  const content = Buffer.from(saved.content, 'base64');
  if (saved.inPlace) files.rewriteInPlace(saved.path, content, saved);
  else files.replaceAtomic(saved.path, content, saved, { durable: true });
}

/** The directories above a path that are not there, the deepest first. */
function absentParents(files: Files, file: string): string[] {
  const parents: string[] = [];
  for (let at = path.dirname(file); at !== path.dirname(at); at = path.dirname(at)) {
    if (files.read(at).type !== 'absent') break;
    parents.push(at);
  }
  return parents;
}

/** A directory that others use by now stays. */
export function removeIfEmpty(files: Files, directory: string): void {
  unlessFilled(() => {
    if (files.read(directory).type === 'directory') files.remove(directory);
  });
}

function unlessFilled(remove: () => void): void {
  try {
    remove();
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY') throw error;
  }
}

function sizeOf(bytes: Buffer): string {
  return `${bytes.length} bytes`;
}
