// An agent is killed with SIGKILL at every step of every change, and at random moments; then it is started again
// and must come to the same end as if nothing had happened. The steps are those that hooks.ts sees: each file
// system call that changes something, each half write, each call of a port (HTTP, unit jobs, D-Bus, LocalAPI,
// programs) before and after it. A power failure, which loses what was not flushed, is not tried here.
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FaultController } from '../support/controller.ts';
import { settled } from '../support/host.ts';
import { inParallel, Tally } from '../support/tally.ts';
import { afterConvergence, afterKill, highWater, originalsOf } from './check.ts';
import { scenarios } from './scenarios.ts';
import type { Revision, Scenario, Stage } from './stage.ts';

export interface CrashOptions {
  readonly program: string;
  /** At random moments, over all scenarios. */
  readonly random: number;
  /** Every n-th step only. */
  readonly every: number;
  readonly width: number;
}

interface Round {
  readonly scenario: Scenario;
  /** Which revision is being applied when it is killed. */
  readonly at: number;
  /** The step, or a share of the time that the revision takes. */
  readonly kill: { readonly step: number; readonly name: string } | { readonly share: number };
  /** A second kill while it recovers, as a share of that time. */
  readonly again?: number;
  /** What git asks for when the agent comes back: the same, the revision before, or nothing. */
  readonly then: 'same' | 'before' | 'nothing';
}

/** How an uninterrupted run goes, revision by revision. */
interface Recording {
  readonly steps: readonly string[][];
  readonly ms: readonly number[];
  readonly originals: ReadonlyMap<string, unknown>;
  readonly untouched: string;
}

type Common = Parameters<Scenario['open']>[0];

async function bring(stage: Stage, revision: Revision): Promise<boolean> {
  if (revision.tamper === undefined) stage.host.publish(revision.resources);
  else await revision.tamper();
  return reach(stage, revision);
}

/** @returns false when the agent was killed on the way. */
async function reach(stage: Stage, revision: Revision): Promise<boolean> {
  const { host } = stage;
  if (!(await host.reaches(settled(host.sequence, revision.outcomes), stage.withinMs))) return false;
  // A tampering may not have been seen yet.
  if (revision.tamper !== undefined && stage.settledCheck !== undefined)
    await eventually(stage.settledCheck, host, stage.withinMs);
  return !host.isDown;
}

/** The agent may still be writing what follows from its last condition. */
async function eventually(
  check: () => void | Promise<void>,
  host: { isDown: boolean },
  ms = 10_000,
): Promise<void> {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (host.isDown) return;
      if (performance.now() > deadline) throw error;
      await delay(10);
    }
  }
}

async function converged(stage: Stage, originals: ReadonlyMap<string, unknown>): Promise<void> {
  await eventually(() => afterConvergence(stage, originals), stage.host, 2_000);
}

async function record(scenario: Scenario, common: Common): Promise<Recording> {
  const stage = await scenario.open(common);
  try {
    const untouched = await stage.fingerprint();
    const steps: string[][] = [];
    const ms: number[] = [];
    let originals = new Map<string, unknown>();
    const file = path.join(stage.host.directory, 'steps');
    await stage.host.start({ armed: 'signal', record: file });
    await stage.host.arm();
    for (const revision of stage.revisions) {
      fs.writeFileSync(file, '');
      const began = performance.now();
      if (!(await bring(stage, revision))) throw new Error(`it ended: ${stage.host.tail()}`);
      ms.push(performance.now() - began);
      await converged(stage, originals);
      steps.push(fs.readFileSync(file, 'utf8').split('\n').filter(Boolean));
      if (revision.resources.length > 0 && stage.settledCheck !== undefined)
        await eventually(stage.settledCheck, stage.host, stage.withinMs);
      if (originals.size === 0) originals = originalsOf(stage);
    }
    const left = await stage.fingerprint();
    if (left !== untouched) throw new Error(`uninterrupted, it left\n${left}\ninstead of\n${untouched}`);
    return { steps, ms, originals, untouched };
  } finally {
    await stage.close();
  }
}

function describe({ scenario, at, kill, again, then }: Round, stage: Stage): string {
  const when = 'step' in kill ? `step ${kill.step} (${kill.name})` : `${(100 * kill.share).toFixed(1)} %`;
  const second = again === undefined ? '' : `, again at ${(100 * again).toFixed(1)} % of the recovery`;
  return `${scenario.name}, ${stage.revisions[at]!.name}, killed at ${when}${second}, then ${then}`;
}

