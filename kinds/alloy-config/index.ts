// AlloyConfig: the configuration that Alloy runs. The file is compared first and healed first, within
// milliseconds; what Alloy has loaded is asked only when the file is right.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import { sha256 } from '../../api/json.ts';
import { type Desired, defineKind, type Finding, type Permission } from '../kind.ts';
import { fileChanges, restoreFile, saveFile, type WantedFile, writeFile } from '../managed-file.ts';
import { type ResolvedBind, uncovered } from '../mounts-wanted.ts';
import type { FileState, Ports } from '../ports.ts';
import { accountIDs, accountPermissions } from '../shared/accounts.ts';
import { placesOf } from '../shared/places.ts';
import { runPermissions } from '../shared/programs.ts';
import { unitPermissions } from '../shared/units.ts';
import { addressPermission } from '../shared/urls.ts';
import { watchAll } from '../watch-all.ts';
import { type AlloyAnswers, askAlloy, type Reload, reloadAlloy } from './alloy-api.ts';
import { assess, Before, GATE, type Seen, unhealthyOf } from './assess.ts';
import { missingComponents } from './components.ts';
import {
  containerPermissions,
  type RunnerName,
  runnerName,
  runnerOf,
  targetImage,
  usePermissions,
} from './runner.ts';
import { AlloyConfigSpec } from './schema.ts';
import { hostValidator, imageValidator, validate, withoutText } from './validate.ts';

type Needs = 'files' | 'processes' | 'http' | 'units' | 'supervised' | 'docker' | 'mounts' | 'clock';
type Io = Pick<Ports, Needs>;

interface Observed extends Seen {
  readonly file: FileState;
  /** Wanted owner and group as numbers, where the manifest names them. */
  readonly uid?: number;
  readonly gid?: number;
}

const VERSION_TIMEOUT_MS = 10_000;

const pathOf = (spec: AlloyConfigSpec): string => path.normalize(spec.path ?? '/etc/alloy/config.alloy');
const addressOf = (spec: AlloyConfigSpec): string => spec.address ?? '127.0.0.1:12345';
const binaryOf = (spec: AlloyConfigSpec): string => spec.binary ?? 'alloy';
const short = (hash: string): string => hash.slice(0, 12);

