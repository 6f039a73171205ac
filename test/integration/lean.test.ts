// The lean profile on a real systemd host: one label in git, and it is Fluent Bit and node-exporter instead of Alloy;
// back again the same way, with nothing of the other left running. apt, dpkg and systemd are real, and node-exporter is
// Debian's; Fluent Bit and Alloy are packages of stand-ins, made and signed here, unless FLUENT_BIT_BIN and ALLOY_BIN
// name the real ones.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { bootHost, type LabHost } from '../lab/host.ts';
import { cleanup, createWorkDirectory } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { APT, BOOTED_HOSTS, require } from '../support/capabilities.ts';

let host: LabHost;
let address = '';
const canRun = [BOOTED_HOSTS, APT].every(({ missing }) => missing() === undefined);
const PROGRAMS = ['ALLOY_BIN', 'FLUENT_BIT_BIN'];
const standIns = PROGRAMS.filter((name) => process.env[name] === undefined);
const named = PROGRAMS.flatMap((name) =>
  process.env[name] === undefined ? [] : [[name, process.env[name]]],
);
const WHICH = standIns.map((name) => name.slice(0, -4).toLowerCase().replace('_', '-')).join(', ');

before(async () => {
  if (!canRun) return;
  const network = await createNetwork();
  address = network.address(2);
  host = await bootHost({ name: 'lean', address, bridge: network, workDir: createWorkDirectory() });
});
after(() => cleanup());

test(`on a booted host${WHICH === '' ? '' : ` (stand-in: ${WHICH})`}: lean is one label away, and back`, {
  timeout: 600_000,
}, async (t) => {
  if (!require(t, BOOTED_HOSTS, APT)) return;
  const inside = path.join(import.meta.dirname, 'inside', 'lean.ts');
  const command = [process.execPath, '--test', '--test-reporter=spec', '--test-isolation=none', inside];
  const env = { NODE_TEST_CONTEXT: '', HOST_ADDRESS: address, ...Object.fromEntries(named) };
  const result = await host.exec(command, { timeout: 590_000, env });
  for (const line of result.stdout.split('\n').filter((l) => /^\s*✔/.test(l))) t.diagnostic(line.trim());
  assert.equal(result.exitCode, 0, `${result.stdout}\n${result.stderr}`);
});
