// AlloyConfig: the configuration that Alloy runs. Its files are compared first and healed first, within
// milliseconds; what Alloy has loaded is asked only when they are right.
import path from 'node:path';
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import { sha256 } from '../../api/json.ts';
import { type Change, type Desired, defineKind, type Permission } from '../kind.ts';
import { fileChanges, restoreFile, saveFile, type WantedFile, writeFile } from '../managed-file.ts';
import type { FileState, Ports } from '../ports.ts';
import { accountIDs, accountPermissions } from '../shared/accounts.ts';
import { placesOf } from '../shared/places.ts';
import { runPermissions } from '../shared/programs.ts';
import { unitPermissions } from '../shared/units.ts';
import { originOf } from '../shared/urls.ts';
import { watchAll } from '../watch-all.ts';
import {
  type Access,
  askAlloy,
  type Door,
  doorOf,
  doorOrNone,
  openDoor,
  type Reload,
  reloadAlloy,
} from './alloy-api.ts';
import { assess, Before, GATE, type Seen, unhealthyOf } from './assess.ts';
import { checkSpec } from './check.ts';
import { directoryOf, droppedFiles, pathsOf, placeOf, wantedFiles } from './files.ts';
import {
  binaryOf,
  bindOf,
  differencesOf,
  otherThan,
  requireOpen,
  requireSoundNeighbours,
  runs,
  short,
  validated,
  type Whole,
  wholeOf,
} from './loaded.ts';
import {
  containerPermissions,
  type RunnerName,
  runnerName,
  runnerOf,
  targetImage,
  usePermissions,
} from './runner.ts';
import { AlloyConfigSpec } from './schema.ts';
import { refusalIn, withoutText } from './validate.ts';

type Needs = 'files' | 'processes' | 'http' | 'units' | 'supervised' | 'docker' | 'mounts' | 'clock';
type Io = Pick<Ports, Needs>;

const Memory = z.object({ written: z.record(z.string(), z.string()) });
type Memory = z.infer<typeof Memory>;
type D = Desired<AlloyConfigSpec, Memory>;

interface Observed extends Seen {
  /** As `pathsOf` has them. */
  readonly files: readonly FileState[];
  /** Paths that are not the document's any more, and are still there. */
  readonly dropped: readonly string[];
  /** Wanted owner and group as numbers, where the manifest names them. */
  readonly uid?: number;
  readonly gid?: number;
  /** What Alloy loads, as a text and as its hash; undefined while the files differ. */
  readonly whole: Whole | undefined;
}

const VERSION_TIMEOUT_MS = 10_000;

const addressOf = (spec: AlloyConfigSpec): string => spec.address ?? '127.0.0.1:12345';

