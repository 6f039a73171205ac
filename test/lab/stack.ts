// What the lab puts on its hosts before homeostat: its programs and units, as deploy/systemd has them. Everything else
// comes with the manifests.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repo } from './binaries.ts';
import { fillDownloads, leftOut, withoutDownloaded } from './grafana.ts';
import { grantManifest } from './grants.ts';
import type { LabHost } from './host.ts';
import { alloyPackage, type Repository } from './packages.ts';

const node = join(repo, 'node_modules', 'node', 'bin', 'node');

/** Grafana Alloy itself, when the environment names it (ALLOY_BIN). */
export const realAlloy = process.env['ALLOY_BIN'];
export const standIns: readonly string[] = realAlloy === undefined ? ['alloy'] : [];

/** What the lab's repository offers. */
export const packages = [alloyPackage(node, realAlloy)];

/** Files of a fresh host: everything but the state of homeostat. */
export function hostFiles(): Record<string, string | { content: string; mode: string }> {
  const program = (script: string) => `#!/bin/sh\nexec ${node} ${join(repo, script)} "$@"\n`;
  return {
    '/usr/local/bin/homeostat': { content: program('cli/homeostat.ts'), mode: '755' },
    '/etc/systemd/system/homeostat-agent.service': unit('homeostat-agent.service'),
    '/etc/systemd/system/homeostat-controller.service': unit('homeostat-controller.service'),
    '/etc/sysusers.d/homeostat.conf': readFileSync(
      join(repo, 'deploy/systemd/homeostat.sysusers.conf'),
      'utf8',
    ),
  };
}

/** The unit as it is shipped. ProtectHome would hide a checkout that lies below a home: the lab's programs are there. */
function unit(name: string): string {
  const text = readFileSync(join(repo, 'deploy', 'systemd', name), 'utf8');
  return text.replace('ProtectHome=read-only\n', '').replace('PrivateTmp=true\n', '');
}

/** Enrols a host, starts its agent as a systemd service, and grants what its manifest then needs. */
export async function installAgent(host: LabHost, controllerUrl: string, token: string): Promise<void> {
  const options = ['--controller', controllerUrl, '--host', host.name, '--token', token];
  await host.exec(['homeostat', 'enroll', ...options], { check: true });
  await host.exec(['systemctl', 'enable', '--now', 'homeostat-agent'], { check: true, timeout: 30_000 });
  await grantManifest(host);
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

/** @param purpose what the name is of. */
export async function createToken(
  controller: LabHost,
  name: string,
  purpose: 'host' | 'operator' = 'host',
): Promise<string> {
  const { stdout } = await controller.exec(
    [
      'runuser',
      '-u',
      'homeostat-controller',
      '--',
      'homeostat',
      'token',
      'create',
      `--${purpose}`,
      name,
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

  /** @param labels of the hosts: as the manifests have them, or one for all that runs Alloy as a service. */
  async create(
    addresses: ReadonlyMap<string, string>,
    repository: Repository,
    labels: 'as they are' | 'alloy: apt' = 'alloy: apt',
  ): Promise<void> {
    const { exec } = this.#host;
    await exec(['cp', '-r', join(repo, 'manifests'), '/srv/fleet'], { check: true });
    for (const [name, address] of addresses) {
      const file = `/srv/fleet/hosts/${name}.yaml`;
      const text = (await this.#host.readFile(file)).replace(/address: .*/, `address: ${address}`);
      // Every host of the lab runs Alloy as a service: that is what these kinds can do.
      const labelled =
        labels === 'as they are'
          ? text
          : /alloy: \w+/.test(text)
            ? text.replace(/alloy: \w+/, 'alloy: apt')
            : text.replace('labels: { ', 'labels: { alloy: apt, ');
      await this.#host.writeFile(file, labelled);
    }
    const fleet = await this.#host.readFile('/srv/fleet/fleet.yaml');
    const vars = [...addresses].map(([name, address]) => [name === 'mac-mini' ? 'central' : name, address]);
    const withAddresses = vars.reduce(
      (text, [name, address]) => text.replace(new RegExp(`( ${name}): .*`), `$1: ${address}`),
      fleet,
    );
    await this.#host.writeFile('/srv/fleet/fleet.yaml', withAddresses);
    await this.edit('alloy/apt.yaml', (text) =>
      text
        .replaceAll('https://apt.grafana.com', repository.url)
        .replace(/fingerprint: .*/, `fingerprint: ${repository.fingerprint}`),
    );
    // Suspended until somebody has imported the tailnet's policy: see putPolicy.
    await exec(['mv', '/srv/fleet/tailnet', '/srv/later'], { check: true });
    if (labels === 'as they are') {
      // Grafana is where all hosts run Alloy as a service, the rest of the stack where they are as they are.
      await exec(['rm', '-r', '/srv/fleet/grafana'], { check: true });
    } else {
      await exec(['rm', '-r', '/srv/fleet/central'], { check: true });
      if (leftOut !== undefined) await this.edit('grafana/dashboards.yaml', withoutDownloaded);
      // Of the checks the first: there is no Prometheus on the tailnet that hosts push to, and no Loki.
      const [clientMetrics] = (await this.#host.readFile('/srv/fleet/checks.yaml')).split(/^---$/m);
      await this.#host.writeFile('/srv/fleet/checks.yaml', clientMetrics!);
    }
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
