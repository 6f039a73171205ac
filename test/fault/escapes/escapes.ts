// Every way out of what a host's owner granted, on a real host with systemd, Docker, compose and apt, by an agent whose
// controller was taken over. Each has an honest twin, which must work under the same grants.
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DOCKER_ARGUMENTS, docker, importImage, startDocker } from '../../lab/docker.ts';
import { bootHost, type LabHost } from '../../lab/host.ts';
import { cleanup, createWorkDirectory, removeStale } from '../../lab/lifetime.ts';
import { createNetwork } from '../../lab/network.ts';
import { APT, BOOTED_HOSTS, COMPOSE } from '../../support/capabilities.ts';
import { Tally } from '../support/tally.ts';

/** @param quick each honest twin once, and not before every escape. */
export async function escapes({ quick }: { readonly quick: boolean }): Promise<Tally | string> {
  const missing = [BOOTED_HOSTS, COMPOSE, APT].map((capability) => capability.missing()).find(Boolean);
  if (missing !== undefined) return missing;
  const tally = new Tally('escapes');
  try {
    const host = await victim();
    await play(host, tally, quick);
    return tally;
  } finally {
    await cleanup();
  }
}

async function victim(): Promise<LabHost> {
  await removeStale();
  const network = await createNetwork();
  const host = await bootHost({
    name: 'victim',
    address: network.address(2),
    bridge: network,
    workDir: createWorkDirectory(),
    nspawnArguments: DOCKER_ARGUMENTS,
  });
  await startDocker(host);
  await importImage(host, 'test/escape:1', { changes: ['CMD ["sleep", "100000"]'] });
  await docker(host, 'tag', 'test/escape:1', 'test/other:1');
  await docker(host, 'network', 'create', '--subnet=198.19.200.0/24', 'escapes');
  await docker(host, 'run', '--detach', '--network=none', '--name=other', 'test/other:1');
  return host;
}

async function play(host: LabHost, tally: Tally, quick: boolean): Promise<void> {
  const only = process.env['FAULT_ONLY'];
  const program = path.join(import.meta.dirname, 'inside.ts');
  const options = [host.address, quick ? 'quick' : 'whole', ...(only === undefined ? [] : [only])];
  const child = host.spawn([process.execPath, '--disable-warning=ExperimentalWarning', program, ...options], {
    env: { DOCKER_HOST: 'unix:///var/run/docker.sock' },
  });
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{"name"')) {
      console.log(`  ${line}`);
      continue;
    }
    const { name, why, seconds } = JSON.parse(line) as { name: string; why?: string; seconds: string };
    console.log(`  ${name} (${seconds} s)`);
    await tally.check(name, () => {
      if (why !== undefined) throw new Error(why);
    });
  }
  const { exitCode, stderr } = await child;
  await tally.check('all of them were tried', () => {
    if (exitCode !== 0) throw new Error(`${exitCode}: ${stderr}`);
  });
}