export const alloyConfig = defineKind<AlloyConfigSpec, Observed, Needs, Before, Memory>({
  kind: 'AlloyConfig',
  scope: 'host',
  spec: AlloyConfigSpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['files', 'processes', 'http', 'units', 'supervised', 'docker', 'mounts', 'clock'],
  healLimit: { burst: 500, perSecond: 10 },
  gate: () => GATE,

  place: placeOf,
  owns: (spec) => pathsOf(spec).map((at) => `file:${at}`),
  // A copy of the directory must not hold half of what another document is writing.
  locks: (spec) => [`alloy:${directoryOf(spec)}`],

  permissions(spec) {
    const permissions: Permission[] = pathsOf(spec).map((value) => ({ type: 'path', value }));
    const runner = runnerName(spec);
    const at = addressOf(spec);
    permissions.push({
      type: 'url',
      value: originOf(`${spec.http?.tls === undefined ? 'http' : 'https'}://${at}`),
      why: 'Alloy is asked and reloaded there',
    });
    if (spec.http?.tls !== undefined) {
      const why = 'Alloy is asked there until it has loaded http { tls }';
      permissions.push({ type: 'url', value: originOf(`http://${at}`), why });
    }
    if (spec.container !== undefined) permissions.push(...containerPermissions(spec.container));
    if (runner !== undefined && 'unit' in runner) {
      permissions.push({
        type: 'unit',
        value: runner.unit,
        why: 'it is reloaded when Alloy’s API is closed to us',
      });
    }
    permissions.push(...accountPermissions(spec));
    return permissions;
  },

  async resolve(d, io, signal) {
    const { spec } = d;
    const runner = runnerName(spec);
    const isUnit = runner !== undefined && 'unit' in runner && runner.manager === 'systemd';
    return [
      ...placesOf(io.files, [...pathsOf(spec), ...droppedFiles(d, io.files)]),
      ...(spec.container === undefined
        ? runPermissions(io.processes, binaryOf(spec), 'it validates the config')
        : await usePermissions(spec.container, bindOf(d, io), d.own, io, signal)),
      ...(isUnit ? await unitPermissions(io.units, runner.unit, signal, 'it may be reloaded') : []),
    ];
  },

  check: checkSpec,

  async observe(d, io, signal) {
    const { spec } = d;
    const files = pathsOf(spec).map((at) => io.files.read(at));
    const dropped = droppedFiles(d, io.files);
    const ids = accountIDs(spec, io.files);
    const wanted = wantedFiles(d, ids);
    const secret = wanted.some((file) => file.secret);
    const seen = { files, dropped, ...ids, secret, nowMs: io.clock.now() };
    if (changesOf(wanted, files, dropped).length > 0) {
      const unasked = {
        alloy: undefined,
        runner: undefined,
        whole: undefined,
        format: undefined,
        refusal: undefined,
      };
      return { ...seen, ...unasked, differences: [] };
    }
    const [alloy, running] = await Promise.all([
      askAlloy(io.http, doorOf(accessOf(spec), d.content), signal),
      runnerOf(runnerName(spec), io)?.commandLine(signal),
    ]);
    const runner =
      alloy.state === 'stopped' ? await runnerOf(runnerName(spec), io)?.state(signal) : undefined;
    // Whoever started it may have stopped it meanwhile.
    const hasEnded = runner !== undefined && runner.is !== 'running';
    const refusal = hasEnded ? await refusalOf(d, files, secret, io, signal) : undefined;
    const whole = wholeOf(spec, wanted, running, io);
    return {
      ...seen,
      alloy,
      runner,
      refusal,
      whole,
      differences: differencesOf(spec, running, alloy.state === 'answers' && runs(alloy, whole.hash), io),
      format: running === undefined || running.format === 'alloy' ? undefined : running.format,
    };
  },

  diff(d, observed) {
    const wanted = wantedFiles(d, observed);
    const changes = changesOf(wanted, observed.files, observed.dropped);
    const { alloy, whole } = observed;
    if (changes.length > 0 || alloy === undefined || whole === undefined) return changes;
    // Alloy would refuse it, or read something else, until it is started anew.
    const isInWay = observed.format !== undefined || observed.differences.some((one) => one.standsInWay);
    const other = alloy.state === 'answers' && !isInWay ? otherThan(whole, alloy) : undefined;
    // A confirmed config leaves the API open: what closes it is something else that was loaded.
    const from = alloy.state === 'locked' && d.heal ? `what closes its API (${alloy.why})` : other;
    return from === undefined ? [] : [{ what: 'loaded', from, to: short(whole.hash) }];
  },

  assess: (_d, observed, trial) => assess(observed, trial),

  async prepare(d, observed, io, signal) {
    const { spec } = d;
    const odd = pathsOf(spec).find((_, i) => ['directory', 'other'].includes(observed.files[i]!.type));
    if (odd !== undefined) {
      throw new Stalled('NotAFile', `${odd} is no regular file, and is left alone; move it away first`);
    }
    requireUntaken(d, observed.files);
    const running = await runnerOf(runnerName(spec), io)?.commandLine(signal);
    const neighbours = await validated(d, running, io, signal);
    requireOpen(d, neighbours);
    const alloy = observed.alloy ?? (await askBefore(d, io, signal));
    const answered = alloy.state === 'answers';
    const unhealthy = answered ? unhealthyOf(alloy).map(({ id }) => id) : [];
    const runner = runnerName(spec);
    const save = (at: string, state: FileState) => saveFile(io.files, at, state, spec.inPlace === true);
    const [first, ...others] = [
      ...pathsOf(spec).map((at, i) => save(at, observed.files[i]!)),
      ...observed.dropped.map((at) => save(at, io.files.read(at))),
    ];
    const before: Before = {
      file: first!,
      address: addressOf(spec),
      ran: alloy.state !== 'stopped',
      healthy: answered && alloy.ready && unhealthy.length === 0,
      flow: null,
      answered,
      unhealthy,
      ...(others.length === 0 ? {} : { others }),
      ...(neighbours === undefined ? {} : { directory: true }),
      ...(spec.http === undefined ? {} : { access: accessOf(spec) }),
      ...(runner === undefined ? {} : { runner }),
    };
    return { existed: observed.files.some(({ type }) => type !== 'absent'), before };
  },

  async apply(changes, d, io, signal) {
    const { spec } = d;
    if (changes.some(({ what }) => what !== 'loaded')) {
      for (const wanted of wantedFiles(d, accountIDs(spec, io.files))) {
        const now = io.files.read(wanted.path);
        if (fileChanges('content', now, wanted).length > 0) writeFile(io.files, wanted, !d.heal, now);
      }
      for (const at of droppedFiles(d, io.files)) io.files.remove(at);
    }
    const memory = writtenBy(d);
    const running = await runnerOf(runnerName(spec), io)?.commandLine(signal);
    if (differencesOf(spec, running, false, io).some((one) => one.standsInWay)) return memory;
    if (d.heal) await requireSoundNeighbours(d, running, io, signal);
    const door = doorOf(accessOf(spec), d.content);
    const reload = await load(
      door,
      spec.http?.tls && openDoor(addressOf(spec)),
      runnerName(spec),
      io,
      signal,
    );
    if (reload.outcome !== 'refused') return memory;
    const isSecret = wantedFiles(d, {}).some(({ secret }) => secret);
    const why = isSecret ? withoutText(reload.why, placeOf(spec), pathsOf(spec)) : reload.why;
    // Alloy ran these bytes before: then it is something else that is wrong, and it may pass.
    if (d.heal) throw new Error(`Alloy refuses the confirmed config: ${why}`);
    throw new Stalled('ReloadRefused', why);
  },

  async undo(before, record, io, signal) {
    const saved = [before.file, ...(before.others ?? [])];
    for (const file of saved) {
      // What the document gave up meanwhile may be somebody else's by now.
      const isOurs = saved.length === 1 || record.owns.includes(`file:${file.path}`);
      if (isOurs || (file.type !== 'absent' && !io.files.exists(file.path))) restoreFile(io.files, file);
    }
    // Files that the document got later: there was nothing in their place (requireUntaken).
    const directory = path.dirname(before.file.path);
    const known = new Set(saved.map((file) => file.path));
    for (const claim of record.owns) {
      const at = claim.slice('file:'.length);
      if (path.dirname(at) === directory && !known.has(at))
        restoreFile(io.files, { path: at, type: 'absent' });
    }
    const rest =
      before.directory === true
        ? (io.files.list?.(directory) ?? []).some((name) => name.endsWith('.alloy'))
        : before.file.type !== 'absent';
    if (!rest) return; // nothing that Alloy could load instead
    const door = doorOrNone(before.access ?? { address: before.address }, record.content);
    // What was loaded meanwhile may have closed the API, or not yet.
    const reload = await load(door, openDoor(before.address), before.runner, io, signal);
    // Whether it is well with its old config is assessed; one that was not well before may refuse it as before.
    if (reload.outcome === 'refused' && before.healthy) {
      throw new Error(`Alloy refuses what it ran before: ${reload.why}`);
    }
    if (reload.outcome !== 'locked' || before.answered !== true) return;
    // A signal is taken in Alloy's own time; the next try of this undo finds the API open.
    let alloy = await askAlloy(io.http, door, signal);
    if (alloy.state === 'locked' && before.access?.tls !== undefined)
      alloy = await askAlloy(io.http, openDoor(before.address), signal);
    if (alloy.state === 'locked')
      throw new Error(`Alloy was sent SIGHUP, and its API is still closed: ${alloy.why}`);
  },

  watch(d, io, wake, signal) {
    const [first, ...more] = pathsOf(d.spec);
    const runner = runnerOf(runnerName(d.spec), io);
    const files = d.spec.directory === false ? more : [...more, path.join(directoryOf(d.spec), '*.alloy')];
    return watchAll(io.clock, wake, signal, (w, s) => io.files.watch(first!, w, s), [
      ...files.map((at) => (w: () => void, s: AbortSignal) => io.files.watch(at, w, s)),
      ...(runner === undefined ? [] : [runner.watch]),
    ]);
  },

  async version(d, io, signal) {
    // Of the image, whether Alloy answers or not: another name for the same program would lift its quarantine.
    if (d.spec.container !== undefined) {
      return d.spec.container.image ?? (await targetImage(d.spec.container, io, signal)) ?? '';
    }
    const alloy = await askAlloy(io.http, doorOf(accessOf(d.spec), d.content), signal);
    if (alloy.state === 'answers' && alloy.version !== '') return alloy.version;
    const options = { timeoutMs: VERSION_TIMEOUT_MS, signal, chosen: true } as const;
    const ran = await io.processes.run(binaryOf(d.spec), ['--version'], options).catch(() => undefined);
    signal.throwIfAborted();
    return /version (\S+)/.exec(ran?.stdout ?? '')?.[1] ?? '';
  },
});

