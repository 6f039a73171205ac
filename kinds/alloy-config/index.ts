// AlloyConfig: the configuration that Alloy runs. The file is compared first and healed first, within
// milliseconds; what Alloy has loaded is asked only when the file is right.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import { type Json, sha256 } from '../../api/json.ts';
import { mountAsks } from '../container-powers.ts';
import { type Ask, type Concern, type Desired, defineKind, type Verdict } from '../kind.ts';
import {
  fileChanges,
  restoreFile,
  type SavedFile,
  saveFile,
  type WantedFile,
  writeFile,
} from '../managed-file.ts';
import type { FileState, Files, Ports } from '../ports.ts';
import { watchAll } from '../watch-all.ts';
import { type AlloyState, askAlloy, reloadAlloy } from './alloy-api.ts';
import { baseline, flows, isHealthyWith } from './gate.ts';
import { runnerOf, targetImage } from './runner.ts';
import { AlloyConfigSpec } from './schema.ts';
import { hostValidator, imageValidator, validate, withoutText } from './validate.ts';

type Needs = 'files' | 'processes' | 'http' | 'units' | 'supervised' | 'docker' | 'clock';
type Io = Pick<Ports, Needs>;

interface Observed {
  readonly file: FileState;
  /** Wanted owner and group as numbers, where the manifest names them. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** Not asked while the file differs. */
  readonly alloy: AlloyState | undefined;
}

/** The way back; JSON. */
interface Before {
  readonly file: SavedFile;
  readonly address: string;
  /** Whether Alloy ran, and whether it was healthy. */
  readonly ran: boolean;
  readonly healthy: boolean;
  readonly flow: Json;
}

/** Components may need a moment, and so does an Alloy that Service is just starting again. */
const GATE_MS = 15_000;
/** A heal brings nothing new, and nobody should wait long for the next one. */
const HEAL_GATE_MS = 2_000;
const VERSION_TIMEOUT_MS = 10_000;

const pathOf = (spec: AlloyConfigSpec): string => spec.path ?? '/etc/alloy/config.alloy';
const addressOf = (spec: AlloyConfigSpec): string => spec.address ?? '127.0.0.1:12345';
const binaryOf = (spec: AlloyConfigSpec): string => spec.binary ?? 'alloy';

