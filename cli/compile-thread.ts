// Starts the controller's compiling thread, whatever form homeostat is installed in: an executable carries its program
// as an asset, a bundle has it as a file beside itself, a checkout as a source.
import path from 'node:path';
import { getAsset, isSea } from 'node:sea';
import { Worker } from 'node:worker_threads';
import type { WorkerData } from '../controller/compiler/protocol.ts';

/** scripts/bundle.ts and scripts/build.ts write it. */
export const COMPILE_WORKER = 'compile-worker.cjs';

export function startCompileThread(workerData: WorkerData): Worker {
  if (isSea()) return new Worker(getAsset(COMPILE_WORKER, 'utf8'), { eval: true, workerData });
  // CommonJS, as bundles are, knows its own file.
  if (typeof __filename === 'string')
    return new Worker(path.join(path.dirname(__filename), COMPILE_WORKER), { workerData });
  const source = new URL('../controller/compiler/compile-worker.ts', import.meta.url);
  return new Worker(source, { workerData });
}
