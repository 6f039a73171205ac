// File: content, mode and owner of one path; a directory's own attributes; a symbolic link's target.
import path from 'node:path';
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import { type Desired, defineKind } from '../kind.ts';
import {
  attributeChanges,
  fileChanges,
  restoreFile,
  SavedFile,
  saveFile,
  type WantedFile,
  writeFile,
  writeNewFile,
} from '../managed-file.ts';
import type { FileState } from '../ports.ts';
import { accountIDs, accountPermissions } from '../shared/accounts.ts';
import { findings } from '../shared/findings.ts';
import { placesOf, targetsOf } from '../shared/places.ts';
import { YES } from '../shared/verdicts.ts';
import { FileSpec } from './schema.ts';

/** Owner and group as numbers, where the manifest names them. */
type Ids = ReturnType<typeof accountIDs>;
type Observed = { readonly state: FileState } & Ids;

/** What stood at the path. */
const Saved = z.union([
  SavedFile,
  z.object({ path: z.string(), type: z.literal('directory'), mode: z.int(), uid: z.int(), gid: z.int() }),
]);
type Saved = z.infer<typeof Saved>;

const LEADS = 'whoever follows the link gets there';

const typeOf = (spec: FileSpec) => spec.type ?? 'file';
const modeOf = (spec: FileSpec) => Number.parseInt(spec.mode ?? (typeOf(spec) === 'file' ? '644' : '755'), 8);

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

  permissions(spec) {
    const isSetuid = typeOf(spec) === 'file' && (modeOf(spec) & 0o6000) !== 0;
    const why = 'whoever runs it gets its owner’s rights';
    return [
      { type: 'path', value: spec.path },
      ...(spec.target === undefined
        ? []
        : [{ type: 'path' as const, value: path.resolve(path.dirname(spec.path), spec.target), why: LEADS }]),
      ...accountPermissions(spec),
      ...(isSetuid ? [{ type: 'root-equivalent' as const, value: `setuid:${spec.path}`, why }] : []),
    ];
  },

  async resolve({ spec }, { files }) {
    const real = files.realPath(spec.path);
    const { target } = spec;
    // From where the link really is; `..` is only at its beginning (schema).
    const to = target === undefined || target.startsWith('/') ? target : `${path.dirname(real)}/${target}`;
    return [...placesOf(files, [spec.path]), ...targetsOf(files, to === undefined ? [] : [to], LEADS)];
  },

  check(spec) {
    const type = typeOf(spec);
    const isLink = type === 'symlink';
    const hasContent = spec.content !== undefined;
    const hasTarget = spec.target !== undefined;
    const hasOwner = (spec.mode ?? spec.owner ?? spec.group) !== undefined;
    return findings(
      [type === 'file' && !hasContent, ['path'], 'a file needs content or contentFrom ("" for an empty one)'],
      [
        type !== 'file' && hasContent,
        ['type'],
        `a ${type} has no content; leave it out, or make the type file`,
      ],
      [isLink && !hasTarget, ['type'], 'a symlink needs target: where it points'],
      [!isLink && hasTarget, ['target'], `only a symlink has a target; this is a ${type}`],
      [isLink && hasOwner, ['type'], 'a symlink has no mode, owner or group of its own here; leave them out'],
    );
  },

  observe: async ({ spec }, { files }) => ({ state: files.read(spec.path), ...accountIDs(spec, files) }),

  diff(d, { state, ...ids }) {
    const type = typeOf(d.spec);
    const wanted = wantedFile(d, ids);
    if (type === 'file') return fileChanges('content', state, wanted);
    if (state.type !== type) return [{ what: 'type', from: state.type, to: type }];
    if (state.type === 'directory') return attributeChanges(state, wanted);
    if (state.type !== 'symlink' || state.target === d.spec.target) return [];
    return [{ what: 'target', from: state.target, to: d.spec.target! }];
  },

  // What is on disk is all there is.
  assess: () => YES,

  async prepare({ spec }, { state }, { files }) {
    const type = typeOf(spec);
    if (state.type === 'directory' && type !== 'directory') {
      const message = `${spec.path} is a directory, and a ${type} is wanted there; directories are never replaced, move it away first`;
      throw new Stalled('IsADirectory', message);
    }
    const before =
      state.type === 'directory'
        ? { ...state, path: spec.path }
        : saveFile(files, spec.path, state, spec.inPlace === true);
    return { existed: state.type !== 'absent', before };
  },

  async apply(changes, d, io, signal, observed) {
    if (changes.length === 0) return undefined;
    const { files } = io;
    const { spec } = d;
    const type = typeOf(spec);
    const { state: now, ...ids } = observed ?? (await this.observe(d, io, signal));
    const wanted = wantedFile(d, ids);
    // An empty directory gives way (one that is not makes this throw); so does what stands where one is wanted.
    if ((now.type === 'directory') !== (type === 'directory')) files.remove(spec.path);
    if (type === 'file' && d.heal) writeFile(files, wanted, false, now);
    else if (type === 'file') await writeNewFile(files, wanted, now);
    else if (type === 'symlink') files.makeSymlink(spec.path, spec.target!);
    else files.makeDirectory(spec.path, wanted);
    return undefined;
  },

  async undo(before, _record, { files }) {
    if (before.type === 'directory') files.makeDirectory(before.path, before);
    else restoreFile(files, before);
  },

  watch: (d, { files }, wake, signal) => files.watch(d.spec.path, wake, signal),
});

function wantedFile({ spec, content }: Desired<FileSpec>, ids: Ids): WantedFile & Ids {
  const { inPlace = false } = spec;
  return { ...content(spec.content ?? ''), path: spec.path, inPlace, mode: modeOf(spec), ...ids };
}
