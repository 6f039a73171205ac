// Runs one of the project's TypeScript programs on the pinned Node, installing what is missing first. Plain
// JavaScript, since it is what a machine's own Node (20 or newer) has to understand.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.dirname(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname));
const pinned = path.join(root, 'node_modules', 'node', 'bin', 'node');
const stamp = path.join(root, 'node_modules', '.homeostat-installed');
const wanted = createHash('sha256')
  .update(readFileSync(path.join(root, 'package-lock.json')))
  .digest('hex');

if (!existsSync(pinned) || !existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  process.stderr.write('homeostat: installing what package-lock.json pins (Node among it) ...\n');
  const npm = process.env.npm_execpath;
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const [command, full] = npm ? [process.execPath, [npm, ...args]] : ['npm', args];
  const done = spawnSync(command, full, { cwd: root, stdio: ['ignore', 2, 2] });
  if (done.status !== 0 || !existsSync(pinned)) {
    process.stderr.write(
      'homeostat: `npm ci` failed; the lines above say why. Is the npm registry reachable?\n',
    );
    process.exit(1);
  }
  writeFileSync(stamp, wanted);
}

const [script, ...args] = process.argv.slice(2);
const child = spawn(pinned, [path.join(root, script), ...args], {
  stdio: 'inherit',
  env: {
    ...process.env,
    PATH: `${path.join(root, 'node_modules', '.bin')}${path.delimiter}${process.env.PATH}`,
  },
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  process.exitCode = signal === null ? code : 1;
});
