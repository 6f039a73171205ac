// Tampering with a managed file while the agent writes 1,000 new ones that a new revision brought: a heal is not to
// wait behind them. Bare fs.watch keeps a file of its own meanwhile, on the same disk and under the same load; the two
// take turns. Only what is tampered with before the last new file is there counts.
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileResources, startAgent } from './agents.ts';
import { benchController } from './bench-controller.ts';
import { bareWatch } from './keepers.ts';
import { percentileRows, type Row } from './statistics.ts';
import { healed, TAMPERINGS } from './tamper.ts';

const NEW_FILES = 1000;
/** Between two tamperings with the same file: below what File calls a fight, 50 heals a second. */
const APART_MS = 20;

interface Kept {
  /** Milliseconds. */
  readonly times: number[];
  lost: number;
}

export interface WhileWriting {
  readonly ours: Kept;
  readonly bare: Kept;
  /** From the first new file to the last, milliseconds. */
  readonly writing: readonly number[];
}

/** @param revisions each for an agent of its own, which has one file before */
export async function tamperWhileWriting(program: string, revisions: number): Promise<WhileWriting> {
  const ours: Kept = { times: [], lost: 0 };
  const bare: Kept = { times: [], lost: 0 };
  const writing: number[] = [];
  const baseline = await bareWatch();
  try {
    for (let i = 0; i < revisions; i++) {
      writing.push(
        await duringRevision(program, async (file) => {
          const tamperWith = Object.values(TAMPERINGS)[ours.times.length % Object.keys(TAMPERINGS).length]!;
          for (const [which, kept] of [
            [file, ours],
            [baseline.file, bare],
          ] as const) {
            const ms = await healed(which, tamperWith);
            if (ms === undefined) kept.lost += 1;
            else kept.times.push(ms);
            await delay(APART_MS / 2);
          }
        }),
      );
    }
  } finally {
    await baseline.stop();
  }
  return { ours, bare, writing };
}

/** Calls `round` with the file that was there before, until the new ones are. @returns how long that took */
async function duringRevision(program: string, round: (file: string) => Promise<void>): Promise<number> {
  const resources = fileResources(1 + NEW_FILES);
  const before = resources.slice(0, 1);
  const controller = await benchController(before);
  const agent = await startAgent({ bundle: program, resources: before, controller: controller.known });
  try {
    const isThere = (n: number): boolean => fs.existsSync(path.join(agent.root, 'managed', `f${n}`));
    controller.publish(resources);
    while (!isThere(1)) await delay(1);
    const began = performance.now();
    while (!isThere(NEW_FILES)) await round(path.join(agent.root, 'managed', 'f0'));
    return performance.now() - began;
  } finally {
    await agent.stop();
    await controller.stop();
  }
}

export function writingRows({ ours, bare, writing }: WhileWriting): Row[] {
  const labels = `{writing=${NEW_FILES}}`;
  const name = 'file_healed_while_writing';
  const bareLabels = `{writing=${NEW_FILES},keeper=bare}`;
  return [
    ...percentileRows(name, labels, ours.times, 'ms', { p50: undefined, p99: 25 }),
    { name: `${name}_max${labels}`, value: Math.max(...ours.times), unit: 'ms' },
    {
      name: `${name}_lost${labels}`,
      value: ours.lost,
      unit: `of ${ours.times.length + ours.lost}`,
      budget: 0,
    },
    ...percentileRows(name, bareLabels, bare.times, 'ms', { p50: undefined, p99: undefined }),
    { name: `${name}_took_max${labels}`, value: Math.max(...writing), unit: 'ms' },
  ];
}
