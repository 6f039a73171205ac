// apt and dpkg themselves: boots a Debian host and runs the tests of inside/apt*.ts in it, as root of that host.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { bootHost, type LabHost } from '../lab/host.ts';
import { cleanup, createWorkDirectory } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { APT, BOOTED_HOSTS, require } from '../support/capabilities.ts';

let host: LabHost;
const canRun = [BOOTED_HOSTS, APT].every(({ missing }) => missing() === undefined);

before(async () => {
  if (!canRun) return;
  const network = await createNetwork();
  host = await bootHost({
    name: 'packages',
    address: network.address(2),
    bridge: network,
    workDir: createWorkDirectory(),
  });
});
after(() => cleanup());

for (const file of ['apt-healed.ts', 'apt-refused.ts', 'apt-agent-ends.ts']) {
  test(`on a booted host: ${file}`, { timeout: 600_000 }, async (t) => {
    if (!require(t, BOOTED_HOSTS, APT)) return;
    const inside = path.join(import.meta.dirname, 'inside', file);
    const options = ['--test-reporter=spec', '--test-isolation=none', '--test-timeout=180000'];
    const command = [process.execPath, '--test', ...options, inside];
    // Not a child of this test run as far as node knows: it reports to us in words.
    const result = await host.exec(command, { timeout: 590_000, env: { NODE_TEST_CONTEXT: '' } });
    for (const line of result.stdout.split('\n').filter((l) => /^\s*(✔|ℹ heal)/.test(l)))
      t.diagnostic(line.trim());
    assert.equal(result.exitCode, 0, `${result.stdout}\n${result.stderr}`);
  });
}
