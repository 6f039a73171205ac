// `npm run fault`: what the agent must survive. `-- NAME` runs one suite: truth, undo, crash, controller,
// surroundings, escapes, host;
// `--quick` is the bounded form of CI. Prints `fault NAME: survived N of N`, and exits 0 only if all was survived.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { bundle as installedBundle } from '../../scripts/bundle.ts';
import { labPrerequisites } from '../lab/prerequisites.ts';
import { controllerSuite } from './controller/controller.ts';
import { crash } from './crash/crash.ts';
import { escapes } from './escapes/escapes.ts';
import { hostSuite } from './host/host.ts';
import { destroyAll } from './support/host.ts';
import { destroyControllers } from './support/real-controller.ts';
import type { Tally } from './support/tally.ts';
import { surroundings } from './surroundings/surroundings.ts';
import { truth } from './truth/truth.ts';
import { undoSuite } from './undo/undo.ts';

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const { quick } = values;

/** The agent's process and its hooks as one file each, since they are started some thousand times. */
async function bundle(outdir: string): Promise<string> {
  await build({
    entryPoints: ['agent-process.ts', 'hooks.ts'].map((file) => path.join(import.meta.dirname, file)),
    outdir,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24',
    logLevel: 'warning',
  });
  return path.join(outdir, 'agent-process.cjs');
}

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-fault-'));
const program = await bundle(directory);
const suites = {
  undo: undoSuite,
  truth,
  crash: () => crash({ program, random: quick ? 20 : 500, every: quick ? 14 : 1, width: 3 }),
  controller: () => controllerSuite({ program, flips: quick ? 100 : 1000, realTimeouts: !quick }),
  surroundings: () => surroundings({ program, hurried: quick }),
  escapes: () => escapes({ quick }),
  async host() {
    const missing = labPrerequisites();
    if (missing.length > 0) return missing.join('; ');
    const installed = path.join(directory, 'homeostat');
    await installedBundle(installed);
    return hostSuite(installed);
  },
} satisfies Record<string, () => Promise<Tally | string>>;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, async () => {
    await destroyAll();
    await destroyControllers();
    fs.rmSync(directory, { recursive: true, force: true });
    process.exit(1);
  });
}
try {
  const chosen = positionals.length > 0 ? positionals : Object.keys(suites);
  for (const name of chosen) {
    if (!(name in suites))
      throw new Error(`there is no suite ${name}; there are ${Object.keys(suites).join(', ')}`);
    const began = performance.now();
    const tally = await suites[name as keyof typeof suites]();
    if (typeof tally === 'string') {
      console.log(`fault ${name}: can't be tried here: ${tally}`);
      continue;
    }
    console.log(`  ${name} took ${((performance.now() - began) / 1000).toFixed(0)} s`);
    if (!tally.print()) process.exitCode = 1;
  }
} finally {
  fs.rmSync(directory, { recursive: true, force: true });
}
