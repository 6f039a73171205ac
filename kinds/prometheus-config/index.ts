// PrometheusConfig: our scrape jobs and rule files in a prometheus.yml that people edit, each list one marked block,
// everything else byte for byte as it was; or the jobs in a file of ours beside it. Prometheus is to run what stands there.
import { Stalled, Waiting } from '../../api/errors.ts';
import { type Change, type Desired, defineKind, type Finding, type Permission } from '../kind.ts';
import { unknown } from '../shared/verdicts.ts';
import { watchAll } from '../watch-all.ts';
import { noteWhole, requireAtRest, requireDone } from './at-rest.ts';
import { type Io, reachedBy, serverOf, serverPermissions, withoutLostSecrets } from './connection.ts';
import { type Runs, rulePatterns, verdictOf, WITHIN_MS, whatRuns } from './loaded.ts';
import {
  claimsOf,
  contentOf,
  directoryOf,
  type Form,
  jobsFileOf,
  KEYS,
  mayHaveFile,
  NO_PART,
  type Part,
  pathOf,
  readPart,
  readParts,
  wantedParts,
} from './parts.ts';
import { reload, reloadToTheEnd } from './reload.ts';
import { resolve } from './resolve.ts';
import { PrometheusConfigSpec } from './schema.ts';
import { ask, identify } from './server.ts';
import { Before, ownersOf, partsAfterUndo, partsBefore } from './undo.ts';
import {
  checkConnection,
  checkItems,
  knowsScrapeFiles,
  promtoolOf,
  refusedIfWritten,
  refusedOnDisk,
  refuseOld,
  refuseTaken,
  requireItems,
  requireReachable,
  requireSeen,
} from './validate.ts';
import { type Edit, editedText, removeFiles, requirePlaceable, textOf, write } from './write.ts';

type Needs = 'files' | 'processes' | 'http' | 'units' | 'docker' | 'clock';
type D = Desired<PrometheusConfigSpec>;

interface Observed {
  readonly form: Form;
  readonly edit: Edit;
  readonly runs: Runs | undefined;
}

const AGAIN_MS = 10_000;
const ABSENT_AGAIN_MS = 30_000;