/** Why Alloy ended, in its own words, since the newest of the files was written. */
async function refusalOf(
  { spec }: D,
  files: readonly FileState[],
  isSecret: boolean,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  const sinceMs = Math.max(...files.map((file) => (file.type === 'file' ? (file.mtimeMs ?? Infinity) : 0)));
  const output = Number.isFinite(sinceMs) && (await runnerOf(runnerName(spec), io)?.output(sinceMs, signal));
  const line = refusalIn(output || '', pathsOf(spec));
  return line !== undefined && isSecret ? withoutText(line, placeOf(spec), pathsOf(spec)) : line;
}

function accessOf(spec: AlloyConfigSpec): Access {
  return { address: addressOf(spec), ...spec.http };
}

function changesOf(
  wanted: readonly WantedFile[],
  files: readonly FileState[],
  dropped: readonly string[],
): Change[] {
  const name = (file: WantedFile) =>
    wanted.length === 1 ? 'content' : `content of ${path.basename(file.path)}`;
  return [
    ...wanted.flatMap((file, i) => fileChanges(name(file), files[i]!, file)),
    ...dropped.map((at) => ({ what: path.basename(at), from: 'a file of this document', to: 'absent' })),
  ];
}

/** A file that a document gets later has no place in its first snapshot, so it must not be anybody's. @throws Stalled */
function requireUntaken({ spec, held }: D, files: readonly FileState[]): void {
  if (held.length === 0) return;
  const taken = pathsOf(spec).find((at, i) => files[i]!.type !== 'absent' && !held.includes(`file:${at}`));
  if (taken === undefined) return;
  throw new Stalled(
    'NotOurs',
    `there is a file ${taken} already that this document did not write, and it is left alone: move it away, or take its name out of files`,
  );
}

