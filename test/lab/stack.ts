// What the lab puts on its hosts before homeostat: the programs, the `alloy` package's files (a stand-in's, where
// Grafana Alloy can't be had), and homeostat's own units as deploy/systemd has them.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repo } from './binaries.ts';
import { fillDownloads, GRAFANA_ALLOW } from './grafana.ts';
import type { LabHost } from './host.ts';

const node = join(repo, 'node_modules', 'node', 'bin', 'node');

/** Grafana Alloy itself, when the environment names it (ALLOY_BIN). */
export const realAlloy = process.env['ALLOY_BIN'];
export const standIns: readonly string[] = realAlloy === undefined ? ['alloy'] : [];

/** Files of a fresh host: everything but the state of homeostat. */
export function hostFiles(): Record<string, string | { content: string; mode: string }> {
  const program = (script: string) => `#!/bin/sh\nexec ${node} ${join(repo, script)} "$@"\n`;
  const alloy = realAlloy ?? join(repo, 'test', 'support', 'alloy', 'alloy');
  return {
    '/usr/local/bin/homeostat': { content: program('cli/homeostat.ts'), mode: '755' },
    '/usr/bin/alloy': {
      content: `#!/bin/sh\nexport HOMEOSTAT_NODE=${node} HOMEOSTAT_STANDIN_FLUSH_MS=100\nexec ${alloy} "$@"\n`,
      mode: '755',
    },
    // As the package has it (grafana/alloy, packaging/deb), without its user: the lab's hosts have no such account.
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
    '/etc/systemd/system/homeostat-agent.service': unit('homeostat-agent.service'),
    '/etc/systemd/system/homeostat-controller.service': unit('homeostat-controller.service'),
    '/etc/sysusers.d/homeostat.conf': 'u homeostat-controller - "homeostat controller"\n',
  };
}

/** The unit as it is shipped. ProtectHome would hide a checkout that lies below a home: the lab's programs are there. */
function unit(name: string): string {
  const text = readFileSync(join(repo, 'deploy', 'systemd', name), 'utf8');
  return text.replace('ProtectHome=read-only\n', '').replace('PrivateTmp=true\n', '');
}

/** The allow-list that the owner of a lab host writes. */
export const ALLOW = {
  kinds: [
    'File',
    'AlloyConfig',
    'Service',
    'TailscaleClient',
    'Check',
    'TailnetPolicy',
    ...GRAFANA_ALLOW.kinds,
  ],
  urls: GRAFANA_ALLOW.urls,
  secrets: [...GRAFANA_ALLOW.secrets, '/etc/homeostat/secrets/'],
  paths: ['/etc/alloy/', '/etc/motd'],
  units: ['alloy.service', 'lab-*.service'],
  exec: ['alloy', '/usr/bin/alloy', '/bin/false'],
  rootEquivalent: ['unit-file:lab-*.service'],
  tailscale: ['RunWebClient'],
};

/** Enrols a host and starts its agent as a systemd service. @param urls of APIs that its manifests may write to */
export async function installAgent(
  host: LabHost,
  controllerUrl: string,
  token: string,
  urls: readonly string[] = [],
): Promise<void> {
  await host.exec(
    ['homeostat', 'enroll', '--controller', controllerUrl, '--host', host.name, '--token', token],
    {
      check: true,
    },
  );
  const file = '/etc/homeostat/agent.json';
  const config = JSON.parse(await host.readFile(file)) as Record<string, unknown>;
  await host.writeFile(
    file,
    JSON.stringify({ ...config, allow: { ...ALLOW, urls: [...ALLOW.urls, ...urls] } }, null, 2),
    '600',
  );
  await host.exec(['systemctl', 'enable', '--now', 'homeostat-agent'], { check: true, timeout: 30_000 });
}

/** A repository of manifests on a host, and the controller that serves it on the host's tailnet address. */
export async function installController(host: LabHost, address: string): Promise<string> {
  await host.exec(['systemd-sysusers'], { check: true });
  await host.writeFile(
    '/etc/homeostat/controller.env',
    `HOMEOSTAT_REPO=/srv/fleet\nHOMEOSTAT_LISTEN=${address}:8420\n`,
  );
  await fillDownloads(host, '/var/lib/homeostat-controller');
  await host.exec(['systemctl', 'enable', '--now', 'homeostat-controller'], { check: true, timeout: 30_000 });
  return `http://${address}:8420`;
}