export const prometheusConfig = defineKind<PrometheusConfigSpec, Observed, Needs, Before>({
  kind: 'PrometheusConfig',
  scope: 'host',
  spec: PrometheusConfigSpec,
  before: { version: 1, schema: Before },
  needs: ['files', 'processes', 'http', 'units', 'docker', 'clock'],
  secretsOnlyOpen: true,

  place: pathOf,
  owns: claimsOf,
  // Documents of one config write the same file.
  locks: (spec) => [`prometheus:${pathOf(spec)}`],
  inputs: (spec) => spec.reloadOn ?? [],
  permissions(spec) {
    const { unit, container } = spec;
    const permissions: Permission[] = [{ type: 'path', value: pathOf(spec) }];
    const why = 'the jobs; not with form: block';
    if (mayHaveFile(spec)) permissions.push({ type: 'path', value: `${directoryOf(pathOf(spec))}/`, why });
    permissions.push(...serverPermissions(serverOf(spec)));
    if (spec.caFile !== undefined)
      permissions.push({ type: 'path', value: spec.caFile, why: 'whom it trusts' });
    if (unit !== undefined) permissions.push({ type: 'unit', value: unit, why: 'it is reloaded' });
    if (container !== undefined) {
      permissions.push({ type: 'unit', value: `container:${container}`, why: 'it is sent SIGHUP' });
    }
    return permissions;
  },

  resolve,

  check(spec) {
    const { scrapeConfigs, ruleFiles } = spec;
    const findings: Finding[] = [];
    if (scrapeConfigs === undefined && (ruleFiles ?? []).length === 0) {
      findings.push({ path: [], message: 'nothing is asked for; give scrapeConfigs or ruleFiles' });
    }
    if (spec.unit !== undefined && spec.container !== undefined) {
      const message = 'Prometheus is a unit or a container: unit is given, so leave one of them out';
      findings.push({ path: ['container'], message });
    }
    if (spec.inPlace === true && spec.form === 'file') {
      const message =
        'with inPlace the config alone is seen by Prometheus, and no file beside it: use form: block';
      findings.push({ path: ['form'], message });
    }
    findings.push(...checkConnection(spec));
    if (scrapeConfigs === undefined) return findings;
    const { content, contentFrom } = scrapeConfigs;
    if ((content === undefined) === (contentFrom === undefined)) {
      const message = 'give either content or contentFrom: a file beside the manifest';
      findings.push({ path: ['scrapeConfigs'], message });
    }
    if (content !== undefined) findings.push(...checkItems(content));
    return findings;
  },

  async observe(d, io, signal) {
    const { form, edit } = await look(d, io, signal);
    const isWritten = changesOf(edit, d.key).length === 0;
    if (isWritten) noteWhole(edit, io);
    const runs = isWritten ? await whatRuns(d, form, io, signal) : undefined;
    return { form, edit, runs };
  },

  diff(d, { edit, runs }) {
    const changes = changesOf(edit, d.key);
    if (runs?.stale === undefined || runs.refused !== undefined) return changes;
    return [...changes, { what: 'loaded', from: runs.stale, to: 'what is on disk' }];
  },

  assess: (d, { form, runs }, trial) =>
    runs === undefined
      ? unknown('NotWritten', 'the files are not as they are to be')
      : verdictOf(d, form, runs, trial),
  gate: () => ({ withinMs: WITHIN_MS, settleMs: 1_000 }),

  async prepare(d, { form, edit }, io, signal) {
    const { spec, key } = d;
    requireAtRest(edit, io);
    await requireItems(spec);
    await refuseTaken(spec, edit.text);
    await requirePlaceable(edit);
    const answer = await ask(reachedBy(d), io, signal);
    await requireReachable(d, answer, io, signal);
    await requireSeen(d, io, signal);
    if (form === 'file') await refuseOld(d, io, signal);
    await requireValid(d, form, edit, io, signal);
    const { path, inPlace, now } = edit;
    const parts = partsBefore(edit, key);
    const before = { ...serverOf(spec), path, inPlace, ...parts, answered: answer.state === 'running' };
    return { existed: KEYS.some((name) => now.get(key)?.[name] !== undefined), before };
  },

  async apply(changes, d, io, signal) {
    if (changes.length > 0) await writeAtRest(d, io, signal);
    else if (mayHaveFile(d.spec)) io.files.removeStale?.(jobsFileOf(pathOf(d.spec), d.key));
    const refused = await reload(reachedBy(d), io, signal);
    if (refused === undefined) return undefined;
    if (d.heal) throw new Error(`Prometheus refuses the confirmed config: ${refused}`);
    throw new Stalled('ReloadRefused', refused);
  },

  async undo(before, record, io, signal) {
    const { path, inPlace } = before;
    const config = io.files.read(path);
    if (config.type !== 'file') return removeFiles(io.files, path, [jobsFileOf(path, record.key)]);
    const text = textOf(path, config);
    const owners = ownersOf(before, record);
    const now = new Map(owners.map((owner) => [owner, readPart(io.files, path, text, owner)]));
    const edit = { path, inPlace, config, text, now, wanted: partsAfterUndo(before, record, now) };
    requireDone(edit, io);
    if (editedText(edit) !== text) {
      requireAtRest(edit, io);
      await requirePlaceable(edit);
    }
    write(edit, io.files, true);
    // Also when the files are right already: an agent that was killed may not have come to this.
    const server = withoutLostSecrets({ ...before, content: record.content });
    const refused = await reloadToTheEnd(server, io, signal);
    if (refused !== undefined)
      throw new Error(`our part is out again, and Prometheus refuses the rest: ${refused}`);
  },

  watch(d, io, wake, signal) {
    const { unit } = d.spec;
    const files = [
      ...(mayHaveFile(d.spec) ? [jobsFileOf(pathOf(d.spec), d.key)] : []),
      ...rulePatterns(d.spec),
    ];
    const others = files.map((file) => (w: () => void, s: AbortSignal) => io.files.watch(file, w, s));
    if (unit !== undefined) others.push((w, s) => io.units.watch(unit, w, s));
    return watchAll(io.clock, wake, signal, (w, s) => io.files.watch(pathOf(d.spec), w, s), others);
  },
});

