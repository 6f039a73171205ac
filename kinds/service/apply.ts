// Gets a host to where a Service wants it: files, mask and enablement first, then one reload, then one job.
import { Stalled } from '../../api/errors.ts';
import type { Change } from '../kind.ts';
import { fileChanges, writeFile } from '../managed-file.ts';
import { JobFailed, type UnitJob, type UnitState, type Units } from '../ports.ts';
import { define } from './definition.ts';
import { runJob } from './job.ts';
import { isAnotherUnit, isDone, isKnown, type Memory, memoryOf, type Service } from './memory.ts';
import { type Io, isSupervised, observe, unitsOf } from './observe.ts';
import { cannotBeEnabled, obstacle } from './obstacle.ts';
import { dueJob, isEnabledAs, isLoaded, isMasked, isRestarting, isStopped, wantsRunning } from './state.ts';
import { foreignFiles, leftovers, ownPaths, wantedFiles } from './unit-files.ts';

/** Results of a start that say something about the unit, and not about what else happens on the host. */
const UNIT_IS_WRONG = ['failed', 'timeout', 'assert', 'unsupported'];

export async function apply(
  changes: readonly Change[],
  d: Service,
  io: Io,
  signal: AbortSignal,
): Promise<Memory> {
  const units = unitsOf(d.spec, io);
  if (!(await startedAtOnce(changes, d, io, signal))) {
    const wrote = isSupervised(d.spec) ? define(d, io.supervised) : await layOut(d, io, signal);
    await runIt(d, wrote || isAnotherUnit(d), io, signal);
  }
  return memoryOf(d, await units.show(d.spec.unit, signal));
}

/** The heal that matters most: nothing but stopped. It is not looked at again before it is started. */
async function startedAtOnce(
  changes: readonly Change[],
  d: Service,
  io: Io,
  signal: AbortSignal,
): Promise<boolean> {
  const [only] = changes;
  if (!d.heal || changes.length !== 1 || only!.what !== 'state' || only!.to !== 'running') return false;
  await run('start', only!.from.startsWith('failed'), d, io, signal);
  return true;
}

/**
 * Files, mask and enablement, then one reload: systemd reads them all when it loads the unit again.
 * @returns whether one of the unit's own files was written or removed.
 */
async function layOut(d: Service, { files, units }: Io, signal: AbortSignal): Promise<boolean> {
  const { spec } = d;
  const before = await units.show(spec.unit, signal);
  const differing = wantedFiles(d).filter(
    (wanted) => fileChanges(wanted.what, files.read(wanted.path), wanted).length > 0,
  );
  for (const wanted of differing) writeFile(files, wanted, !d.heal);
  const left = leftovers(d, before, files);
  const ours = [...ownPaths(spec), ...left];
  const foreign = spec.exclusive === true ? foreignFiles(spec, before, files, ours) : [];
  for (const path of [...left, ...foreign]) files.remove(path);
  const wrote = differing.length + left.length > 0;
  const reenabled = await setEnablement(d, before, units);
  if (wrote || foreign.length > 0 || reenabled || !isLoaded(spec, before)) await units.daemonReload();
  return wrote;
}

/** @returns whether something was to be done. */
async function setEnablement(d: Service, before: UnitState, units: Units): Promise<boolean> {
  const { unit, enabled, masked = false } = d.spec;
  const isRemasked = isMasked(before) !== masked;
  if (isRemasked) await (masked ? units.mask(unit) : units.unmask(unit));
  // What a mask hid can only be asked after it is gone; enabling twice does no harm.
  const isRight = enabled === undefined || (!isMasked(before) && isEnabledAs(enabled, before));
  if (masked || isRight || cannotBeEnabled(d, before, []) !== undefined) return isRemasked;
  await (enabled ? units.enable(unit) : units.disable(unit));
  return true;
}

/** Starts, restarts or stops it, if need be. @param isAnother what runs may have been started with other files. */
async function runIt(d: Service, isAnother: boolean, io: Io, signal: AbortSignal): Promise<void> {
  const now = await observe(d, io, signal);
  const hindered = wantsRunning(d.spec) ? obstacle(d, now) : undefined;
  if (hindered?.canRun === false && hindered.reason !== 'UnitNotFound' && !d.heal) {
    throw new Stalled(hindered.reason, hindered.message);
  }
  if (hindered?.canRun === false) return; // what that means is assessed
  const { unit } = now;
  const job = dueJob(d, now)?.job ?? (isAnother ? anotherJob(d, unit) : undefined);
  if (job !== undefined) await run(job, unit.activeState === 'failed' || isRestarting(unit), d, io, signal);
}

/** Of a unit whose files changed just now, whatever they were when what runs, or ran last, was started. */
function anotherJob(d: Service, unit: UnitState): UnitJob | undefined {
  if (!wantsRunning(d.spec) || isDone(unit, d.memory)) return undefined;
  if (isStopped(unit)) return 'start';
  return isKnown(d, unit) || unit.activeState === 'deactivating' ? undefined : 'restart';
}

/** @param failed it failed before: that also takes back what start-limit-hit counted. */
async function run(job: UnitJob, failed: boolean, d: Service, io: Io, signal: AbortSignal): Promise<void> {
  const { unit } = d.spec;
  const units = unitsOf(d.spec, io);
  if (failed && job !== 'stop') await units.resetFailed(unit);
  try {
    await runJob(job, unit, units, io.clock, signal);
  } catch (error) {
    // A state that ran here before is not refused for failing now: what is in its way may pass.
    const isRefused = !d.heal && job !== 'stop';
    if (!isRefused || !(error instanceof JobFailed) || !UNIT_IS_WRONG.includes(error.result)) throw error;
    throw new Stalled('StartFailed', error.message);
  }
}
