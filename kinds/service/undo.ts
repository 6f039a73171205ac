// The way back: the files, the enablement and the activity that a unit had.
import { errnoOf, Stalled } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import type { Snapshot } from '../kind.ts';
import { restoreFile, type SavedFile, saveFile } from '../managed-file.ts';
import type { Files, Ports, UnitState } from '../ports.ts';
import { isEnabled, isMasked, isRunning, isStopped } from './state.ts';
import { dropInDirectory, unitFilePath } from './unit-files.ts';

type SystemdBefore = {
  readonly manager: 'systemd';
  readonly unit: string;
  readonly files: readonly SavedFile[];
  /** Whether there was such a unit. */
  readonly found: boolean;
  readonly masked: boolean;
  readonly enabled: boolean;
  readonly running: boolean;
};
type SupervisedBefore = {
  readonly manager: 'supervised';
  readonly unit: string;
  /** JSON text; null when there was no such unit. */
  readonly definition: string | null;
  readonly running: boolean;
};
type Before = SystemdBefore | SupervisedBefore;

/** @throws Stalled when something is in the place of one of the files that can't be put back. */
export function beforeSystemd(
  unit: string,
  state: UnitState,
  files: Files,
  paths: readonly string[],
): Snapshot {
  const before: SystemdBefore = {
    manager: 'systemd',
    unit,
    files: paths.map((path) => {
      const file = files.read(path);
      if (file.type !== 'directory' && file.type !== 'other') return saveFile(files, path, file);
      throw new Stalled('NotAFile', `${path} is no regular file, and is left alone; move it away first`);
    }),
    found: state.loadState !== 'not-found',
    masked: isMasked(state),
    enabled: isEnabled(state),
    running: isRunning(state) || state.activeState === 'activating',
  };
  return { existed: before.found, data: before as unknown as Json };
}

export function beforeSupervised(unit: string, state: UnitState, definition: string | undefined): Snapshot {
  const before: SupervisedBefore = {
    manager: 'supervised',
    unit,
    definition: definition ?? null,
    running: isRunning(state),
  };
  return { existed: definition !== undefined, data: before as unknown as Json };
}

type Io = Pick<Ports, 'files' | 'units' | 'supervised'>;

export async function undo(snapshot: Snapshot, io: Io, signal: AbortSignal): Promise<void> {
  const before = snapshot.data as unknown as Before;
  if (before.manager === 'systemd') await undoSystemd(before, io, signal);
  else await undoSupervised(before, io, signal);
}

async function undoSystemd(before: SystemdBefore, { files, units }: Io, signal: AbortSignal): Promise<void> {
  const { unit } = before;
  const now = await units.show(unit, signal);
  // Before its file goes, or nobody knows any more how it is stopped and where its links are.
  if (!before.running && !isStopped(now)) await units.run('stop', unit, signal);
  if (!before.enabled && isEnabled(now)) await units.disable(unit);
  if (!before.masked && isMasked(now)) await units.unmask(unit);

  const changed = before.files.filter((file) => !isAsSaved(files, file));
  for (const file of changed) restoreFile(files, file);
  // Also when the files are gone already: an agent that was killed may not have come to this.
  const below = `${dropInDirectory(unit)}/`;
  if (before.files.some(({ type, path }) => type === 'absent' && path.startsWith(below)))
    removeEmptyDropInDirectory(files, unit);
  if (before.masked && !isMasked(now)) await units.mask(unit);
  // Its package went meanwhile: nothing is left that could be enabled or run.
  const ours = before.files.some(({ type, path }) => type !== 'absent' && path === unitFilePath(unit));
  if (now.loadState === 'not-found' && !ours) return await units.daemonReload();
  if (before.found && before.enabled && !isEnabled(now)) await units.enable(unit);
  await units.daemonReload();

  const after = await units.show(unit, signal);
  if (after.activeState === 'failed' || after.subState === 'auto-restart') await units.resetFailed(unit);
  if (!before.running) return;
  // Times too, for an undo that was cut off between the files and this.
  const isOlder = before.files.some((file) => writtenAt(files, file.path) > after.startedAtMs);
  const job = !isRunning(after) ? 'start' : changed.length > 0 || isOlder ? 'restart' : undefined;
  if (job !== undefined) await units.run(job, unit, signal);
}

async function undoSupervised(
  before: SupervisedBefore,
  { supervised }: Io,
  signal: AbortSignal,
): Promise<void> {
  const { unit, definition } = before;
  if (definition === null) {
    await supervised.undefine(unit);
    return;
  }
  supervised.define(unit, JSON.parse(definition) as Parameters<typeof supervised.define>[1]);
  await supervised.run(before.running ? 'restart' : 'stop', unit, signal);
}

function removeEmptyDropInDirectory(files: Files, unit: string): void {
  try {
    files.remove(dropInDirectory(unit));
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY') throw error;
  }
}

function isAsSaved(files: Files, saved: SavedFile): boolean {
  const now = files.read(saved.path);
  if (saved.type !== now.type) return false;
  if (saved.type === 'symlink') return now.type === 'symlink' && now.target === saved.target;
  if (saved.type === 'absent' || now.type !== 'file') return true;
  return (
    now.content.toString('base64') === saved.content &&
    now.mode === saved.mode &&
    now.uid === saved.uid &&
    now.gid === saved.gid
  );
}

function writtenAt(files: Files, path: string): number {
  const state = files.read(path);
  return state.type === 'file' ? (state.mtimeMs ?? 0) : 0;
}
