// Whether Alloy works with the config that is in place, from what was observed. Pure.
import * as z from 'zod';
import type { Trial, Verdict } from '../kind.ts';
import { SavedFile } from '../managed-file.ts';
import { excerpt } from '../shared/excerpt.ts';
import { no, notYet, unknown, YES } from '../shared/verdicts.ts';
import { Access, type AlloyAnswers, type AlloyState, type NoAnswer } from './alloy-api.ts';
import type { Difference } from './command-line.ts';
import { RunnerName, type RunnerState } from './runner.ts';

/** How to go back, and how Alloy was before. */
export const Before = z.object({
  file: SavedFile,
  /** The document's other files, and what it dropped. */
  others: z.array(SavedFile).optional(),
  /** Whether Alloy loads the whole directory. */
  directory: z.boolean().optional(),
  address: z.string(),
  /** What it took to ask it there. */
  access: Access.optional(),
  /** Whether anybody listened at its address. */
  ran: z.boolean(),
  /** Whether it answered, was ready and had no complaint. */
  healthy: z.boolean(),
  /** The flow gate's baseline: counters before the change. */
  flow: z.json(),
  // Release 0.1 did not write these.
  runner: RunnerName.optional(),
  /** Whether its API could be asked. */
  answered: z.boolean().optional(),
  /** Components that were not healthy. */
  unhealthy: z.array(z.string()).optional(),
});
export type Before = z.infer<typeof Before>;

/** What is assessed. */
export interface Seen {
  readonly alloy: AlloyState | undefined;
  /** Asked when nobody answers. */
  readonly runner: RunnerState | undefined;
  readonly nowMs: number;
  /** Where the document says other than what Alloy runs with. */
  readonly differences: readonly Difference[];
  /** What Alloy converts its config from, where that is not its own format. */
  readonly format: string | undefined;
  /** Alloy's own line about the config, where it ended since that was written. */
  readonly refusal: string | undefined;
  /** The config holds a secret, which Alloy's messages may quote. */
  readonly secret: boolean;
}

export const GATE = { withinMs: 15_000, settleMs: 1_000 };
/** An Alloy reads its first config at its start; a large one on a small machine takes its time. */
const START_MS = 60_000;
/** A reload by signal, and a process that ends at its load, take a moment. */
const SHORT_MS = 3_000;

export function assess(seen: Seen, trial: Trial<Before> | undefined): Verdict {
  const { alloy } = seen;
  switch (alloy?.state) {
    case undefined:
      return unknown('NotAsked', 'Alloy was not asked, since its file differs');
    case 'answers':
      return assessAnswers(alloy, seen, trial);
    case 'stopped':
      return assessStopped(alloy, seen, trial);
    case 'silent':
      return wasAnswering(trial)
        ? notYet(
            trial,
            START_MS,
            'AlloySilent',
            `it answered before the change, and does not now: ${alloy.why}`,
          )
        : unknown('AlloySilent', alloy.why);
    case 'locked':
      return assessLocked(alloy, trial);
  }
}

function assessAnswers(
  alloy: AlloyAnswers,
  { nowMs, secret, differences, format }: Seen,
  trial: Trial<Before> | undefined,
): Verdict {
  const startedForMs = nowMs - alloy.startedAtMs;
  if (!alloy.ready) {
    const evidence = `Alloy is not ready, ${Math.round(startedForMs / 1000)} s after its start`;
    if (startedForMs < START_MS) return unknown('AlloyStarting', evidence);
    return trial?.before.healthy === false
      ? unknown('AlloyNotReady', evidence)
      : no('AlloyNotReady', evidence);
  }
  if (alloy.hashes.length === 0) {
    return unknown('ConfigUnknown', 'this Alloy does not report which config it runs (alloy_config_hash)');
  }
  if (format !== undefined) {
    const evidence = `this Alloy converts its config (--config.format=${format}), so that what it runs can't be compared with the file`;
    return unknown('ConfigUnknown', evidence);
  }
  // What it has not loaded can't be blamed for what is unhealthy.
  if (differences.some(({ standsInWay }) => standsInWay)) return flagsDiffer(differences, trial);
  const unhealthy = unhealthyOf(alloy);
  if (unhealthy.length > 0) {
    const evidence = excerpt(unhealthy.map(({ id, why }) => (secret ? id : `${id}: ${why}`)).join('; '));
    const before = trial?.before;
    const known = before?.unhealthy ?? [];
    const isNew = unhealthy.some(({ id }) => !known.includes(id));
    // What was not well before is not blamed on the change.
    const blamed = before === undefined || (before.unhealthy === undefined ? before.healthy : isNew);
    const waitedMs = Math.min(trial?.elapsedMs ?? startedForMs, startedForMs);
    return blamed && waitedMs >= GATE.withinMs ? no('Unhealthy', evidence) : unknown('Unhealthy', evidence);
  }
  return differences.length > 0 ? flagsDiffer(differences, trial) : flows(trial);
}

