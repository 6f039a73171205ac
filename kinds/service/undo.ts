// How a unit was, and back to it: its files, its enablement and its activity.
import path from 'node:path';
import * as z from 'zod';
import type { Prepared } from '../kind.ts';
import { removeIfEmpty, restoreFile, SavedFile, saveFile } from '../managed-file.ts';
import { type FileState, type Files, JobFailed, type Ports } from '../ports.ts';
import { readDefinition } from './definition.ts';
import { runJob } from './job.ts';
import type { Observed } from './observe.ts';
import { GATE, isEnabledAs, isMasked, isRestarting, isRunning, isStopped } from './state.ts';
import { claimedPaths, dropInDirectory, unitFilePath } from './unit-files.ts';

/** It ended by itself, or failed; release 0.1 did not write it. */
const failing = z.boolean().optional();

const SystemdBefore = z.object({
  manager: z.literal('systemd'),
  unit: z.string(),
  files: z.array(SavedFile),
  /** Whether there was such a unit. */
  found: z.boolean(),
  masked: z.boolean(),
  enabled: z.boolean(),
  running: z.boolean(),
  failing,
  /** It is left to others whether it runs. */
  unmanaged: z.boolean().optional(),
});
type SystemdBefore = z.infer<typeof SystemdBefore>;

const SupervisedBefore = z.object({
  manager: z.literal('supervised'),
  unit: z.string(),
  /** JSON text; null when there was no such unit. */
  definition: z.string().nullable(),
  running: z.boolean(),
  failing,
});
type SupervisedBefore = z.infer<typeof SupervisedBefore>;

export const Before = z.discriminatedUnion('manager', [SystemdBefore, SupervisedBefore]);
export type Before = z.infer<typeof Before>;

/** Whether it was meant to run, and whether that failed. */
function activity({ unit, nowMs }: Observed): Pick<Before, 'running' | 'failing'> {
  const isYoung = unit.restarts > 0 && nowMs - unit.startedAtMs < GATE.settleMs;
  const ended = unit.endedItself && unit.serviceType !== 'oneshot';
  const isFailing = ended || unit.activeState === 'failed' || (isRunning(unit) && isYoung);
  return {
    running: isRunning(unit) || unit.activeState === 'activating',
    ...(isFailing ? { failing: true } : {}),
  };
}

/** @throws Stalled('NotAFile') when something is in the place of one of the files that can't be put back. */
export function beforeSystemd(
  unit: string,
  observed: Observed,
  files: Files,
  paths: readonly string[],
  unmanaged: boolean,
): Prepared<Before> {
  const state = observed.unit;
  const save = (file: string): SavedFile => saveFile(files, file, files.read(file));
  const existed = state.loadState !== 'not-found';
  const before: Before = {
    manager: 'systemd',
    unit,
    files: paths.map(save),
    found: existed,
    masked: isMasked(state),
    enabled: isEnabledAs(true, state),
    ...activity(observed),
    ...(unmanaged ? { unmanaged } : {}),
  };
  return { existed, before };
}

export function beforeSupervised(unit: string, observed: Observed): Prepared<Before> {
  const definition = observed.definition ?? null;
  const before: Before = { manager: 'supervised', unit, definition, ...activity(observed) };
  return { existed: definition !== null, before };
}

type Io = Pick<Ports, 'files' | 'units' | 'supervised' | 'clock'>;

/** @param owned what is ours by now, later documents' files too. */
export async function undo(
  before: Before,
  owned: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  if (before.manager === 'systemd') await undoSystemd(before, owned, io, signal);
  else await undoSupervised(before, io, signal);
}

async function undoSystemd(
  before: SystemdBefore,
  owned: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const { unit } = before;
  const { files, units, clock } = io;
  const now = await units.show(unit, signal);
  // Before its file goes, or nobody knows any more how it is stopped and where its links are.
  const isOthers = before.unmanaged === true;
  if (!isOthers && !before.running && !isStopped(now)) await units.run('stop', unit, signal);
  const isEnabled = isEnabledAs(true, now);
  if (!before.enabled && isEnabled) await units.disable(unit);
  if (!before.masked && isMasked(now)) await units.unmask(unit);
  const changed = putFilesBack(before, claimedPaths(unit, owned, now), files);
  if (before.masked && !isMasked(now)) await units.mask(unit);
  // Its package went meanwhile: nothing is left that could be enabled or run.
  const ours = before.files.some((file) => file.type !== 'absent' && file.path === unitFilePath(unit));
  if (now.loadState === 'not-found' && !ours) return await units.daemonReload();
  if (before.found && before.enabled && !isEnabled) await units.enable(unit);
  await units.daemonReload();

  const after = await units.show(unit, signal);
  if (after.activeState === 'failed' || isRestarting(after)) await units.resetFailed(unit);
  if (isOthers || !before.running) return;
  // Times too, for an undo that was cut off between the files and this.
  const isOlder = before.files.some((file) => writtenAt(files.read(file.path)) > after.startedAtMs);
  const job = isStopped(after) ? 'start' : changed || isOlder || isRestarting(after) ? 'restart' : undefined;
  if (job === undefined) return;
  try {
    await runJob(job, unit, units, clock, signal);
  } catch (error) {
    // It is in force again, and fails as it did before.
    if (!(error instanceof JobFailed) || before.failing !== true) throw error;
  }
}

/** @returns whether a file was another one. */
function putFilesBack(before: SystemdBefore, owned: readonly string[], files: Files): boolean {
  const later = owned.filter((file) => !before.files.some((saved) => saved.path === file));
  const differing = before.files.filter((saved) => !isAsSaved(files.read(saved.path), saved));
  const changed = differing.length > 0 || later.some((file) => files.read(file).type !== 'absent');
  // The absent ones always: an agent that was killed may not have come to the directories above them.
  for (const saved of before.files) {
    if (saved.type === 'absent' || differing.includes(saved)) restoreFile(files, saved);
  }
  for (const file of later) files.remove(file);
  const directory = dropInDirectory(before.unit);
  const wasThere = before.files.some(
    (saved) =>
      path.dirname(saved.path) === directory &&
      (saved.type !== 'absent' || saved.parents?.includes(directory) === false),
  );
  if (!wasThere) removeIfEmpty(files, directory);
  return changed;
}

async function undoSupervised(before: SupervisedBefore, io: Io, signal: AbortSignal): Promise<void> {
  const { unit, definition } = before;
  const { supervised, clock } = io;
  if (definition === null) return await supervised.undefine(unit);
  supervised.define(unit, readDefinition(definition));
  await runJob(before.running ? 'restart' : 'stop', unit, supervised, clock, signal);
}

function isAsSaved(now: FileState, saved: SavedFile): boolean {
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

function writtenAt(state: FileState): number {
  return state.type === 'file' ? (state.mtimeMs ?? 0) : 0;
}
