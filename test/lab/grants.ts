// What the owner of a lab host grants: what `homeostat allow --from-plan` prints on it, pasted as it is, and no more.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { AgentConfig } from '../../agent/config.ts';
import { findCondition } from '../../api/status.ts';
import type { LabHost } from './host.ts';
import { problems, statusOf, until } from './steps.ts';

const AGENT_CONFIG = '/etc/homeostat/agent.json';
const COMMAND = ['homeostat', 'allow', '--from-plan'];
/** How often an owner pastes until a manifest is in force: what a package brings is not known before. */
const MOST_PASTES = 6;

/** @returns whether anything of it was new. */
export async function pasteGrants(host: LabHost): Promise<boolean> {
  const printed = await host.exec([...COMMAND, '--output', 'json']);
  assert.notEqual(printed.exitCode, 1, `${host.name}: ${printed.stderr}`);
  const config = AgentConfig.parse(JSON.parse(await host.readFile(AGENT_CONFIG)));
  const next = AgentConfig.parse({ ...config, allow: JSON.parse(printed.stdout) as unknown });
  if (isDeepStrictEqual(config.allow, next.allow)) return false;
  await host.writeFile(AGENT_CONFIG, JSON.stringify(next, null, 2), '600');
  await host.exec(['systemctl', 'restart', 'homeostat-agent'], { check: true, timeout: 60_000 });
  return true;
}

/** Once the controller has sent a manifest. */
export async function grantManifest(host: LabHost): Promise<void> {
  await until(`${host.name} has a manifest`, async () => (await statusOf(host)).sequence.desired > 0);
  await pasteGrants(host);
}

/** Once the host has this document, which its owner did not know before. */
export async function grantDocument(host: LabHost, key: string): Promise<void> {
  await until(`${host.name} has ${key}`, async () => {
    const { resources } = await statusOf(host);
    return findCondition(resources.find((r) => r.key === key)?.conditions ?? [], 'Ready') !== undefined;
  });
  await pasteGrants(host);
}

/** All of it is as the manifest says, under the grants that are printed; pasted again where they do not suffice yet. */
export async function readyAsGranted(host: LabHost, timeoutMs = 60_000): Promise<void> {
  let last: string[] = [];
  let pastes = 0;
  const isReady = async (): Promise<boolean> => {
    const status = await statusOf(host);
    last = problems(status);
    if (last.length === 0) return status.resources.length > 0;
    if (!last.some((problem) => problem.includes('NotAllowed')) || pastes === MOST_PASTES) return false;
    if (await pasteGrants(host)) pastes += 1;
    return false;
  };
  await until(`${host.name} ready`, isReady, timeoutMs).catch((error: Error) => {
    throw new Error(`${error.message}: ${last.join('; ')}`);
  });
}

/** Everything that is needed is granted, and nothing else. */
export async function grantsAreExact(host: LabHost): Promise<void> {
  const { stdout, exitCode, stderr } = await host.exec(COMMAND);
  assert.equal(exitCode, 0, `${host.name}: ${stdout}${stderr}`);
  assert.match(stdout, /: \d+ grants, 0 of them missing/, host.name);
  assert.equal((await host.exec([...COMMAND, '--unused'])).stdout.trim(), 'nothing', host.name);
}