export async function createToken(controller: LabHost, hostName: string): Promise<string> {
  const { stdout } = await controller.exec(
    [
      'runuser',
      '-u',
      'homeostat-controller',
      '--',
      'homeostat',
      'token',
      'create',
      '--host',
      hostName,
      '--state',
      '/var/lib/homeostat-controller',
    ],
    { check: true },
  );
  return stdout.trim().split('\n').at(-1)!;
}

/** The manifests of this checkout as a user would have put them into git, with the lab's addresses. */
export class Fleet {
  readonly #host: LabHost;

  constructor(host: LabHost) {
    this.#host = host;
  }

  async create(addresses: ReadonlyMap<string, string>): Promise<void> {
    const { exec } = this.#host;
    await exec(['cp', '-r', join(repo, 'manifests'), '/srv/fleet'], { check: true });
    for (const [name, address] of addresses) {
      const file = `/srv/fleet/hosts/${name}.yaml`;
      const text = (await this.#host.readFile(file)).replace(/address: .*/, `address: ${address}`);
      // Every host of the lab runs Alloy as a service: that is what these kinds can do.
      const labelled = /alloy: \w+/.test(text)
        ? text.replace(/alloy: \w+/, 'alloy: apt')
        : text.replace('  labels:\n', '  labels:\n    alloy: apt\n');
      await this.#host.writeFile(file, labelled);
    }
    const fleet = await this.#host.readFile('/srv/fleet/fleet.yaml');
    const vars = [...addresses].map(([name, address]) => [name === 'mac-mini' ? 'central' : name, address]);
    const withAddresses = vars.reduce(
      (text, [name, address]) => text.replace(new RegExp(`( ${name}): .*`), `$1: ${address}`),
      fleet,
    );
    await this.#host.writeFile('/srv/fleet/fleet.yaml', withAddresses);
    // Suspended until somebody has imported the tailnet's policy: see putPolicy.
    await exec(['mv', '/srv/fleet/tailnet', '/srv/later'], { check: true });
    // There is no Grafana in the lab yet.
    await exec(['rm', '-r', '/srv/fleet/grafana'], { check: true });
    // Nor a compose project with a central stack.
    await exec(['rm', '-r', '/srv/fleet/central'], { check: true });
    // Of the checks the first: the lab has no Prometheus on its tailnet that hosts push to, and no Loki.
    const [clientMetrics] = (await this.#host.readFile('/srv/fleet/checks.yaml')).split(/^---$/m);
    await this.#host.writeFile('/srv/fleet/checks.yaml', clientMetrics!);
    await exec(['git', '-C', '/srv/fleet', 'init', '--quiet', '--initial-branch=main'], { check: true });
    await this.commit('The first manifests');
  }

  /** The tailnet's policy as a user puts it into force, with its credentials on the host. */
  async putPolicy(api: string, client: { readonly id: string; readonly secret: string }): Promise<void> {
    const { exec } = this.#host;
    for (const [name, value] of Object.entries(client)) {
      await this.#host.writeFile(`/etc/homeostat/secrets/tailscale-client-${name}`, `${value}\n`, '600');
    }
    await exec(['mv', '/srv/later', '/srv/fleet/tailnet'], { check: true });
    await this.edit('tailnet/tailnet-policy.yaml', (text) =>
      text
        .replace('\nsuspend: true\n', '\n')
        .replace('\ndrift: warn\n', '\ndrift: enforce\n')
        .replace(/# (importedFrom: ts-default).*/, `$1\n  api: ${api}\n  pollSeconds: 10`),
    );
    await this.commit('The tailnet’s policy');
  }

  async edit(file: string, change: (text: string) => string): Promise<void> {
    const full = `/srv/fleet/${file}`;
    const before = await this.#host.readFile(full);
    const after = change(before);
    if (after === before) throw new Error(`the edit of ${file} changes nothing`);
    await this.#host.writeFile(full, after);
  }

  async commit(message: string): Promise<void> {
    const git = ['git', '-C', '/srv/fleet', '-c', 'user.name=lab', '-c', 'user.email=lab@localhost'];
    await this.#host.exec([...git, 'add', '--all'], { check: true });
    await this.#host.exec([...git, 'commit', '--quiet', '--message', message], { check: true });
  }
}

export function fileIn(host: LabHost, path: string): string | undefined {
  const full = host.rootDir + path;
  return existsSync(full) ? readFileSync(full, 'utf8') : undefined;
}