function writtenBy(d: D): Memory {
  const files = wantedFiles(d, {}).map(({ path: at, bytes }) => [at, sha256(bytes)] as const);
  return { written: Object.fromEntries(files) };
}

/** Alloy before a change. One that begins to speak TLS with it does not yet. */
async function askBefore(d: D, io: Io, signal: AbortSignal) {
  const alloy = await askAlloy(io.http, doorOf(accessOf(d.spec), d.content), signal);
  if (alloy.state !== 'locked' || d.spec.http?.tls === undefined) return alloy;
  return await askAlloy(io.http, openDoor(addressOf(d.spec)), signal);
}

/**
 * By its API, or by its runner where the API is closed to us: `locked` then means that it was sent a signal.
 * @param before as it may be asked until it has loaded what closes it
 */
async function load(
  door: Door,
  before: Door | undefined,
  name: RunnerName | undefined,
  io: Io,
  signal: AbortSignal,
): Promise<Reload> {
  let reload = await reloadAlloy(io.http, door, signal);
  if (reload.outcome === 'locked' && before !== undefined)
    reload = await reloadAlloy(io.http, before, signal);
  if (reload.outcome !== 'locked') return reload;
  const runner = runnerOf(name, io);
  if (runner === undefined) {
    throw new Error(`${reload.why}, and nobody is named who runs Alloy (manager: none): restart it by hand`);
  }
  await runner.reload(signal);
  return reload;
}