async function play(round: Round, recording: Recording, tally: Tally, common: Common): Promise<void> {
  const stage = await round.scenario.open(common);
  const { host, revisions } = stage;
  const revision = revisions[round.at]!;
  try {
    await tally.check(describe(round, stage), async () => {
      const killAt = 'step' in round.kill ? round.kill.step : undefined;
      await host.start({ armed: 'signal', ...(killAt === undefined ? {} : { killAt }) });
      for (const before of revisions.slice(0, round.at)) {
        if (!(await bring(stage, before)))
          throw new Error(`it ended before it was to be killed: ${host.tail()}`);
      }
      const mark = highWater(stage);
      await host.arm();
      const brought = bring(stage, revision);
      if ('share' in round.kill) {
        await delay(round.kill.share * recording.ms[round.at]!);
        await host.kill();
      }
      await brought;
      if (!host.isDown) await host.kill();
      afterKill(stage, mark);

      const last =
        round.then === 'same'
          ? revision
          : round.then === 'before'
            ? readyBefore(revisions, round.at)
            : revisions.at(-1)!;
      if (round.then !== 'same' || revision.tamper !== undefined) host.publish(last.resources);
      if (round.again !== undefined) {
        void host.start({ armed: 'start' });
        await delay(round.again * 400);
        await host.kill();
        afterKill(stage, mark);
      }
      await host.start();
      if (last.resources.length > 0) await stage.back?.();
      if (!(await reach(stage, last))) throw new Error(`it ended: ${host.tail()}`);
      // What comes back after its removal is new, and so is what it finds.
      const isNew = revision.resources.length === 0 && last.resources.length > 0;
      await converged(stage, isNew ? new Map() : recording.originals);
      if (last.resources.length > 0) {
        if (stage.settledCheck !== undefined) await eventually(stage.settledCheck, host, stage.withinMs);
        const removal = revisions.at(-1)!;
        if (!(await bring(stage, removal))) throw new Error(`it ended: ${host.tail()}`);
        await converged(stage, recording.originals);
      }
      const left = await stage.fingerprint();
      if (left !== recording.untouched)
        throw new Error(`removal left\n${left}\ninstead of\n${recording.untouched}`);
    });
  } finally {
    await stage.close();
  }
}

/** The nearest earlier revision that every host can be ready with, whatever became of the others. */
function readyBefore(revisions: readonly Revision[], at: number): Revision {
  const earlier = revisions
    .slice(0, at)
    .filter(({ outcomes }) => !Object.values(outcomes).includes('RolledBack'));
  return earlier.findLast(({ tamper }) => tamper === undefined) ?? revisions.at(-1)!;
}

/** How a bundle is kept is the same for every kind. */
const KEEPS_BUNDLE = /state\/(highest-sequence|bundle\.json)|fsync state$/;

function stepRounds(scenario: Scenario, { steps }: Recording, every: number): Round[] {
  const rounds: Round[] = [];
  for (const [at, names] of steps.entries()) {
    for (let i = at % every; i < names.length; i += every) {
      if (scenario !== scenarios[0] && KEEPS_BUNDLE.test(names[i]!)) continue;
      // What git says afterwards takes turns, so that each step meets each over the scenarios and revisions.
      const then = (['same', 'same', 'before', 'nothing'] as const)[Math.floor(i / every) % 4]!;
      rounds.push({
        scenario,
        at,
        kill: { step: i + 1, name: names[i]! },
        then,
      });
    }
  }
  return rounds;
}

function randomRounds(scenario: Scenario, { steps }: Recording, count: number): Round[] {
  return Array.from({ length: count }, (_, i) => {
    const at = i % steps.length;
    const then = Math.random() < 0.25 ? 'before' : Math.random() < 0.25 ? 'nothing' : 'same';
    return {
      scenario,
      at,
      kill: { share: Math.random() },
      then,
      ...(Math.random() < 0.3 ? { again: Math.random() } : {}),
    };
  });
}

export async function crash(options: CrashOptions): Promise<Tally> {
  const tally = new Tally('crash');
  const controller = new FaultController();
  await controller.start();
  const common = { controller, program: options.program };
  const only = process.env['FAULT_ONLY'];
  const chosen = scenarios.filter(({ name }) => only === undefined || name.includes(only));
  try {
    for (const scenario of chosen) {
      const missing = scenario.requires?.missing();
      if (missing !== undefined && process.env['HOMEOSTAT_NO_SKIP'] === undefined) {
        const { name, remedy } = scenario.requires!;
        console.log(`  ${scenario.name}: skipped, needs ${name}: ${missing}; to run it: ${remedy}`);
        continue;
      }
      const began = performance.now();
      const before = tally.total;
      let recording: Recording | undefined;
      await tally.check(`${scenario.name}, uninterrupted`, async () => {
        recording = await record(scenario, common);
      });
      if (recording === undefined) continue;
      const weight = scenario.slow === true ? 0.5 : 1;
      const rounds = [
        ...stepRounds(scenario, recording, scenario.slow === true ? options.every * 3 : options.every),
        ...randomRounds(scenario, recording, Math.ceil((options.random / (chosen.length - 0.5)) * weight)),
      ];
      const { steps } = recording;
      await inParallel(rounds, options.width, (round) => play(round, recording!, tally, common));
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      const count = `${steps.flat().length} steps in ${steps.length} revisions, ${rounds.length} kills`;
      console.log(
        `  ${scenario.name}: ${count}, all of them looked at: ${tally.total - before} (${seconds} s)`,
      );
    }
  } finally {
    for (const scenario of chosen) await scenario.end?.();
    await controller.stop();
  }
  return tally;
}