export const alloyConfig = defineKind<AlloyConfigSpec, Observed, Needs, Before>({
  kind: 'AlloyConfig',
  scope: 'host',
  spec: AlloyConfigSpec,
  before: { version: 1, schema: Before },
  needs: ['files', 'processes', 'http', 'units', 'supervised', 'docker', 'mounts', 'clock'],
  healLimit: { burst: 500, perSecond: 10 },
  gate: () => GATE,

  place: pathOf,
  owns: (spec) => [`file:${pathOf(spec)}`],

  permissions(spec) {
    const permissions: Permission[] = [{ type: 'path', value: pathOf(spec) }];
    const runner = runnerName(spec);
    permissions.push(addressPermission(addressOf(spec), 'Alloy is asked and reloaded there'));
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
      ...placesOf(io.files, [pathOf(spec)]),
      ...(spec.container === undefined
        ? runPermissions(io.processes, binaryOf(spec), 'it validates the config')
        : await usePermissions(spec.container, directoryOf(d, io), d.own, io, signal)),
      ...(isUnit ? await unitPermissions(io.units, runner.unit, signal, 'it may be reloaded') : []),
    ];
  },

  check(spec): Finding[] {
    const host = (['unit', 'manager', 'binary'] as const).find((field) => spec[field] !== undefined);
    if (spec.container !== undefined && host !== undefined) {
      const message = `${host} is for an Alloy of the host, container for one in a container; keep one`;
      return [{ path: [host], message }];
    }
    if (spec.content !== undefined && spec.contentFrom !== undefined) {
      return [{ path: ['contentFrom'], message: 'content and contentFrom exclude each other; keep one' }];
    }
    if (spec.content === undefined && spec.contentFrom === undefined) {
      const message = 'an AlloyConfig needs content, or contentFrom: a file beside the manifest';
      return [{ path: [], message }];
    }
    // An empty config stops a collector: everything it sends ends without an error.
    if (typeof spec.content === 'string' && spec.content.trim() === '') {
      const message = 'an empty config stops all telemetry; stop the Service if that is meant';
      return [{ path: ['content'], message }];
    }
    return [];
  },

  async observe(d, io, signal) {
    const file = io.files.read(pathOf(d.spec));
    const ids = accountIDs(d.spec, io.files);
    const wanted = wantedFile(d, ids);
    const seen = { file, ...ids, secret: wanted.secret, nowMs: io.clock.now() };
    if (fileChanges('content', file, wanted).length > 0) {
      return { ...seen, alloy: undefined, runner: undefined };
    }
    const alloy = await askAlloy(io.http, addressOf(d.spec), signal);
    const runner =
      alloy.state === 'stopped' ? await runnerOf(runnerName(d.spec), io)?.state(signal) : undefined;
    return { ...seen, alloy, runner };
  },

  diff(d, observed) {
    const wanted = wantedFile(d, observed);
    const changes = fileChanges('content', observed.file, wanted);
    const { alloy } = observed;
    if (changes.length > 0 || alloy === undefined) return changes;
    const runs = alloy.state === 'answers' ? otherThan(wanted.bytes, alloy) : undefined;
    // A confirmed config leaves the API open: what closes it is something else that was loaded.
    const from = alloy.state === 'locked' && d.heal ? `what closes its API (${alloy.why})` : runs;
    return from === undefined ? [] : [{ what: 'loaded', from, to: short(sha256(wanted.bytes)) }];
  },

  assess: (_d, observed, trial) => assess(observed, trial),

  async prepare(d, observed, io, signal) {
    const { spec } = d;
    const { type } = observed.file;
    if (type === 'directory' || type === 'other') {
      const message = `${pathOf(spec)} is no regular file, and is left alone; move it away first`;
      throw new Stalled('NotAFile', message);
    }
    const { bytes, secret } = wantedFile(d, observed);
    const validator =
      spec.container === undefined
        ? hostValidator(binaryOf(spec), io, signal)
        : imageValidator(d, await targetImage(spec.container, io, signal), directoryOf(d, io), io, signal);
    const candidate = { path: pathOf(spec), bytes, secret, stability: spec.stability };
    await validate(candidate, io.files, validator);
    const alloy = observed.alloy ?? (await askAlloy(io.http, addressOf(spec), signal));
    const answered = alloy.state === 'answers';
    const unhealthy = answered ? unhealthyOf(alloy).map(({ id }) => id) : [];
    const runner = runnerName(spec);
    const before: Before = {
      file: saveFile(io.files, pathOf(spec), observed.file, spec.inPlace === true),
      address: addressOf(spec),
      ran: alloy.state !== 'stopped',
      healthy: answered && alloy.ready && unhealthy.length === 0,
      flow: null,
      answered,
      unhealthy,
      ...(runner === undefined ? {} : { runner }),
    };
    return { existed: type !== 'absent', before };
  },

  async apply(changes, d, io, signal) {
    const { spec } = d;
    if (changes.some(({ what }) => what !== 'loaded')) {
      writeFile(io.files, wantedFile(d, accountIDs(spec, io.files)), !d.heal);
    }
    const reload = await load(addressOf(spec), runnerName(spec), io, signal);
    if (reload.outcome !== 'refused') return undefined;
    const { secret } = d.content(spec.content ?? '');
    const why = secret ? withoutText(reload.why, pathOf(spec)) : reload.why;
    // Alloy ran these bytes before: then it is something else that is wrong, and it may pass.
    if (d.heal) throw new Error(`Alloy refuses the confirmed config: ${why}`);
    throw new Stalled('ReloadRefused', why);
  },

  async undo(before, _record, io, signal) {
    restoreFile(io.files, before.file);
    if (before.file.type === 'absent') return; // nothing that Alloy could load instead
    const reload = await load(before.address, before.runner, io, signal);
    // Whether it is well with its old config is assessed; one that was not well before may refuse it as before.
    if (reload.outcome === 'refused' && before.healthy) {
      throw new Error(`Alloy refuses what it ran before: ${reload.why}`);
    }
    if (reload.outcome !== 'locked' || before.answered !== true) return;
    // A signal is taken in Alloy's own time; the next try of this undo finds the API open.
    const alloy = await askAlloy(io.http, before.address, signal);
    if (alloy.state === 'locked')
      throw new Error(`Alloy was sent SIGHUP, and its API is still closed: ${alloy.why}`);
  },

  watch(d, io, wake, signal) {
    const runner = runnerOf(runnerName(d.spec), io);
    const others = runner === undefined ? [] : [runner.watch];
    return watchAll(io.clock, wake, signal, (w, s) => io.files.watch(pathOf(d.spec), w, s), others);
  },

  async version(d, io, signal) {
    // Of the image, whether Alloy answers or not: another name for the same program would lift its quarantine.
    if (d.spec.container !== undefined) {
      return d.spec.container.image ?? (await targetImage(d.spec.container, io, signal)) ?? '';
    }
    const alloy = await askAlloy(io.http, addressOf(d.spec), signal);
    if (alloy.state === 'answers' && alloy.version !== '') return alloy.version;
    const options = { timeoutMs: VERSION_TIMEOUT_MS, signal, chosen: true } as const;
    const ran = await io.processes.run(binaryOf(d.spec), ['--version'], options).catch(() => undefined);
    signal.throwIfAborted();
    return /version (\S+)/.exec(ran?.stdout ?? '')?.[1] ?? '';
  },
});

