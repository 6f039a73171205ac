// Service: a unit's files, whether it is enabled, masked and running, and that the running process was started
// with what is on disk now. Under systemd, or as a child of the agent (`manager: supervised`).
import { Stalled, Waiting } from '../../api/errors.ts';
import { type Ask, type Change, type Claim, type Concern, type Desired, defineKind } from '../kind.ts';
import { fileChanges, writeFile } from '../managed-file.ts';
import { type FileState, JobFailed, type Ports, type UnitState, type Units } from '../ports.ts';
import { watchAll } from '../watch-all.ts';
import { checkService } from './check.ts';
import { definitionChanges, definitionOf } from './definition.ts';
import { ServiceSpec } from './schema.ts';
import { settle } from './settle.ts';
import {
  isDone,
  isEnabled,
  isKnown,
  isLoaded,
  isMasked,
  isRunning,
  isStopped,
  memoryIn,
  memoryOf,
  staleness,
  stateChanges,
} from './state.ts';
import { beforeSupervised, beforeSystemd, undo } from './undo.ts';
import {
  dropInDirectory,
  enablingLink,
  foreignFiles,
  ownPaths,
  programsOf,
  unitFilePath,
  wantedFiles,
} from './unit-files.ts';

type Needs = 'files' | 'units' | 'supervised' | 'clock';
type Io = Pick<Ports, Needs>;

interface Observed {
  readonly unit: UnitState;
  /** Our own, in the order of `wantedFiles`. */
  readonly files: readonly FileState[];
  /** Other people's, by path. */
  readonly foreign: readonly string[];
  /** Of a supervised unit, as JSON text. */
  readonly definition: string | undefined;
}

const UNIT_AGAIN_MS = 30_000;
/** Results of a start that say something about the unit, and not about what else happens on the host. */
const UNIT_IS_WRONG = ['failed', 'timeout', 'assert', 'unsupported'];

const isSupervised = (spec: ServiceSpec): boolean => spec.manager === 'supervised';
const unitsOf = (spec: ServiceSpec, io: Io): Units => (isSupervised(spec) ? io.supervised : io.units);

