// A file that a kind keeps beside something else (a unit file, a configuration): how it differs, how it is
// written, and how it comes back. Pure, or through the Files port.

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

/** @param what how the difference in content is called; mode, owner and group have their own names. */
export function fileChanges(what: string, state: FileState, wanted: WantedFile): Change[] {
  const text = (before: string) => ({ before, after: wanted.bytes.toString(), secret: wanted.secret });
  if (state.type === 'absent') return [{ what, from: 'absent', to: sizeOf(wanted.bytes), text: text('') }];
  if (state.type !== 'file') return [{ what, from: `a ${state.type}`, to: 'a file', text: text('') }];
  const changes: Change[] = [];
  if (!wanted.bytes.equals(state.content)) {
    changes.push({
      what,
      from: sizeOf(state.content),
      to: sizeOf(wanted.bytes),
      text: text(state.content.toString()),
    });
  }
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
  const durable = isNew && 'content';
  const attributes: FileAttributes = {
    mode: wanted.mode ?? 0o644,
    ...(wanted.uid === undefined ? {} : { uid: wanted.uid }),
    ...(wanted.gid === undefined ? {} : { gid: wanted.gid }),
  };
  if (now.type !== 'file') {
    files.replaceAtomic(wanted.path, wanted.bytes, attributes, { durable });
  } else if (wanted.bytes.equals(now.content)) {
    files.setAttributes(wanted.path, attributes);
  } else if (wanted.inPlace === true) {
    files.rewriteInPlace(wanted.path, wanted.bytes, attributes);
  } else {
    // A replaced file keeps the owner that nobody named.
    files.replaceAtomic(
      wanted.path,
      wanted.bytes,
      { uid: now.uid, gid: now.gid, ...attributes },
      { durable },
    );
  }
}

/** A path's state as JSON, for snapshots. A type, not an interface: only types are assignable to Json. */
export type SavedFile =
  | { readonly path: string; readonly type: 'absent' }
  | {
      readonly path: string;
      readonly type: 'file';
      readonly content: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly inPlace: boolean;
    }
  | { readonly path: string; readonly type: 'symlink'; readonly target: string };

/** @throws Error for what can't be put back: a directory, a device. */
export function saveFile(path: string, state: FileState, inPlace = false): SavedFile {
  switch (state.type) {
    case 'absent':
      return { path, type: 'absent' };
    case 'symlink':
      return { path, type: 'symlink', target: state.target };
    case 'file': {
      const { mode, uid, gid, content } = state;
      return { path, type: 'file', content: content.toString('base64'), mode, uid, gid, inPlace };
    }
    default:
      throw new Error(`${path} is ${state.type === 'directory' ? 'a directory' : 'no regular file'}`);
  }
}

export function restoreFile(files: Files, saved: SavedFile): void {
  switch (saved.type) {
    case 'absent':
      files.remove(saved.path);
      break;
    case 'symlink':
      files.makeSymlink(saved.path, saved.target);
      break;
    case 'file': {
      const content = Buffer.from(saved.content, 'base64');
      if (saved.inPlace) files.rewriteInPlace(saved.path, content, saved);
      else files.replaceAtomic(saved.path, content, saved, { durable: true });
    }
  }
}

function sizeOf(bytes: Buffer): string {
  return `${bytes.length} bytes`;
}
