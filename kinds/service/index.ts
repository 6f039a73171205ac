// Service: a unit's files, whether it is enabled, masked and running, and that the running process was started
// with what is on disk now. Under systemd, or as a child of the agent (`manager: supervised`).
import { Stalled, Waiting } from '../../api/errors.ts';
import { type Change, type Concern, defineKind } from '../kind.ts';
import { fileChanges } from '../managed-file.ts';
import { watchAll } from '../watch-all.ts';
import { apply } from './apply.ts';
import { assess } from './assess.ts';
import { checkService } from './check.ts';
import { definitionChanges } from './definition.ts';
import { Memory } from './memory.ts';
import { isSupervised, type Needs, type Observed, observe, unitsOf } from './observe.ts';
import { cannotBeEnabled, needsUnit, notFound } from './obstacle.ts';
import { permissions, resolve } from './permissions.ts';
import { ServiceSpec } from './schema.ts';
import { GATE, stateChanges } from './state.ts';
import { Before, beforeSupervised, beforeSystemd, undo } from './undo.ts';
import {
  claims,
  enablingLink,
  hasAnotherUnitFile,
  ownPaths,
  unitFilePath,
  wantedFiles,
} from './unit-files.ts';

const UNIT_AGAIN_MS = 30_000;

export const service = defineKind<ServiceSpec, Observed, Needs, Before, Memory>({
  kind: 'Service',
  scope: 'host',
  spec: ServiceSpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['files', 'units', 'supervised', 'clock'],
  healLimit: { burst: 300, perSecond: 0.5 },

  place: (spec) => `${spec.manager ?? 'systemd'} ${spec.unit}`,
  owns: claims,

  permissions,
  resolve,

  inputs: (spec) => spec.restartOn ?? [],
  check: checkService,
  observe,

  diff(d, observed) {
    const changes: Change[] = wantedFiles(d).flatMap((wanted, i) =>
      fileChanges(wanted.what, observed.files[i]!, wanted),
    );
    const { leftovers, foreign } = observed;
    for (const path of [...leftovers, ...(d.spec.exclusive === true ? foreign : [])]) {
      changes.push({ what: path, from: 'present', to: 'absent' });
    }
    if (isSupervised(d.spec)) changes.push(...definitionChanges(d, observed.definition));
    return [...changes, ...stateChanges(d, observed)];
  },

  assess,
  gate: () => GATE,

  async prepare(d, observed, { files }) {
    const { spec } = d;
    if (isSupervised(spec)) return beforeSupervised(spec.unit, observed);
    const { unit, leftovers, foreign } = observed;
    const isLosing = leftovers.includes(unitFilePath(spec.unit)) && !hasAnotherUnitFile(spec.unit, files);
    if (needsUnit(spec) && (unit.loadState === 'not-found' || isLosing)) {
      throw new Waiting('UnitNotFound', notFound(spec.unit), UNIT_AGAIN_MS);
    }
    // The unit file that git gives is mended in git; what others brought runs all the same, and says what it lacks.
    const wrong = spec.unitFile === undefined ? undefined : cannotBeEnabled(d, unit, observed.also);
    if (wrong !== undefined) throw new Stalled('CannotBeEnabled', wrong);
    const others = spec.exclusive === true ? foreign : [];
    const paths = [...ownPaths(spec), ...leftovers, ...others];
    return beforeSystemd(spec.unit, observed, files, paths, spec.state === 'unmanaged');
  },

  apply,
  undo: (before, { owns }, io, signal) => undo(before, owns, io, signal),

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

  conditions({ spec }, { foreign, unit }): Concern[] {
    const concerns: Concern[] = [];
    const add = (type: string, reason: string, message: string): unknown =>
      concerns.push({ type, status: 'True', reason, message });
    if (foreign.length > 0 && spec.exclusive !== true) {
      const message = `changed beside the manifest by ${foreign.join(', ')}; say exclusive: true to have that removed`;
      add('ForeignUnitFiles', 'EditedByHand', message);
    }
    if (unit.replacedProgram !== undefined) {
      const message = `${spec.unit} still runs ${unit.replacedProgram}, which was replaced since it started: systemctl restart ${spec.unit}, or name its Package in restartOn`;
      add('OutdatedProgram', 'ProgramReplaced', message);
    }
    return concerns;
  },
});
