// `npm run check`: types, lint and format, the rules of the rooms, that nothing lies idle (knip.jsonc), and that what
// is generated is up to date.
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const root = path.dirname(import.meta.dirname);
const bin = (name: string) => path.join(root, 'node_modules', '.bin', name);
const steps: readonly [name: string, command: string, args: readonly string[]][] = [
  ['types', bin('tsc'), []],
  ['lint and format', bin('biome'), ['ci', '--max-diagnostics=50']],
  ['nothing is unused', bin('knip'), []],
  ['architecture', process.execPath, ['--test', '--test-reporter=dot', 'test/architecture.test.ts']],
  ['generated documentation', process.execPath, ['scripts/docs.ts', '--check']],
];

let failed = 0;
for (const [name, command, args] of steps) {
  const began = performance.now();
  const { status } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`check ${name}: ${status === 0 ? 'ok' : 'FAILED'} (${seconds} s)`);
  if (status !== 0) failed += 1;
}
process.exitCode = failed === 0 ? 0 : 1;
