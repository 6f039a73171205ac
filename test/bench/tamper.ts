// Tampering with a managed file: how long until it is as the manifest says again, and whether it always is. The
// tamperer looks again and again, in another process than the keepers, and counts from just before it tampers. The
// keepers take turns, so that what else the machine does is the same for all of them.
import fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { CONTENT } from './agents.ts';
import { onCoresOfTheirOwn } from './cores.ts';
import type { Keeper } from './keepers.ts';
import { median, percentileRows, type Row } from './statistics.ts';

/** Between two tamperings with the same file. */
const APART_MS = 50;
const LOST_AFTER_MS = 5000;
/** Between two looks: see `healed`. */
const LOOK_MS = 0.02;
const MODE = 0o644;
const wanted = Buffer.from(CONTENT);
const never = new Int32Array(new SharedArrayBuffer(4));

export const TAMPERINGS: Readonly<Record<string, (p: string) => void>> = {
  write: (p) => fs.writeFileSync(p, 'tampered'),
  truncate: (p) => fs.truncateSync(p),
  delete: (p) => fs.unlinkSync(p),
  replace: (p) => {
    fs.writeFileSync(`${p}.other`, 'replaced');
    fs.renameSync(`${p}.other`, p);
  },
  chmod: (p) => fs.chmodSync(p, 0o777),
};

function isRight(p: string): boolean {
  try {
    return (fs.statSync(p).mode & 0o777) === MODE && fs.readFileSync(p).equals(wanted);
  } catch {
    return false;
  }
}

/**
 * Between two looks the processor is given away. Where there are two of them, a tamperer that looks without a pause
 * keeps the one on which the kernel wakes a keeper that ran there last, and the keeper waits for a millisecond or two.
 * Keepers with threads of their own change processors more often, and were measured too slow by that.
 * @returns milliseconds, or undefined when it stayed as it was.
 */
export async function healed(p: string, tamperWith: (p: string) => void): Promise<number | undefined> {
  const began = performance.now();
  tamperWith(p);
  while (!isRight(p)) {
    if (performance.now() - began > LOST_AFTER_MS) return undefined;
    Atomics.wait(never, 0, 0, LOOK_MS);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return performance.now() - began;
}

export interface Tampered {
  readonly keeper: Keeper;
  /** By kind of tampering, milliseconds. */
  readonly latencies: ReadonlyMap<string, readonly number[]>;
  readonly lost: number;
}

/** @param rounds of each kind of tampering, with each keeper. */
export async function tamper(keepers: readonly Keeper[], rounds: number): Promise<Tampered[]> {
  const together = onCoresOfTheirOwn(keepers.map(({ pid }) => pid));
  try {
    return await inTurns(keepers, rounds);
  } finally {
    together?.();
  }
}

async function inTurns(keepers: readonly Keeper[], rounds: number): Promise<Tampered[]> {
  const results = keepers.map((keeper) => ({ keeper, latencies: new Map<string, number[]>(), lost: 0 }));
  for (const name of Object.keys(TAMPERINGS)) for (const { latencies } of results) latencies.set(name, []);
  // The kinds of tampering take turns, too: a minute in which the machine is busy is one for all of them.
  for (let i = 0; i < rounds; i++) {
    for (const [name, tamperWith] of Object.entries(TAMPERINGS)) {
      for (const result of results) {
        const ms = await healed(result.keeper.file, tamperWith);
        if (ms === undefined) result.lost += 1;
        else result.latencies.get(name)!.push(ms);
        await delay(APART_MS / results.length);
      }
    }
  }
  return results;
}

/** At most as many times the median of bare fs.watch with the same calls, in the same run. */
const TIMES_BARE = 1.5;

export function tamperRows(all: readonly Tampered[]): Row[] {
  return [...all.flatMap(rowsOf), ...tamperRatios(all, TIMES_BARE).filter(({ unit }) => unit === 'x')];
}

function rowsOf({ keeper, latencies, lost }: Tampered): Row[] {
  const labels = `{${keeper.label}}`;
  const budgets = { p50: undefined, p99: keeper.isOurs ? 10 : undefined };
  const rounds = [...latencies.values()].reduce((sum, l) => sum + l.length, lost);
  return [
    ...[...latencies].flatMap(([name, ms]) =>
      percentileRows(`file_${name}_healed`, labels, ms, 'ms', budgets),
    ),
    {
      name: `file_healed_lost${labels}`,
      value: lost,
      unit: `of ${rounds}`,
      budget: keeper.isOurs ? 0 : undefined,
    },
  ];
}

/** How many times the baseline's median each keeper of ours takes, kind by kind. */
export function tamperRatios(all: readonly Tampered[], budget: number): Row[] {
  const bare = all.find((t) => t.keeper.label === 'keeper=bare')!;
  return all
    .filter((t) => t.keeper.isOurs)
    .flatMap(({ keeper, latencies, lost }) => [
      ...[...latencies].map(([name, ms]) => ({
        name: `file_${name}_healed_ratio{${keeper.label}}`,
        value: median(ms) / median(bare.latencies.get(name)!),
        unit: 'x',
        budget,
      })),
      { name: `file_healed_lost{${keeper.label}}`, value: lost, unit: 'rounds', budget: 0 },
    ]);
}