/** What the validating container sees of the host. */
function directoryOf(d: Desired<AlloyConfigSpec>, { mounts }: Pick<Io, 'mounts'>): ResolvedBind {
  const source = path.dirname(pathOf(d.spec));
  return uncovered({ source, target: source, readOnly: true, isRecursive: false }, mounts);
}

/** What Alloy runs instead of these bytes, for people; undefined when it runs them, or it can't be seen. */
function otherThan(bytes: Buffer, alloy: AlloyAnswers): string | undefined {
  // Before its first load it has none; it loads the file by itself.
  if (!alloy.ready || alloy.hashes.length === 0) return undefined;
  if (!alloy.hashes.includes(sha256(bytes))) return alloy.hashes.map(short).join(', ');
  // The hash is of the file that was tried last, and these say that Alloy refused it.
  if (alloy.lastLoadFailed) return 'an earlier config, since Alloy could not read this one';
  const missing = missingComponents(bytes.toString(), alloy.components ?? []);
  if (alloy.components === undefined || missing.length === 0) return undefined;
  return `an earlier config, without ${missing.join(', ')}`;
}

/** By its API, or by its runner where the API is closed to us: `locked` then means that it was sent a signal. */
async function load(
  address: string,
  name: RunnerName | undefined,
  io: Io,
  signal: AbortSignal,
): Promise<Reload> {
  const reload = await reloadAlloy(io.http, address, signal);
  if (reload.outcome !== 'locked') return reload;
  const runner = runnerOf(name, io);
  if (runner === undefined) {
    throw new Error(`${reload.why}, and nobody is named who runs Alloy (manager: none): restart it by hand`);
  }
  await runner.reload(signal);
  return reload;
}

function wantedFile(d: Desired<AlloyConfigSpec>, ids: Pick<Observed, 'uid' | 'gid'>): WantedFile {
  const { spec } = d;
  return {
    ...d.content(spec.content ?? ''),
    path: pathOf(spec),
    mode: Number.parseInt(spec.mode ?? (spec.group === undefined ? '0644' : '0640'), 8),
    uid: ids.uid,
    gid: ids.gid,
    inPlace: spec.inPlace === true,
  };
}