export const alloyConfig = defineKind<AlloyConfigSpec, Observed, Needs>({
  kind: 'AlloyConfig',
  scope: 'host',
  spec: AlloyConfigSpec,
  needs: ['files', 'processes', 'http', 'units', 'supervised', 'docker', 'clock'],
  patience: { burst: 500, perSecond: 10 },

  place: pathOf,
  owns: (spec) => [`file:${pathOf(spec)}`],

  asks(spec) {
    const why = 'it validates the config';
    const asks: Ask[] = [{ type: 'path', value: pathOf(spec) }];
    if (spec.container === undefined) asks.push({ type: 'exec', value: binaryOf(spec), why });
    else {
      const { name, image = `image-of:${name}` } = spec.container;
      asks.push({ type: 'image', value: image, why });
      asks.push(...mountAsks(path.dirname(pathOf(spec)), true));
    }
    for (const account of [spec.owner, spec.group]) {
      if (account !== undefined) asks.push({ type: 'user', value: account });
    }
    return asks;
  },

  check(spec) {
    const host = (['unit', 'manager', 'binary'] as const).find((field) => spec[field] !== undefined);
    if (spec.container !== undefined && host !== undefined) {
      return [
        {
          path: [host],
          message: `${host} is for an Alloy of the host, container for one in a container; keep one`,
        },
      ];
    }
    if (spec.content !== undefined && spec.contentFrom !== undefined) {
      return [{ path: ['contentFrom'], message: 'content and contentFrom exclude each other; keep one' }];
    }
    if (spec.content === undefined && spec.contentFrom === undefined) {
      return [
        { path: [], message: 'an AlloyConfig needs content, or contentFrom: a file beside the manifest' },
      ];
    }
    // An empty config stops a collector: everything it sends ends without an error.
    if (typeof spec.content === 'string' && spec.content.trim() === '') {
      return [
        {
          path: ['content'],
          message: 'an empty config stops all telemetry; stop the Service if that is meant',
        },
      ];
    }
    return [];
  },

  async observe(d, io, signal) {
    const observed = {
      file: io.files.read(pathOf(d.spec)),
      uid: d.spec.owner === undefined ? undefined : io.files.userID(d.spec.owner),
      gid: d.spec.group === undefined ? undefined : io.files.groupID(d.spec.group),
      alloy: undefined,
    };
    if (fileChanges('content', observed.file, wantedFile(d, observed)).length > 0) return observed;
    return { ...observed, alloy: await askAlloy(io, addressOf(d.spec), signal) };
  },

  diff(d, observed) {
    const wanted = wantedFile(d, observed);
    const changes = fileChanges('content', observed.file, wanted);
    const { alloy } = observed;
    if (changes.length > 0 || alloy?.state !== 'answers' || alloy.hashes.length === 0) return changes;
    const hash = sha256(wanted.bytes);
    if (alloy.hashes.includes(hash)) return [];
    return [
      { what: 'loaded', from: alloy.hashes.map((h) => h.slice(0, 12)).join(', '), to: hash.slice(0, 12) },
    ];
  },

  async prepare(d, observed, io, signal) {
    const { spec } = d;
    const { type } = observed.file;
    if (type === 'directory' || type === 'other') {
      throw new Stalled(
        'NotAFile',
        `${pathOf(spec)} is no regular file, and is left alone; move it away first`,
      );
    }
    const { bytes, secret } = wantedFile(d, observed);
    const candidate = { path: pathOf(spec), bytes, secret, stability: spec.stability };
    const validator =
      spec.container === undefined
        ? hostValidator(binaryOf(spec), io, signal)
        : imageValidator(d.key, await targetImage(spec.container, io, signal), io, signal);
    await validate(candidate, io.files, validator);
    const alloy = observed.alloy ?? (await askAlloy(io, addressOf(spec), signal));
    const before: Before = {
      file: saveFile(pathOf(spec), observed.file, spec.inPlace === true),
      address: addressOf(spec),
      ran: alloy.state !== 'stopped',
      healthy: alloy.state === 'answers' && alloy.unhealthy === 0,
      flow: await baseline(),
    };
    return { existed: type !== 'absent', data: before as unknown as Json };
  },

  async apply(changes, d, io, signal) {
    const { spec } = d;
    if (changes.some(({ what }) => what !== 'loaded'))
      writeFile(io.files, wantedFile(d, owners(d, io.files)), !d.heal);
    const reload = await reloadAlloy(io, addressOf(spec), signal);
    if (reload.outcome !== 'refused') return {};
    const { secret } = d.content(spec.content ?? '');
    const why = secret ? withoutText(reload.why, pathOf(spec)) : reload.why;
    // Alloy ran these bytes before: then it is something else that is wrong, and it may pass.
    if (d.heal) throw new Error(`Alloy refuses the confirmed config: ${why}`);
    throw new Stalled('ReloadRefused', why);
  },

  async confirm(d, snapshot, io, signal) {
    const before = snapshot?.data as unknown as Before | undefined;
    const { bytes } = d.content(d.spec.content ?? '');
    const question = {
      address: addressOf(d.spec),
      hash: sha256(bytes),
      withinMs: before === undefined ? HEAL_GATE_MS : GATE_MS,
      awaitStart:
        before !== undefined && (before.ran || (await runnerOf(d.spec, io)?.state(signal))?.active === true),
    };
    const verdict = await isHealthyWith(question, io, signal);
    if (verdict.verdict === 'Yes') return flows(before?.flow ?? null);
    if (verdict.verdict === 'No' || verdict.reason !== 'AlloyStopped') return verdict;
    // A confirmed config that is back in its place: whether Alloy runs is the Service's business.
    if (before === undefined) return { verdict: 'Yes' };
    if (!before.ran) return { verdict: 'Unknown', reason: 'AlloyNotRunning', evidence: verdict.evidence };
    return await stoppedMeanwhile(d.spec, verdict, io, signal);
  },

  async undo(snapshot, _record, io, signal) {
    const before = snapshot.data as unknown as Before;
    restoreFile(io.files, before.file);
    if (before.file.type !== 'file') return; // nothing that Alloy could load instead
    const reload = await reloadAlloy(io, before.address, signal);
    if (reload.outcome === 'stopped') return;
    if (reload.outcome === 'refused') throw new Error(`Alloy refuses what it ran before: ${reload.why}`);
    const hash = sha256(Buffer.from(before.file.content, 'base64'));
    const question = { address: before.address, hash, withinMs: GATE_MS, awaitStart: true };
    const verdict = await isHealthyWith(question, io, signal);
    if (verdict.verdict === 'Yes' || (!before.healthy && verdict.verdict === 'No')) return;
    throw new Error(
      `the config is back, and Alloy does not run it as before: ${verdict.reason}: ${verdict.evidence}`,
    );
  },

  watch(d, io, wake, signal) {
    const runner = runnerOf(d.spec, io);
    return watchAll(
      io.clock,
      wake,
      signal,
      (w, s) => io.files.watch(pathOf(d.spec), w, s),
      runner === undefined ? [] : [runner.watch],
    );
  },

  async version(d, io, signal) {
    const alloy = await askAlloy(io, addressOf(d.spec), signal);
    if (alloy.state === 'answers' && alloy.version !== '') return alloy.version;
    if (d.spec.container !== undefined) {
      return d.spec.container.image ?? (await targetImage(d.spec.container, io, signal)) ?? '';
    }
    try {
      const { stdout } = await io.processes.run(binaryOf(d.spec), ['--version'], {
        timeoutMs: VERSION_TIMEOUT_MS,
        signal,
      });
      return /version (\S+)/.exec(stdout)?.[1] ?? '';
    } catch {
      signal.throwIfAborted();
      return '';
    }
  },

  conditions(_d, { alloy }): Concern[] {
    const type = 'AlloyHealthy';
    switch (alloy?.state) {
      case undefined:
        return [];
      case 'stopped':
        return [{ type, status: 'Unknown', reason: 'NotRunning', message: 'nobody listens at its address' }];
      case 'silent':
        return [{ type, status: 'Unknown', reason: 'NoAnswer', message: alloy.why }];
      case 'answers':
        return alloy.unhealthy === 0
          ? [{ type, status: 'True', reason: 'Healthy', message: 'all components are healthy' }]
          : [
              {
                type,
                status: 'False',
                reason: 'UnhealthyComponents',
                message: `${alloy.unhealthy} components are not healthy`,
              },
            ];
    }
  },
});

