// `npm test`: every test that this machine can run. What it can't is listed first, with the reason and the
// command that would make it possible; node's own summary stays the last thing printed.
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import path from 'node:path';
import { CAPABILITIES } from '../test/support/capabilities.ts';

const root = path.dirname(import.meta.dirname);
const chosen = process.argv.slice(2).filter((a) => !a.startsWith('-'));
const files =
  chosen.length > 0
    ? chosen
    : globSync('test/{unit,contract,integration}/**/*.test.ts', { cwd: root }).sort();

for (const { name, missing, remedy } of CAPABILITIES) {
  const reason = missing();
  if (reason !== undefined)
    console.log(`cannot run here: tests that need ${name}: ${reason}. To run them: ${remedy}`);
}
const child = spawn(
  process.execPath,
  ['--test', '--test-reporter=spec', '--test-concurrency=2', '--test-timeout=240000', ...files],
  { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
);
let skipped = 0;
child.stdout.on('data', (chunk: Buffer) => {
  process.stdout.write(chunk);
  skipped = Number(/^ℹ skipped (\d+)$/m.exec(chunk.toString())?.[1] ?? skipped);
});
child.on('close', (code) => {
  process.exitCode = code ?? 1;
  if (skipped === 0 || process.env['HOMEOSTAT_NO_SKIP'] === undefined) return;
  console.error(`${skipped} tests were skipped, and HOMEOSTAT_NO_SKIP allows none`);
  process.exitCode = 1;
});
