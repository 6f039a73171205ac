// Runs in a booted host (escapes.ts), as root of it, and tries every way out; a line of JSON for each. Arguments: the
// external address of the host, and `quick`, where each honest twin is tried once.
import { inParallel } from '../support/tally.ts';
import { containerWays } from './containers.ts';
import { fileWays } from './files.ts';
import { networkWays } from './network.ts';
import { otherUnitWays } from './other-units.ts';
import { portWays } from './ports.ts';
import { programWays } from './programs.ts';
import { projectFileWays } from './project-files.ts';
import { projectWays } from './projects.ts';
import { Stage } from './stage.ts';
import { unitWays } from './units.ts';
import type { Way } from './ways.ts';

const [address, form, only] = process.argv.slice(2);
process.env['ESCAPES_ADDRESS'] = address!;
const WIDTH = 6;

const ways: readonly (Way & { readonly kind: string })[] = Object.entries({
  File: fileWays,
  Service: [...unitWays, ...otherUnitWays],
  Container: [...containerWays, ...portWays],
  ComposeProject: [...projectWays, ...projectFileWays],
  Check: networkWays,
  Program: programWays,
}).flatMap(([kind, all]) => all.map((way) => ({ ...way, kind })));

const twins = new Set<string>();

async function tried(way: Way): Promise<string | undefined> {
  const stage = new Stage();
  try {
    const attempt = await way.escape(stage);
    const isFirst = !twins.has(way.twin);
    twins.add(way.twin);
    if (form !== 'quick' || isFirst) await stage.playHonest(attempt);
    await stage.playEvil(attempt);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await stage.end().catch((error: unknown) => console.log(`${way.name} left something behind: ${error}`));
  }
}

async function report(way: Way & { readonly kind: string }): Promise<void> {
  const began = performance.now();
  const why = await tried(way);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(JSON.stringify({ name: `${way.kind}: ${way.name}`, why, seconds }));
}

const chosen = ways.filter(({ kind, name }) => only === undefined || `${kind}: ${name}`.includes(only));
await inParallel(
  chosen.filter(({ needs }) => needs === undefined),
  WIDTH,
  report,
);
for (const way of chosen.filter(({ needs }) => needs !== undefined)) await report(way);
process.exit();
