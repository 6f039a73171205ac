// File: content, mode and owner of one path; a directory's own attributes; a symbolic link's target.
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import { octal } from '../fields.ts';
import { type Ask, type Change, type Desired, defineKind } from '../kind.ts';
import {
  fileChanges,
  removeIfEmpty,
  restoreFile,
  SavedFile,
  saveFile,
  type WantedFile,
  writeFile,
} from '../managed-file.ts';
import type { FileState, Files } from '../ports.ts';
import { YES } from '../shared/verdicts.ts';
import { FileSpec } from './schema.ts';

type Type = 'file' | 'directory' | 'symlink';
const typeOf = (spec: FileSpec): Type => spec.type ?? 'file';

/** What stood at the path. */
const Saved = z.union([
  SavedFile,
  z.object({
    path: z.string(),
    type: z.literal('directory'),
    mode: z.int(),
    uid: z.int(),
    gid: z.int(),
  }),
]);
type Saved = z.infer<typeof Saved>;

interface Observed {
  readonly state: FileState;
  /** Wanted owner and group as numbers, where the manifest names them. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

export const file = defineKind<FileSpec, Observed, 'files', Saved>({
  kind: 'File',
  scope: 'host',
  spec: FileSpec,
  before: { version: 1, schema: Saved },
  needs: ['files'],
  // A heal costs about a millisecond: only somebody who writes without a pause is a fight.
  healLimit: { burst: 500, perSecond: 50 },

  place: (spec) => spec.path,
  owns: (spec) => [typeOf(spec) === 'directory' ? `file:${spec.path}/.` : `file:${spec.path}`],

  asks(spec) {
    const asks: Ask[] = [{ type: 'path', value: spec.path }];
    for (const account of [spec.owner, spec.group]) {
      if (account !== undefined) asks.push({ type: 'user', value: account });
    }
    if ((modeOf(spec) & 0o6000) !== 0 && typeOf(spec) === 'file') {
      asks.push({
        type: 'root-equivalent',
        value: `setuid:${spec.path}`,
        why: 'whoever runs it gets its owner’s rights',
      });
    }
    return asks;
  },

  check(spec) {
    const wrong: { path: string[]; message: string }[] = [];
    const type = typeOf(spec);
    const hasContent = spec.content !== undefined || spec.contentFrom !== undefined;
    if (spec.content !== undefined && spec.contentFrom !== undefined) {
      wrong.push({ path: ['contentFrom'], message: 'content and contentFrom exclude each other; keep one' });
    }
    if (type === 'file' && !hasContent) {
      wrong.push({ path: ['path'], message: 'a file needs content or contentFrom ("" for an empty one)' });
    }
    if (type !== 'file' && hasContent) {
      wrong.push({
        path: ['type'],
        message: `a ${type} has no content; leave it out, or make the type file`,
      });
    }
    if ((type === 'symlink') !== (spec.target !== undefined)) {
      wrong.push(
        type === 'symlink'
          ? { path: ['type'], message: 'a symlink needs target: where it points' }
          : { path: ['target'], message: `only a symlink has a target; this is a ${type}` },
      );
    }
    if (type === 'symlink' && (spec.mode ?? spec.owner ?? spec.group) !== undefined) {
      wrong.push({
        path: ['type'],
        message: 'a symlink has no mode, owner or group of its own here; leave them out',
      });
    }
    return wrong;
  },

  async observe(d, { files }) {
    return {
      state: files.read(d.spec.path),
      uid: d.spec.owner === undefined ? undefined : files.userID(d.spec.owner),
      gid: d.spec.group === undefined ? undefined : files.groupID(d.spec.group),
    };
  },

  diff(d, { state, uid, gid }) {
    const type = typeOf(d.spec);
    if (type === 'file') return fileChanges('content', state, wantedFile(d, uid, gid));
    if (state.type !== type) return [{ what: 'type', from: state.type, to: type }];
    const changes: Change[] = [];
    if (state.type === 'symlink' && state.target !== d.spec.target) {
      changes.push({ what: 'target', from: state.target, to: d.spec.target! });
    }
    if (state.type === 'directory') {
      const mode = modeOf(d.spec);
      if (state.mode !== mode) changes.push({ what: 'mode', from: octal(state.mode), to: octal(mode) });
      if (uid !== undefined && state.uid !== uid)
        changes.push({ what: 'owner', from: `${state.uid}`, to: `${uid}` });
      if (gid !== undefined && state.gid !== gid)
        changes.push({ what: 'group', from: `${state.gid}`, to: `${gid}` });
    }
    return changes;
  },

  // What is on disk is all there is.
  assess: () => YES,

  async prepare(d, { state }, { files }) {
    const { path } = d.spec;
    if (state.type === 'other') {
      throw new Stalled(
        'NotAFile',
        `${path} is a device, pipe or socket, and is left alone; move it away first`,
      );
    }
    if (state.type === 'directory' && typeOf(d.spec) !== 'directory') {
      throw new Stalled(
        'IsADirectory',
        `${path} is a directory, and a ${typeOf(d.spec)} is wanted there; directories are never replaced, move it away first`,
      );
    }
    const before: Saved =
      state.type === 'directory' ? { ...state, path } : saveFile(files, path, state, d.spec.inPlace === true);
    return { existed: state.type !== 'absent', before };
  },

  async apply(changes, d, io, signal, observed) {
    if (changes.length > 0) write(io.files, d, observed ?? (await this.observe(d, io, signal)));
    return undefined;
  },

  async undo(before, _record, { files }) {
    restore(files, before);
  },

  watch: (d, { files }, wake, signal) => files.watch(d.spec.path, wake, signal),
});

function write(files: Files, d: Desired<FileSpec>, { state: now, uid, gid }: Observed): void {
  const { spec } = d;
  const type = typeOf(spec);
  // An empty directory gives way (one that is not makes this throw), to a link or a file that is then new.
  if (now.type === 'directory' && type !== 'directory') files.remove(spec.path);
  switch (type) {
    case 'directory':
      if (now.type !== 'directory') files.remove(spec.path);
      files.makeDirectory(spec.path, {
        mode: modeOf(spec),
        ...(uid === undefined ? {} : { uid }),
        ...(gid === undefined ? {} : { gid }),
      });
      return;
    case 'symlink':
      return files.makeSymlink(spec.path, spec.target!);
    case 'file':
      return writeFile(files, wantedFile(d, uid, gid), !d.heal, now);
  }
}

function wantedFile(d: Desired<FileSpec>, uid: number | undefined, gid: number | undefined): WantedFile {
  const { bytes, secret } = d.content(d.spec.content ?? '');
  return {
    path: d.spec.path,
    bytes,
    secret,
    mode: modeOf(d.spec),
    uid,
    gid,
    inPlace: d.spec.inPlace === true,
  };
}

/** A directory that is no longer empty stays, since others use it. */
function restore(files: Files, was: Saved): void {
  if (was.type === 'directory') return files.makeDirectory(was.path, was);
  if (was.type !== 'absent' || files.read(was.path).type !== 'directory') return restoreFile(files, was);
  for (const directory of [was.path, ...(was.parents ?? [])]) removeIfEmpty(files, directory);
}

function modeOf(spec: FileSpec): number {
  return spec.mode === undefined
    ? typeOf(spec) === 'directory'
      ? 0o755
      : 0o644
    : Number.parseInt(spec.mode, 8);
}
