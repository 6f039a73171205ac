// A real systemd host on a real tailnet (test/lab), with the installed form of the agent as a service of it: for the
// bench and the faults, which both begin when everything is confirmed.
import path from 'node:path';
import type { Resource } from '../../api/bundle.ts';
import { type AgentStatus, isTrue } from '../../api/status.ts';
import { agentFiles } from '../bench/agents.ts';
import { bootHost, type LabHost } from '../lab/host.ts';
import { createWorkDirectory, removeStale } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { startTailnet } from '../lab/tailnet.ts';

const STATE = '/var/lib/homeostat';

export interface AgentHost {
  readonly host: LabHost;
  status(): Promise<AgentStatus | undefined>;
  /** Until every resource is Ready. @throws Error with the agent's log */
  allReady(): Promise<void>;
}

/**
 * @param bundle the directory that scripts/bundle.ts made; test/lab's cleanup() ends it all
 * @param properties of the agent's unit, as `Restart=always`
 */
export async function bootAgentHost(
  name: string,
  bundle: string,
  resources: readonly Resource[],
  files: Readonly<Record<string, string>>,
  properties: readonly string[] = [],
): Promise<AgentHost> {
  await removeStale();
  const network = await createNetwork();
  const workDir = createWorkDirectory();
  const address = network.address(2);
  const host = await bootHost({ name, address, bridge: network, workDir, readOnlyPaths: [bundle], files });
  await (await startTailnet(network, workDir)).join(host);
  const config = agentFiles(resources, { stateDir: STATE });
  await host.writeFile('/etc/homeostat/agent.json', config['agent.json']);
  await host.writeFile(`${STATE}/bundle.json`, config['bundle.json']);
  await host.start([path.join(bundle, 'homeostat'), 'agent'], {
    unit: 'homeostat-agent',
    properties,
    env: { PATH: `${path.dirname(process.execPath)}:/usr/bin:/bin` },
  });

  const ask = ['curl', '-s', '--unix-socket', '/run/homeostat/agent.sock', 'http://localhost/v1/status'];
  async function status(): Promise<AgentStatus | undefined> {
    const { exitCode, stdout } = await host.exec(ask);
    return exitCode === 0 ? (JSON.parse(stdout) as { status: AgentStatus }).status : undefined;
  }

  async function allReady(): Promise<void> {
    const isReady = async (): Promise<boolean> => {
      const now = (await status())?.resources ?? [];
      return now.length > 0 && now.every((r) => isTrue(r.conditions, 'Ready'));
    };
    if (await until(isReady, 60_000)) return;
    const log = ['journalctl', '--no-pager', '--lines=30', '--unit=homeostat-agent'];
    const { stdout } = await host.exec(log);
    throw new Error(`the agent of ${name} did not get ready: ${stdout}`);
  }

  await allReady();
  return { host, status, allReady };
}

/** Asks without a pause. @returns whether it came to that */
export async function until(check: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (!(await check())) {
    if (performance.now() > deadline) return false;
    // What is asked may be in this very process.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return true;
}
