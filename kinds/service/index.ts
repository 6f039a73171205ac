// Service: a unit's files, whether it is enabled, masked and running, and that the running process was started
// with what is on disk now. Under systemd, or as a child of the agent (`manager: supervised`).
import { Stalled, Waiting } from '../../api/errors.ts';
import { type Ask, type Change, type Concern, defineKind } from '../kind.ts';
import { fileChanges } from '../managed-file.ts';
import { watchAll } from '../watch-all.ts';
import { apply, isSupervised, type Needs, observe, unitsOf } from './apply.ts';
import { assess } from './assess.ts';
import { checkService } from './check.ts';
import { definitionChanges } from './definition.ts';
import { Memory, type Service } from './memory.ts';
import { notFound, wrongEnablement } from './obstacle.ts';
import { ServiceSpec } from './schema.ts';
import { GATE, type Observed, stateChanges } from './state.ts';
import { Before, beforeSupervised, beforeSystemd, undo } from './undo.ts';
import {
  claims,
  enablingLink,
  hasAnotherUnitFile,
  installs,
  ownPaths,
  programsOf,
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
    if (spec.unitFile === undefined && (unit.loadState === 'not-found' || isLosing)) {
      throw new Waiting('UnitNotFound', notFound(spec.unit), UNIT_AGAIN_MS);
    }
    const wrong = cannotBeEnabled(d, observed);
    if (wrong !== undefined) throw new Stalled('CannotBeEnabled', wrong);
    const others = spec.exclusive === true ? foreign : [];
    return beforeSystemd(spec.unit, observed, files, [...ownPaths(spec), ...leftovers, ...others]);
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

  conditions({ spec }, { foreign }): Concern[] {
    if (foreign.length === 0 || spec.exclusive === true) return [];
    const message = `changed beside the manifest by ${foreign.join(', ')}; say exclusive: true to have that removed`;
    return [{ type: 'ForeignUnitFiles', status: 'True', reason: 'EditedByHand', message }];
  },
});

/** Why the unit could not be enabled as wanted, once it is written, and what would be right. */
function cannotBeEnabled(d: Service, { unit, also }: Observed): string | undefined {
  const { spec } = d;
  if (spec.enabled && wantedFiles(d).some(({ bytes }) => installs(bytes.toString()))) return undefined;
  if (spec.unitFile === undefined || !spec.enabled) return wrongEnablement(spec, unit, also);
  return `${spec.unit} can't be enabled: its unitFile has no [Install] section with WantedBy=; give it one, or leave enabled out`;
}
