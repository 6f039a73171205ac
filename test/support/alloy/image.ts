/**
 * An image with Alloy, as grafana/alloy is one: entrypoint /bin/alloy. With the Alloy that ALLOY_BIN names, or else
 * homeostat's stand-in (it is not Alloy; see alloy.ts), in one file beside a node and the libraries that it needs.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { TestEngine } from '../dockerd.ts';

/** loki.source.journal of the stand-in follows journalctl; here is a journal in which nothing happens. */
const QUIET_JOURNAL = '#!/bin/sh\nexec sleep 100000\n';
const SCRIPT = '#!/bin/sh\nexec /opt/node /opt/alloy.mjs "$@"\n';
/** As the image of Alloy 1.18 has them. */
const CHANGES = ['ENTRYPOINT ["/bin/alloy"]', 'ENV PATH=/bin:/sbin'];

export async function alloyImage(engine: TestEngine, reference: string): Promise<void> {
  const real = process.env['ALLOY_BIN'];
  if (real !== undefined) {
    await engine.image(reference, CHANGES, {}, { '/bin/alloy': real, ...libraries(real) });
    return;
  }
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, 'alloy.ts')],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    logLevel: 'warning',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire('file:///');" },
  });
  const files = {
    '/bin/alloy': SCRIPT,
    '/bin/journalctl': QUIET_JOURNAL,
    '/opt/alloy.mjs': outputFiles[0]!.text,
  };
  await engine.image(reference, CHANGES, files, {
    '/opt/node': process.execPath,
    ...libraries(process.execPath),
  });
}

/** What the loader needs for a program, in the same places. */
function libraries(program: string): Record<string, string> {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  const files = [...text.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
  return Object.fromEntries(files.map((file) => [file, file]));
}
