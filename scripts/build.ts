// `npm run build`: one minified file for Node, and one executable for this platform. The bundle is what the
// agent's memory budget is measured with; the executable is for hosts without Node.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const root = path.dirname(import.meta.dirname);
const dist = path.join(root, 'dist');
const bundle = path.join(dist, 'homeostat.cjs');
fs.mkdirSync(dist, { recursive: true });

await build({
  entryPoints: [path.join(root, 'cli', 'homeostat.ts')],
  outfile: bundle,
  bundle: true,
  minify: true,
  platform: 'node',
  // CommonJS: what a single executable can carry without unpacking anything.
  format: 'cjs',
  target: 'node24',
  logLevel: 'warning',
});
report(bundle);

const executable = path.join(dist, `homeostat-${process.platform}-${process.arch}`);
const config = path.join(dist, 'sea.json');
fs.writeFileSync(
  config,
  JSON.stringify({
    main: bundle,
    output: executable,
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
  }),
);
execFileSync(process.execPath, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] });
fs.rmSync(config);
const version = execFileSync(executable, ['--version'], { encoding: 'utf8' }).trim();
report(executable);
console.log(`the executable answers: homeostat ${version}`);

function report(file: string): void {
  console.log(`${path.relative(root, file)}: ${(fs.statSync(file).size / 1024 / 1024).toFixed(1)} MiB`);
}
