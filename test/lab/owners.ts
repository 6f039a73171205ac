/**
 * The three hosts as their owners have them, on a network and a tailnet of their own, with the manifests of this
 * checkout in git on the first and an agent on each that only observes yet.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { startLoki } from '../support/loki.ts';
import { STACK, startCentralStack } from './central.ts';
import { DOCKER_ARGUMENTS, startDocker } from './docker.ts';
import { startDroplet } from './droplet.ts';
import { exposeOnBridge, forwardOn } from './forward.ts';
import { bootHost, type LabHost } from './host.ts';
import { createWorkDirectory, onCleanup } from './lifetime.ts';
import { createNetwork, type LabNetwork } from './network.ts';
import { serveRepository } from './packages.ts';
import {
  createToken,
  Fleet,
  hostFiles,
  installAgent,
  installController,
  packages,
  realAlloy,
} from './stack.ts';
import { step, until } from './steps.ts';
import { startTailnet, waitForPeers } from './tailnet.ts';

export const NAMES = ['mac-mini', 'digitalocean', 'raspberry-pi'] as const;
export const SECRETS = '/etc/homeostat/secrets';

export interface Whole {
  readonly mac: LabHost;
  readonly droplet: LabHost;
  readonly pi: LabHost;
  readonly hosts: readonly LabHost[];
  readonly network: LabNetwork;
  readonly workDir: string;
  readonly fleet: Fleet;
}

/** What the lab's own cleanup ends, where a helper wants a test's context. */
const untilCleanup = {
  after: (end: () => Promise<void>) => onCleanup(async () => end()),
  diagnostic: () => undefined,
} as unknown as TestContext;

export async function assemble(booted: LabHost[]): Promise<Whole> {
  const network = await createNetwork();
  const workDir = createWorkDirectory();
  const hosts = await step('three more hosts boot, two of them with a Docker engine', () =>
    Promise.all(
      NAMES.map((name, i) =>
        bootHost({
          name,
          address: network.address(i + 2),
          bridge: network,
          workDir,
          files: hostFiles(),
          nspawnArguments: name === 'raspberry-pi' ? [] : DOCKER_ARGUMENTS,
        }),
      ),
    ),
  );
  booted.push(...hosts);
  const [mac, droplet, pi] = hosts as [LabHost, LabHost, LabHost];
  const addresses = new Map<string, string>();
  await step('their tailnet', async () => {
    const tailnet = await startTailnet(network, workDir);
    for (const host of hosts) addresses.set(host.name, (await tailnet.join(host)).address);
    for (const host of hosts)
      await waitForPeers(
        host,
        NAMES.filter((n) => n !== host.name),
      );
  });
  const fleet = new Fleet(mac);
  const repository = await serveRepository(network, workDir, packages);
  await fleet.create(addresses, repository, 'as they are');
  const { exporter, alloyImage } = await images(mac);
  await step('what their owners have there: a compose project, two containers', async () => {
    await Promise.all([startDocker(mac), startDocker(droplet)]);
    await Promise.all([startCentralStack(mac, exporter), startDroplet(droplet, alloyImage, realAlloy)]);
  });
  await startLokiOn(network, mac);
  for (const name of ['tailscale-oauth-client-id', 'tailscale-oauth-client-secret'])
    await mac.writeFile(`${SECRETS}/${name}`, `${randomBytes(12).toString('hex')}\n`, '600');
  await haste(fleet);
  await fleet.commit('The lab’s addresses');
  await step('the controller, and three agents', async () => {
    const url = await installController(mac, addresses.get('mac-mini')!);
    await until(
      'the controller answers',
      async () => (await mac.exec(['curl', '-fsS', `${url}/readyz`])).exitCode === 0,
    );
    for (const host of hosts) await installAgent(host, url, await createToken(mac, host.name));
  });
  return { mac, droplet, pi, hosts, network, workDir, fleet };
}

/** The images that the manifests name. */
async function images(mac: LabHost): Promise<{ exporter: string; alloyImage: string }> {
  const found = async (file: string, pattern: RegExp): Promise<string> => {
    const image = pattern.exec(await mac.readFile(`/srv/fleet/${file}`))?.[1];
    assert.ok(image, `${file} names no image`);
    return image;
  };
  return {
    exporter: await found('central/compose.yaml', /image: (adinhodovic\S+)/),
    alloyImage: await found('fleet.yaml', /alloyImage: (\S+)/),
  };
}

/** Loki at the address where mac-mini's owner has it. */
async function startLokiOn(network: LabNetwork, mac: LabHost): Promise<void> {
  const loki = await startLoki(untilCleanup);
  const onBridge = await exposeOnBridge(network, Number(new URL(loki.url).port));
  await forwardOn(mac, 'loki', '0.0.0.0:3100', onBridge);
}

/** What would take minutes takes seconds; and containers have the host's network, since the engine has no bridge. */
async function haste(fleet: Fleet): Promise<void> {
  await fleet.edit('hosts/mac-mini.yaml', (text) => text.replace(/stack: .*/, `stack: ${STACK}`));
  for (const file of ['alloy/config.alloy', 'alloy/container.alloy'])
    await fleet.edit(file, (text) =>
      text.replace(/scrape_interval = "30s"/g, 'scrape_interval = "2s"\n\tscrape_timeout  = "1s"'),
    );
  await fleet.edit('central/prometheus.yaml', (text) =>
    text.replaceAll('scrape_interval: 30s', 'scrape_interval: 2s'),
  );
  await fleet.edit('central/compose.yaml', (text) =>
    text
      .replace(/^( +)restart: always$/m, '$1restart: always\n$1network_mode: host')
      .replace('interval: 30s', 'interval: 1s'),
  );
}