export const service = defineKind<ServiceSpec, Observed, Needs>({
  kind: 'Service',
  scope: 'host',
  spec: ServiceSpec,
  needs: ['files', 'units', 'supervised', 'clock'],
  patience: { burst: 300, perSecond: 0.5 },

  place: (spec) => `${spec.manager ?? 'systemd'} ${spec.unit}`,
  owns(spec): Claim[] {
    const files = ownPaths(spec).map((path) => `file:${path}`);
    // Exclusive: the whole directory, whoever wants to put what there.
    const directory = `file:${dropInDirectory(spec.unit)}`;
    return spec.exclusive === true
      ? [`unit:${spec.unit}`, directory, ...files.filter((claim) => !claim.startsWith(`${directory}/`))]
      : [`unit:${spec.unit}`, ...files];
  },

  asks(spec): Ask[] {
    const asks: Ask[] = [{ type: 'unit', value: spec.unit }];
    const texts = [spec.unitFile, ...Object.values(spec.dropIns ?? {})].filter((text) => text !== undefined);
    if (texts.length > 0) {
      const why = 'whoever writes its unit file runs anything as anybody';
      asks.push({ type: 'root-equivalent', value: `unit-file:${spec.unit}`, why });
    }
    const programs = texts.flatMap(({ content }) => (typeof content === 'string' ? programsOf(content) : []));
    if (isSupervised(spec)) {
      asks.push({ type: 'root-equivalent', value: `command:${spec.unit}`, why: 'it runs as the agent' });
      programs.push(...(spec.command ?? []).slice(0, 1));
    }
    for (const value of new Set(programs)) asks.push({ type: 'exec', value, why: `${spec.unit} runs it` });
    return asks;
  },

  inputs: (spec) => spec.restartOn ?? [],
  check: checkService,

  async observe({ spec }, io, signal) {
    const unit = await unitsOf(spec, io).show(spec.unit, signal);
    return {
      unit,
      files: ownPaths(spec).map((path) => io.files.read(path)),
      foreign: isSupervised(spec) ? [] : foreignFiles(spec, unit, io.files),
      definition: isSupervised(spec) ? io.supervised.definition(spec.unit) : undefined,
    };
  },

  diff(d, observed) {
    const changes: Change[] = [];
    for (const [i, wanted] of wantedFiles(d).entries()) {
      changes.push(...fileChanges(wanted.what, observed.files[i]!, wanted));
    }
    if (d.spec.exclusive === true) {
      for (const path of observed.foreign) changes.push({ what: path, from: 'present', to: 'absent' });
    }
    if (isSupervised(d.spec)) changes.push(...definitionChanges(d, observed.definition));
    changes.push(...stateChanges(d, observed.unit));
    if (wantsRunning(d.spec)) {
      const stale = staleness(d, observed.unit, observed.files);
      if (stale !== undefined) changes.push({ what: 'process', from: stale, to: 'restarted' });
    }
    return changes;
  },

  async prepare(d, observed, io) {
    const { spec } = d;
    if (isSupervised(spec)) return beforeSupervised(spec.unit, observed.unit, observed.definition);
    if (observed.unit.loadState === 'not-found' && spec.unitFile === undefined) {
      throw new Waiting(
        'UnitNotFound',
        `there is no unit ${spec.unit} yet; install its package, or give unitFile`,
        UNIT_AGAIN_MS,
      );
    }
    const foreign = spec.exclusive === true ? observed.foreign : [];
    return beforeSystemd(spec.unit, observed.unit, io.files, [...ownPaths(spec), ...foreign]);
  },

  async apply(changes, d, io, signal) {
    const { spec } = d;
    if (!(await startedAtOnce(changes, d, io, signal))) {
      const wrote = isSupervised(spec) ? define(d, io) : await layOut(d, io, signal);
      await run(d, wrote, io, signal);
    }
    return { memory: memoryOf(d, await unitsOf(spec, io).show(spec.unit, signal)) };
  },

  async confirm(d, snapshot, io, signal) {
    // What was put back ran here before, and was just seen running.
    if (snapshot === undefined || !wantsRunning(d.spec)) return { verdict: 'Yes' };
    return await settle(d.spec.unit, unitsOf(d.spec, io), io.clock, signal);
  },

  undo: (snapshot, _record, io, signal) => undo(snapshot, io, signal),

  watch({ spec }, io, wake, signal) {
    // Links and files that are made by hand; systemctl's own doings come as signals.
    const paths = isSupervised(spec)
      ? []
      : [
          ...new Set([unitFilePath(spec.unit), ...ownPaths(spec)]),
          ...(spec.enabled ? [enablingLink(spec.unit)] : []),
        ];
    return watchAll(
      io.clock,
      wake,
      signal,
      (w, s) => unitsOf(spec, io).watch(spec.unit, w, s),
      paths.map((path) => (w, s) => io.files.watch(path, w, s)),
    );
  },

  conditions({ spec }, { foreign }): Concern[] {
    if (foreign.length === 0 || spec.exclusive === true) return [];
    const message = `changed beside the manifest by ${foreign.join(', ')}; say exclusive: true to have that removed`;
    return [{ type: 'ForeignUnitFiles', status: 'True', reason: 'EditedByHand', message }];
  },
});

function wantsRunning(spec: ServiceSpec): boolean {
  return (spec.state ?? 'running') === 'running';
}

/** @returns whether it was another one. */
function define(d: Desired<ServiceSpec>, { supervised }: Io): boolean {
  const { unit } = d.spec;
  if (definitionChanges(d, supervised.definition(unit)).length === 0) return false;
  supervised.define(unit, definitionOf(d));
  return true;
}

