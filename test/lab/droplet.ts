/**
 * The droplet as its owner has it: Docker, and two containers that are nobody else's to touch. The image of Grafana
 * Alloy holds the stand-in, bundled, and the programs that it needs; with ALLOY_BIN, the real program.
 */
import { build } from 'esbuild';
import { repo } from './binaries.ts';
import { docker, importImage, processOf } from './docker.ts';
import type { LabHost } from './host.ts';

export const PENNIES = ['penny-backtest', 'penny-web'] as const;

/** @param image as the manifests name it. */
export async function startDroplet(host: LabHost, image: string, realAlloy?: string): Promise<void> {
  await importImage(host, 'penny:1', { changes: ['CMD ["sleep", "100000"]'] });
  for (const name of PENNIES)
    await docker(host, 'run', '--detach', '--network=none', '--name', name, 'penny:1');
  await importImage(host, image, {
    programs: [realAlloy ?? process.execPath, '/usr/bin/journalctl'],
    files: realAlloy === undefined ? await standIn() : {},
    directories: ['/var/lib/alloy', '/etc/alloy'],
    changes: [
      `ENTRYPOINT ["${realAlloy ?? '/bin/alloy'}"]`,
      'CMD ["run", "/etc/alloy/config.alloy", "--storage.path=/var/lib/alloy/data"]',
    ],
  });
}

/** By name, what would be another after any of them was touched. */
export async function pennies(host: LabHost): Promise<string[]> {
  return Promise.all(PENNIES.map((name) => processOf(host, name)));
}

/** `journalctl --follow` tells nothing under this engine's seccomp profile; asked again and again it does. */
const JOURNAL = `#!/bin/sh
for option; do
  case $option in --since=*|--after-cursor=*) from=$option ;; esac
done
while true; do
  /usr/bin/journalctl --output=json --lines=all "$from" >/tmp/lines 2>/dev/null
  cat /tmp/lines
  cursor=$(grep -o '"__CURSOR":"[^"]*"' /tmp/lines | tail -n 1 | grep -o 's=[^"]*')
  [ -z "$cursor" ] || from=--after-cursor=$cursor
  sleep 1
done
`;

async function standIn(): Promise<Record<string, string>> {
  const { outputFiles } = await build({
    entryPoints: [`${repo}/test/support/alloy/alloy.ts`],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    write: false,
    logLevel: 'warning',
  });
  return {
    '/bin/journal': JOURNAL,
    '/bin/alloy': `#!/bin/sh\nexport HOMEOSTAT_STANDIN_FLUSH_MS=100 HOMEOSTAT_STANDIN_JOURNALCTL=/bin/journal\nexec ${process.execPath} /lib/alloy.mjs "$@"\n`,
    '/lib/alloy.mjs': outputFiles![0]!.text,
  };
}
