// tailscaled itself: a host on a tailnet of its own, and the tests of inside/tailscale.ts in it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { bootHost, type LabHost } from '../lab/host.ts';
import { cleanup, createWorkDirectory } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { labPrerequisites } from '../lab/prerequisites.ts';
import { startTailnet } from '../lab/tailnet.ts';
import { type Capability, require } from '../support/capabilities.ts';

const TAILNET: Capability = {
  name: 'a host on a tailnet',
  missing: () => labPrerequisites().join('; ') || undefined,
  remedy: 'sudo scripts/system-packages.sh, then sudo npm test',
};

let host: LabHost;

before(async () => {
  if (TAILNET.missing() !== undefined) return;
  const network = await createNetwork();
  const workDir = createWorkDirectory();
  host = await bootHost({ name: 'node', address: network.address(2), bridge: network, workDir });
  const tailnet = await startTailnet(network, workDir);
  await tailnet.join(host);
  await tailnet.setKeyExpiry('node', new Date(Date.now() + 5.5 * 86_400_000));
});
after(() => cleanup());

test('on a host of a tailnet', { timeout: 120_000 }, async (t) => {
  if (!require(t, TAILNET)) return;
  const inside = path.join(import.meta.dirname, 'inside', 'tailscale.ts');
  const options = ['--test-reporter=spec', '--test-isolation=none'];
  const command = [process.execPath, '--test', ...options, inside];
  const result = await host.exec(command, { timeout: 110_000, env: { NODE_TEST_CONTEXT: '' } });
  for (const line of result.stdout.split('\n').filter((l) => /^\s*(✔|ℹ healed)/.test(l)))
    t.diagnostic(line.trim());
  assert.equal(result.exitCode, 0, `${result.stdout}\n${result.stderr}`);
});