/** The heal that matters most: nothing but stopped. It is not looked at again before it is started. */
async function startedAtOnce(
  changes: readonly Change[],
  d: Desired<ServiceSpec>,
  io: Io,
  signal: AbortSignal,
): Promise<boolean> {
  const onlyStopped = changes.length === 1 && changes[0]!.what === 'state';
  if (!d.heal || !onlyStopped || !wantsRunning(d.spec)) return false;
  try {
    await unitsOf(d.spec, io).run('start', d.spec.unit, signal);
    return true;
  } catch (error) {
    if (error instanceof JobFailed) return false; // start-limit-hit, for one: that takes a closer look
    throw error;
  }
}

/**
 * Files, mask and enablement, then one reload: systemd reads them all when it loads the unit again.
 * @returns whether one of the unit's own files was written.
 */
async function layOut(d: Desired<ServiceSpec>, { files, units }: Io, signal: AbortSignal): Promise<boolean> {
  const { spec } = d;
  const before = await units.show(spec.unit, signal);
  const differing = wantedFiles(d).filter(
    (wanted) => fileChanges(wanted.what, files.read(wanted.path), wanted).length > 0,
  );
  for (const wanted of differing) writeFile(files, wanted, !d.heal);
  let reload = !isLoaded(spec, before) || differing.length > 0;
  for (const path of spec.exclusive === true ? foreignFiles(spec, before, files) : []) {
    files.remove(path);
    reload = true;
  }
  const masked = spec.masked ?? false;
  if (isMasked(before) !== masked) {
    await (masked ? units.mask(spec.unit) : units.unmask(spec.unit));
    reload = true;
  }
  // What a mask hid can only be asked after it is gone; enabling twice does no harm.
  const enablement = isMasked(before) ? undefined : isEnabled(before);
  if (!masked && spec.enabled !== undefined && enablement !== spec.enabled) {
    await (spec.enabled ? units.enable(spec.unit) : units.disable(spec.unit));
    reload = true;
  }
  if (reload) await units.daemonReload();
  return differing.length > 0;
}

/** Starts, restarts or stops it, if need be; a new state that does not start is refused. */
async function run(d: Desired<ServiceSpec>, wrote: boolean, io: Io, signal: AbortSignal): Promise<void> {
  const { spec } = d;
  const units = unitsOf(spec, io);
  const now = await units.show(spec.unit, signal);
  if (!wantsRunning(spec)) {
    if (!isStopped(now)) await units.run('stop', spec.unit, signal);
    return;
  }
  if (now.loadState === 'bad-setting' || now.loadState === 'error') {
    throw refusal(d, 'BadUnit', `systemd can't load ${spec.unit}: ${now.loadError}`);
  }
  const files = ownPaths(spec).map((path) => io.files.read(path));
  const stale = staleness(d, now, files) !== undefined || (wrote && !isKnown(d, now));
  if ((isRunning(now) || isDone(now, memoryIn(d))) && !stale) return;
  // Also takes back what start-limit-hit counted.
  if (now.activeState === 'failed' || now.subState === 'auto-restart') await units.resetFailed(spec.unit);
  try {
    await units.run(isRunning(now) ? 'restart' : 'start', spec.unit, signal);
  } catch (error) {
    if (error instanceof JobFailed && UNIT_IS_WRONG.includes(error.result)) {
      throw refusal(d, 'StartFailed', error.message);
    }
    throw error;
  }
  if (d.heal) return;
  const verdict = await settle(spec.unit, units, io.clock, signal);
  if (verdict.verdict !== 'Yes') throw refusal(d, verdict.reason, verdict.evidence);
}

/** A state that ran here before is not refused for failing now: what is in its way may pass. */
function refusal(d: Desired<ServiceSpec>, reason: string, message: string): Error {
  return d.heal ? new Error(message) : new Stalled(reason, message);
}
