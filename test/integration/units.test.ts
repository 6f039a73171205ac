// The shipped units: how far they are hardened, as systemd judges it, and that the programs run under them on a booted
// host, with the installed form of homeostat.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { bundle } from '../../scripts/bundle.ts';
import { bootHost, type LabHost } from '../lab/host.ts';
import { cleanup, createWorkDirectory } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { BOOTED_HOSTS, require } from '../support/capabilities.ts';

const run = promisify(execFile);
const root = path.dirname(path.dirname(import.meta.dirname));
const units = path.join(root, 'deploy/systemd');
const canBoot = BOOTED_HOSTS.missing() === undefined;
let host: LabHost;
let installed = '';

before(async () => {
  if (!canBoot) return;
  const network = await createNetwork();
  const workDir = createWorkDirectory();
  installed = path.join(workDir, 'installed');
  await bundle(installed);
  const name = 'shipped';
  host = await bootHost({
    ...{ name, address: network.address(2), bridge: network, workDir, readOnlyPaths: [installed] },
  });
});
after(() => cleanup());

/** Lower is better; systemd(1) calls below 3 OK. */
const MOST = { 'homeostat-controller.service': 3, 'homeostat-agent.service': 8 };

for (const [unit, most] of Object.entries(MOST)) {
  test(`${unit} is exposed no more than ${most}, as systemd-analyze judges`, async (t) => {
    if (!require(t, BOOTED_HOSTS)) return;
    const args = ['security', '--offline=true', '--no-pager', path.join(units, unit)];
    const { stdout } = await run('systemd-analyze', args);
    const level = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
    t.diagnostic(`exposure level ${level}`);
    assert.ok(level < most, `${level}`);
  });
}

test('on a booted host: both units run what is installed, a commit reaches the agent, and drift is healed', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, BOOTED_HOSTS)) return;
  const inside = path.join(import.meta.dirname, 'inside', 'units.ts');
  const command = [process.execPath, '--test', '--test-reporter=spec', '--test-isolation=none', inside];
  const env = { NODE_TEST_CONTEXT: '', INSTALLED: installed };
  const result = await host.exec(command, { timeout: 170_000, env });
  for (const line of result.stdout.split('\n').filter((l) => /^\s*✔/.test(l))) t.diagnostic(line.trim());
  assert.equal(result.exitCode, 0, `${result.stdout}\n${result.stderr}`);
});