/** @throws Waiting when there is no config, Stalled when it is no file. */
async function look(d: D, io: Io, signal: AbortSignal): Promise<{ form: Form; edit: Edit }> {
  const { spec, key } = d;
  const path = pathOf(spec);
  const config = io.files.read(path);
  if (config.type === 'absent') {
    throw new Waiting('NoConfig', `${path} is not there: is Prometheus installed?`, ABSENT_AGAIN_MS);
  }
  if (config.type !== 'file') throw new Stalled('NotAFile', `${path} is no regular file`);
  const text = textOf(path, config);
  const now = readParts(io.files, path, text, key);
  const form = await formOf(d, now.get(key) ?? NO_PART, io, signal);
  const wanted = wantedParts(now, spec, key, form, d.held);
  return { form, edit: { path, inPlace: spec.inPlace === true, config, text, now, wanted } };
}

/**
 * What stands there already stays in its form, so that an upgrade of Prometheus moves nothing; else it is a file
 * where Prometheus is 2.43 or newer and reads this very config, which a container may know by another path.
 */
async function formOf(d: D, now: Part, io: Io, signal: AbortSignal): Promise<Form> {
  const { spec } = d;
  const { form = 'auto', inPlace } = spec;
  if (form !== 'auto') return form;
  if (contentOf(spec) === '') return 'block';
  if (now.scrape_config_files !== undefined) return 'file';
  if (inPlace === true || now.scrape_configs !== undefined) return 'block';
  const found = await identify(reachedBy(d), promtoolOf(spec), io, signal);
  if (found === undefined || !knowsScrapeFiles(found.version)) return 'block';
  const real = io.files.hostPath?.(pathOf(spec)) ?? pathOf(spec);
  return found.configFile === undefined || found.configFile === real ? 'file' : 'block';
}

function changesOf({ path, now, wanted }: Edit, self: string): Change[] {
  return [...wanted].flatMap(([owner, part]) => {
    const was = now.get(owner) ?? NO_PART;
    return [...KEYS, 'file' as const].flatMap((what): Change[] => {
      const [before, after] = [was[what], part[what]];
      if (before === after) return [];
      const [noun, name] = what === 'file' ? ['file', jobsFileOf(path, owner)] : ['block', what];
      return [
        {
          what: owner === self || what === 'file' ? name! : `${name} of ${owner}`,
          from: before === undefined ? `no ${noun}` : `another ${noun}`,
          to: after === undefined ? `no ${noun}` : owner === self ? 'ours' : 'without what is ours',
          text: { before: before ?? '', after: after ?? '', secret: false },
        },
      ];
    });
  });
}

/** @throws Stalled when promtool refuses what is ours, Waiting when it refuses what others have to mend. */
async function requireValid(d: D, form: Form, edit: Edit, io: Io, signal: AbortSignal): Promise<void> {
  const refused = await refusedIfWritten(d, editedText(edit), form, io, signal);
  if (refused === undefined) return;
  const isTheirs =
    refused.reason === 'RulesRefused' || (await refusedOnDisk(d.spec, io, signal)) !== undefined;
  if (isTheirs) throw new Waiting(refused.reason, refused.words, AGAIN_MS);
  throw new Stalled('Invalid', refused.words);
}

/** @throws Waiting while somebody edits the config, and while promtool refuses what they wrote. */
async function writeAtRest(d: D, io: Io, signal: AbortSignal): Promise<void> {
  const { form, edit } = await look(d, io, signal);
  requireAtRest(edit, io);
  if (changesOf(edit, d.key).length === 0) return;
  await requirePlaceable(edit);
  // Also of a new state: what prepare looked at may be another text by now.
  const refused = await refusedIfWritten(d, editedText(edit), form, io, signal);
  if (refused !== undefined) throw new Waiting('Invalid', refused.words, AGAIN_MS);
  write(edit, io.files, !d.heal);
}
