// Inputs that failed once (../shared/cases), on a booted host: inside/cases.ts.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { bootHost, type LabHost } from '../lab/host.ts';
import { cleanup, createWorkDirectory } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { APT, BOOTED_HOSTS, RECORDINGS, require, SHARED_DATA } from '../support/capabilities.ts';

let host: LabHost;
const canRun = [BOOTED_HOSTS, APT, RECORDINGS].every(({ missing }) => missing() === undefined);

before(async () => {
  if (!canRun) return;
  const network = await createNetwork();
  host = await bootHost({
    name: 'cases',
    address: network.address(2),
    bridge: network,
    workDir: createWorkDirectory(),
    // A host has a /tmp of its own; the repository is seen, and what is beside it is not.
    readOnlyPaths: [path.dirname(SHARED_DATA)],
  });
});
after(() => cleanup());

test('on a booted host: cases.ts', { timeout: 900_000 }, async (t) => {
  if (!require(t, BOOTED_HOSTS, APT, RECORDINGS)) return;
  const inside = path.join(import.meta.dirname, 'inside/cases.ts');
  const options = ['--test-reporter=spec', '--test-isolation=none', '--test-timeout=300000'];
  const only = process.env['HOMEOSTAT_CASES'];
  const some = only === undefined ? [] : [`--test-name-pattern=${only}`];
  const command = [process.execPath, '--test', ...options, ...some, inside];
  const result = await host.exec(command, { timeout: 890_000, env: { NODE_TEST_CONTEXT: '' } });
  for (const line of result.stdout.split('\n').filter((l) => /^\s*✔/.test(l))) t.diagnostic(line.trim());
  assert.equal(result.exitCode, 0, `${result.stdout}\n${result.stderr}`);
});
