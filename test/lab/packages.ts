// Grafana's repository as the lab has it: signed with a key of its own, served on the bridge, with the package `alloy`
// (a stand-in's program, where Grafana Alloy can't be had).
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AptArchive, type TestPackage } from '../support/apt-archive.ts';
import { repo } from './binaries.ts';
import { onCleanup, subdirectory } from './lifetime.ts';
import type { LabNetwork } from './network.ts';

export interface Repository {
  /** Without a slash at its end; the key is at /gpg.key. */
  readonly url: string;
  readonly fingerprint: string;
}

/** As Grafana has it (packaging/deb), without its user: the lab's hosts have no such account. */
export function alloyPackage(node: string, realAlloy: string | undefined): TestPackage {
  const alloy = realAlloy ?? join(repo, 'test', 'support', 'alloy', 'alloy');
  return {
    name: 'alloy',
    version: '1.18.0-1',
    files: {
      '/usr/bin/alloy': {
        content: `#!/bin/sh\nexport HOMEOSTAT_NODE=${node} HOMEOSTAT_STANDIN_FLUSH_MS=100\nexec ${alloy} "$@"\n`,
        mode: 0o755,
      },
      '/usr/lib/systemd/system/alloy.service': `[Unit]
Description=Vendor-agnostic OpenTelemetry Collector distribution with programmable pipelines
After=network.target

[Service]
Restart=always
ExecStart=/usr/bin/alloy run --storage.path=/var/lib/alloy/data /etc/alloy/config.alloy
ExecReload=/usr/bin/env kill -HUP $MAINPID
TimeoutStopSec=20s

[Install]
WantedBy=multi-user.target
`,
      '/etc/alloy/config.alloy': 'logging {\n\tlevel = "warn"\n}\n',
    },
    conffiles: ['/etc/alloy/config.alloy'],
    scripts: {
      // The start that heals it may cancel the stop's job.
      prerm: 'if [ "$1" = remove ]; then systemctl stop alloy || true; fi',
      postinst: 'systemctl daemon-reload',
      postrm: 'systemctl daemon-reload',
    },
  };
}

/** cleanup() ends it. */
export async function serveRepository(
  network: LabNetwork,
  workDir: string,
  packages: readonly TestPackage[],
): Promise<Repository> {
  const archive = new AptArchive(subdirectory(workDir, 'packages'));
  onCleanup(() => archive.close());
  archive.publish(packages);
  writeFileSync(join(archive.directory, 'gpg.key'), archive.key.armoured);
  return { url: await archive.serve(network.labAddress), fingerprint: archive.key.fingerprint };
}