function wantedFile(d: Desired<AlloyConfigSpec>, ids: Pick<Observed, 'uid' | 'gid'>): WantedFile {
  const { spec } = d;
  return {
    ...d.content(spec.content ?? ''),
    path: path.normalize(pathOf(spec)),
    mode: Number.parseInt(spec.mode ?? (spec.group === undefined ? '0644' : '0640'), 8),
    uid: ids.uid,
    gid: ids.gid,
    inPlace: spec.inPlace === true,
  };
}

function owners({ spec }: Desired<AlloyConfigSpec>, files: Files): Pick<Observed, 'uid' | 'gid'> {
  return {
    uid: spec.owner === undefined ? undefined : files.userID(spec.owner),
    gid: spec.group === undefined ? undefined : files.groupID(spec.group),
  };
}

/** It ran before the change and has not come back: the change's fault, unless its manager says that it runs. */
async function stoppedMeanwhile(
  spec: AlloyConfigSpec,
  verdict: Exclude<Verdict, { verdict: 'Yes' }>,
  io: Io,
  signal: AbortSignal,
): Promise<Verdict> {
  const state = await runnerOf(spec, io)?.state(signal);
  const evidence = state?.words ?? verdict.evidence;
  if (state?.running === true) {
    return {
      verdict: 'Unknown',
      reason: 'AlloyUnreachable',
      evidence: `${verdict.evidence}, and ${evidence}`,
    };
  }
  return {
    verdict: 'No',
    reason: 'AlloyStopped',
    evidence: `Alloy ran before the change and does not now: ${evidence}`,
  };
}
