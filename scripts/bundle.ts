// What is installed on hosts that have Node: a few minified files in one directory. `homeostat` is what people and
// units run. The agent is a file of its own, so are `once` and `plan`, and so is each library that they load late: what
// isn't loaded, as source text too, costs no memory, and that budget is a third of what one file for everything takes
// (docs/performance.md).
import fs from 'node:fs';
import path from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { COMPILE_WORKER } from '../cli/compile-thread.ts';

const root = path.dirname(import.meta.dirname);

/** CommonJS: what a single executable can carry without unpacking anything, and what Node loads with the least. */
const options = {
  bundle: true,
  minify: true,
  platform: 'node',
  format: 'cjs',
  target: 'node24',
  logLevel: 'warning',
  // cli/compile-thread.ts asks for it where there is no CommonJS.
  logOverride: { 'empty-import-meta': 'silent' },
} as const satisfies BuildOptions;

const COMPILE_WORKER_SOURCE = path.join(root, 'controller', 'compiler', 'compile-worker.ts');

/** Everything in one file, for the executable; and, beside it, what the controller's compiling thread runs. */
export async function bundleOneFile(outfile: string): Promise<void> {
  await build({ ...options, entryPoints: [path.join(root, 'cli', 'homeostat.ts')], outfile });
  const worker = path.join(path.dirname(outfile), COMPILE_WORKER);
  await build({ ...options, entryPoints: [COMPILE_WORKER_SOURCE], outfile: worker });
}

/**
 * What Node is to run the agent with. A young generation of 1 MiB instead of 16: an agent that waits has no use for
 * more, and what it once took it keeps.
 */
export const AGENT_NODE_ARGUMENTS = ['--max-semi-space-size=1', '--optimize-for-size'] as const;

/**
 * And where it is known to have them, since a flag that it does not know ends it: V8's optimizing compilers have no use
 * in an agent that waits, and what of them was read once stays resident. JavaScript gets there when it is called ten
 * thousand times instead of three, by one of the two, and undici's parser (WebAssembly) stays as it was compiled first
 * (docs/decisions/0038-an-agent-that-waits-is-not-optimized.md).
 */
export const AGENT_TIER_ARGUMENTS = [
  '--liftoff-only',
  '--no-maglev',
  '--invocation-count-for-turbofan=10000',
  '--invocation-count-for-osr=3000',
] as const;
const HAVE_TIERS = ['v26'];

/** And the controller: what ten thousand waiting requests hold is half of it old, and is to be collected (docs/performance.md). */
export const CONTROLLER_NODE_ARGUMENTS = ['--max-semi-space-size=4', '--optimize-for-size'] as const;

/** And a run that ends by itself: cron starts it on hosts that have little else to do, and little memory. */
export const LOCAL_NODE_ARGUMENTS = ['--max-semi-space-size=1', '--optimize-for-size'] as const;

export const LAUNCHER = `#!/bin/sh
# homeostat, run by the node on PATH; what runs on every host, and the controller, with what keeps them small: the agent
# has a file of its own, which reads no command line but these (help and mistakes are for the whole program). glibc reads
# MALLOC_ARENA_MAX as node starts (mallopt(3)); children do not get it.
set -e
here=$(dirname "$(readlink -f "$0")")
case "$1 $2 $#" in
  "agent  1" | "agent --config 3" | "agent --config="?*" 2")
    case $(node --version) in
      ${HAVE_TIERS.map((major) => `${major}.*`).join(' | ')}) tiers='${AGENT_TIER_ARGUMENTS.join(' ')}' ;;
      *) tiers= ;;
    esac
    [ "$#" = 3 ] && [ -z "$3" ] || MALLOC_ARENA_MAX=1 exec node ${AGENT_NODE_ARGUMENTS.join(' ')} $tiers "$here/agent.cjs" "$@" ;;
esac
case "$1" in
  controller) exec node ${CONTROLLER_NODE_ARGUMENTS.join(' ')} "$here/homeostat.cjs" "$@" ;;
  once | plan) MALLOC_ARENA_MAX=1 exec node ${LOCAL_NODE_ARGUMENTS.join(' ')} "$here/local.cjs" "$@" ;;
  *) exec node "$here/homeostat.cjs" "$@" ;;
esac
`;

export async function bundle(directory: string): Promise<void> {
  fs.rmSync(directory, { recursive: true, force: true });
  const late = new Set<string>();
  await build({
    ...options,
    entryPoints: {
      homeostat: path.join(root, 'cli', 'homeostat.ts'),
      agent: path.join(root, 'cli', 'agent-process.ts'),
      local: path.join(root, 'cli', 'local-process.ts'),
      [path.basename(COMPILE_WORKER, '.cjs')]: COMPILE_WORKER_SOURCE,
    },
    outdir: directory,
    outExtension: { '.js': '.cjs' },
    plugins: [separate(late)],
    supported: { 'dynamic-import': false },
  });
  await build({
    ...options,
    entryPoints: Object.fromEntries([...late].map((name) => [fileOf(name), name])),
    outdir: directory,
    outExtension: { '.js': '.cjs' },
    absWorkingDir: root,
  });
  fs.writeFileSync(path.join(directory, 'homeostat'), LAUNCHER, { mode: 0o755 });
}

const fileOf = (library: string): string =>
  path.isAbsolute(library)
    ? `${path.basename(library, '.ts')}-parts`
    : library.replace(/^@/, '').replaceAll('/', '-');

/** Modules of our own that are mostly a library. */
const LIBRARIES = /\/undici\.ts$/;

/** Libraries that are loaded by import() stay out, each a file beside it; noted in `late`. */
function separate(late: Set<string>): Plugin {
  const aside = (name: string) => {
    late.add(name);
    return { path: `./${fileOf(name)}.cjs`, external: true };
  };
  return {
    name: 'separate what is loaded late',
    setup(b) {
      b.onResolve({ filter: /^[^./]/ }, ({ path: name, kind }) => {
        if (kind !== 'dynamic-import' || name.startsWith('node:')) return undefined;
        return aside(name);
      });
      b.onResolve({ filter: LIBRARIES }, ({ path: name, kind, resolveDir }) =>
        kind === 'dynamic-import' ? aside(path.join(resolveDir, name)) : undefined,
      );
    },
  };
}
