// systemd itself: boots a host and runs the tests of inside/ in it, as root of that host.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { bootHost, type LabHost } from '../lab/host.ts';
import { cleanup, createWorkDirectory } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { BOOTED_HOSTS, require } from '../support/capabilities.ts';

let host: LabHost;
const canBoot = BOOTED_HOSTS.missing() === undefined;

before(async () => {
  if (!canBoot) return;
  const network = await createNetwork();
  host = await bootHost({
    name: 'units',
    address: network.address(2),
    bridge: network,
    workDir: createWorkDirectory(),
  });
});
after(() => cleanup());

for (const file of ['systemd-provider.ts', 'service.ts', 'service-runs.ts']) {
  test(`on a booted host: ${file}`, { timeout: 180_000 }, async (t) => {
    if (!require(t, BOOTED_HOSTS)) return;
    const inside = path.join(import.meta.dirname, 'inside', file);
    const options = ['--test-reporter=spec', '--test-isolation=none'];
    const command = [process.execPath, '--test', ...options, inside];
    // Not a child of this test run as far as node knows: it reports to us in words.
    const result = await host.exec(command, { timeout: 170_000, env: { NODE_TEST_CONTEXT: '' } });
    for (const line of result.stdout.split('\n').filter((l) => /^\s*(✔|ℹ heal)/.test(l)))
      t.diagnostic(line.trim());
    assert.equal(result.exitCode, 0, `${result.stdout}\n${result.stderr}`);
  });
}
