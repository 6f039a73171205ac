// `homeostat import host` on a real systemd host: what it writes validates, changes nothing there, and plans no change.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { bootHost, type LabHost } from '../lab/host.ts';
import { cleanup, createWorkDirectory } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { BOOTED_HOSTS, require } from '../support/capabilities.ts';

let host: LabHost;

before(async () => {
  if (BOOTED_HOSTS.missing() !== undefined) return;
  const network = await createNetwork();
  const workDir = createWorkDirectory();
  host = await bootHost({ name: 'imported', address: network.address(2), bridge: network, workDir });
});
after(() => cleanup());

test('on a booted host (stand-in: alloy): what is imported changes nothing', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, BOOTED_HOSTS)) return;
  const inside = path.join(import.meta.dirname, 'inside', 'import-host.ts');
  const command = [process.execPath, '--test', '--test-reporter=spec', '--test-isolation=none', inside];
  const result = await host.exec(command, { timeout: 170_000, env: { NODE_TEST_CONTEXT: '' } });
  for (const line of result.stdout.split('\n').filter((l) => /^\s*✔/.test(l))) t.diagnostic(line.trim());
  assert.equal(result.exitCode, 0, `${result.stdout}\n${result.stderr}`);
});
