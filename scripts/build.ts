// `npm run build`: dist/homeostat for hosts that have Node, in which the agent's memory budget is met; and for those
// that have none one file with everything, as one executable for this platform.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { COMPILE_WORKER } from '../cli/compile-thread.ts';
import { bundle, bundleOneFile } from './bundle.ts';
import { publishesACommit } from './smoke.ts';

const root = path.dirname(import.meta.dirname);
const dist = path.join(root, 'dist');
const file = path.join(dist, 'homeostat.cjs');

await bundle(path.join(dist, 'homeostat'));
for (const name of fs.readdirSync(path.join(dist, 'homeostat'))) report(path.join(dist, 'homeostat', name));

await bundleOneFile(file);
report(file);

const executable = path.join(dist, `homeostat-${process.platform}-${process.arch}`);
const config = path.join(dist, 'sea.json');
fs.writeFileSync(
  config,
  JSON.stringify({
    main: file,
    output: executable,
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    assets: { [COMPILE_WORKER]: path.join(dist, COMPILE_WORKER) },
  }),
);
execFileSync(process.execPath, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] });
fs.rmSync(config);
const version = execFileSync(executable, ['--version'], { encoding: 'utf8' }).trim();
report(executable);
await publishesACommit(process.execPath, [path.join(dist, 'homeostat', 'homeostat.cjs')]);
await publishesACommit(executable);
console.log(`the executable answers: homeostat ${version}; as a controller it publishes a commit`);

function report(file: string): void {
  console.log(`${path.relative(root, file)}: ${(fs.statSync(file).size / 1024 / 1024).toFixed(1)} MiB`);
}
