// `npm test`: every test that this machine can run. What it can't is listed first, with the reason and the
// command that would make it possible; node's own summary stays the last thing printed.
import { spawnSync } from 'node:child_process';
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
const result = spawnSync(
  process.execPath,
  ['--test', '--test-reporter=spec', '--test-concurrency=2', '--test-timeout=240000', ...files],
  { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] },
);
process.exitCode = result.status ?? 1;
