// What must hold of a host's disk, right after a kill and after the agent has converged again.
import fs from 'node:fs';
import path from 'node:path';
import type { InventoryEntry } from '../../../agent/journal/journal.ts';
import { intentsIn, journalIn } from '../../support/journal.ts';
import type { Stage } from './stage.ts';

const UNFINISHED = /\.new$|\.homeostat~$|\.homeostat-validate$|\.broken$/;

function below(directory: string): string[] {
  if (!fs.existsSync(directory)) return [];
  return fs.readdirSync(directory, { recursive: true, encoding: 'utf8' });
}

/** Right after a kill: whole files, state that loads, a high-water mark that never falls. */
export function afterKill(stage: Stage, markBefore: number): void {
  const { state } = stage.host;
  for (const name of below(state).filter((n) => n.endsWith('.json'))) {
    const text = fs.readFileSync(path.join(state, name), 'utf8');
    try {
      JSON.parse(text);
    } catch {
      throw new Error(`state/${name} does not load: ${text.slice(0, 80)}`);
    }
  }
  journalIn(state);
  const mark = highWater(stage);
  if (mark < markBefore) throw new Error(`the high-water mark fell from ${markBefore} to ${mark}`);
  const cached = path.join(state, 'bundle.json');
  if (fs.existsSync(cached)) {
    const { sequence } = JSON.parse(JSON.parse(fs.readFileSync(cached, 'utf8')).envelope);
    if (sequence > mark) throw new Error(`the bundle has sequence ${sequence}, and the mark is ${mark}`);
  }
  stage.inspect?.();
}

export function highWater(stage: Stage): number {
  const file = path.join(stage.host.state, 'highest-sequence');
  return fs.existsSync(file) ? Number(fs.readFileSync(file, 'utf8')) : 0;
}

function entries(stage: Stage): Map<string, InventoryEntry> {
  const journal = journalIn(stage.host.state);
  return new Map(journal.keys().map((key) => [key, journal.entry(key)!]));
}

/** After it converged: nothing half-done is left, and the inventory tells the truth about what was there. */
export function afterConvergence(stage: Stage, originals: ReadonlyMap<string, unknown>): void {
  const { host } = stage;
  const left = [...below(host.root), ...below(host.state)].filter((name) => UNFINISHED.test(name));
  if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
  const open = intentsIn(host.state);
  if (open.length > 0) throw new Error(`still open: ${open.join(', ')}`);
  for (const [key, { origin, original }] of entries(stage)) {
    if (origin !== stage.origins[key])
      throw new Error(`${key} counts as ${origin}, and was ${stage.origins[key]}`);
    const wanted = originals.get(key);
    if (wanted !== undefined && stage.moves !== true && textOf(original) !== textOf(wanted))
      throw new Error(`${key}’s original became ${textOf(original).slice(0, 300)}`);
  }
}

/** Without what differs from host to host. */
function textOf(original: unknown): string {
  return JSON.stringify(original).replace(/127\.0\.0\.1:\d+|h\d+-\d+|homeostat-fault-\w+/g, '…');
}

export function originalsOf(stage: Stage): Map<string, unknown> {
  return new Map([...entries(stage)].map(([key, { original }]) => [key, original]));
}