/** A rollback would not mend it: whoever starts Alloy has to, or the document. */
function flagsDiffer(differences: readonly Difference[], trial: Trial<Before> | undefined): Verdict {
  const isUnloaded = differences.some(({ standsInWay }) => standsInWay);
  const evidence =
    `Alloy runs with ${differences.map(({ text }) => text).join('; and with ')}. Restart it with what the document says` +
    `${isUnloaded ? ', which it is not reloaded with until then' : ''}, or let the document say what it runs with`;
  // Whoever restarts it may be waiting for the file.
  if (isUnloaded && trial !== undefined && trial.elapsedMs < GATE.withinMs)
    return unknown('FlagsDiffer', evidence);
  return { verdict: 'No', reason: 'FlagsDiffer', evidence, keep: true };
}

/** Components that are not healthy, or Alloy's own complaint where it lists none. */
export function unhealthyOf({ components, complaint }: AlloyAnswers): { id: string; why: string }[] {
  const found = (components ?? [])
    .filter(({ health }) => health.state !== 'healthy')
    .map(({ localID, health }) => ({ id: localID, why: `${health.state}: ${health.message}` }));
  return found.length > 0 || complaint === '' ? found : [{ id: complaint, why: 'as /-/healthy says' }];
}

/**
 * The flow gate's place: counters of `trial.before.flow` against those of now, and the state of the endpoints when nothing
 * is on trial. Until it is here, a config that loads and sends nothing passes.
 */
function flows(_trial: Trial<Before> | undefined): Verdict {
  return YES;
}

function assessStopped(
  { why }: NoAnswer,
  { runner, refusal }: Seen,
  trial: Trial<Before> | undefined,
): Verdict {
  const evidence =
    runner === undefined ? `nobody listens (${why})` : `nobody listens (${why}): ${runner.text}`;
  if (runner?.is === 'running' || runner?.is === 'starting') return unknown('AlloyUnreachable', evidence);
  // Also at its first start: what validate takes may be refused when it is loaded, and Alloy says where.
  if (refusal !== undefined) {
    const ended = `Alloy ended when it loaded it: ${refusal} (${evidence})`;
    return trial === undefined ? unknown('AlloyNotRunning', ended) : no('LoadRefused', ended);
  }
  // One that somebody stopped is not the config's fault; one that ended with a new config is.
  if (trial?.before.ran === true && runner?.is !== 'stopped') {
    const ended = `Alloy ran before the change, and ended with it: ${evidence}`;
    return notYet(trial, runner === undefined ? GATE.withinMs : SHORT_MS, 'AlloyStopped', ended);
  }
  return unknown('AlloyNotRunning', `this host sends no telemetry: ${evidence}`);
}

function assessLocked({ why }: NoAnswer, trial: Trial<Before> | undefined): Verdict {
  const evidence =
    `${why}: homeostat can't see what Alloy does any more. Let spec.http have what the config asks for, or leave its paths open: ` +
    'http { auth { filter { paths = ["/-/", "/metrics", "/api/v0/web/components"], authenticate_matching_paths = false } } }';
  // One that was locked before may have to stay so; its config is never confirmed.
  return trial !== undefined && (wasAnswering(trial) || !trial.before.ran)
    ? notYet(trial, SHORT_MS, 'LockedOut', evidence)
    : unknown('LockedOut', evidence);
}

function wasAnswering(trial: Trial<Before> | undefined): boolean {
  return trial !== undefined && (trial.before.answered ?? trial.before.healthy);
}
