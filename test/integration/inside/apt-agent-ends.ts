// The agent as a service of a real host, ended while dpkg works: dpkg goes on. Runs inside a booted host
// (../apt.test.ts).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import * as z from 'zod';
import { AgentStatus, findCondition } from '../../../api/status.ts';
import { askAgent } from '../../../cli/socket.ts';
import { agentFiles } from '../../bench/agents.ts';
import { AptArchive } from '../../support/apt-archive.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { dpkg, makeGate, PACKAGE, stateOf, waitsAt, wants } from './apt-support.ts';

const root = path.dirname(path.dirname(path.dirname(import.meta.dirname)));
const AGENT = 'homeostat-agent.service';
const UNIT = `/etc/systemd/system/${AGENT}`;
const SOCKET = '/run/homeostat/agent.sock';
const SOURCE = '/etc/apt/sources.list.d/ends.list';
const WITHIN_MS = 60_000;

const run = async (program: string, ...args: string[]): Promise<string> =>
  (await promisify(execFile)(program, args)).stdout.trim();
const systemctl = (...args: string[]): Promise<string> => run('systemctl', ...args);
const transactions = (): Promise<string> =>
  systemctl('list-units', '--plain', '--no-legend', 'homeostat-apt-*');

/** The unit that ships, with this checkout as its program. */
function installAgent(t: TestContext): void {
  const state = temporaryDirectory(t);
  const files = agentFiles([wants({ name: 'hs-slow' })], { stateDir: state, socket: SOCKET });
  fs.writeFileSync(path.join(state, 'agent.json'), files['agent.json']);
  fs.writeFileSync(path.join(state, 'bundle.json'), files['bundle.json']);
  const shipped = fs.readFileSync(path.join(root, 'deploy/systemd', AGENT), 'utf8');
  const cli = path.join(root, 'cli/homeostat.ts');
  const command = `${process.execPath} ${cli} agent --config ${path.join(state, 'agent.json')}`;
  fs.writeFileSync(UNIT, shipped.replace(/^ExecStart=.*$/m, `ExecStart=${command}`));
}

async function ready() {
  const answer = await askAgent({ socket: SOCKET, config: '' }, 'GET', '/v1/status');
  const { status } = z.object({ status: AgentStatus }).parse(answer);
  return findCondition(status.resources.find((r) => r.key === PACKAGE)?.conditions ?? [], 'Ready');
}

test('dpkg goes on when the agent is stopped, when all of its unit is killed, and when its own is stopped', async (t) => {
  const directory = temporaryDirectory(t);
  fs.chmodSync(directory, 0o755);
  const gate = makeGate(directory);
  const archive = new AptArchive(directory);
  archive.publish([{ name: 'hs-slow', version: '1', scripts: waitsAt(gate.path) }]);
  fs.writeFileSync(SOURCE, `deb [trusted=yes] ${archive.uri} stable main\n`);
  installAgent(t);
  t.after(async () => {
    await systemctl('stop', AGENT);
    for (const file of [UNIT, SOURCE]) fs.rmSync(file, { force: true });
    await systemctl('daemon-reload');
    await dpkg('--force-all', '--purge', 'hs-slow');
    await archive.close();
  });

  await systemctl('daemon-reload');
  await systemctl('start', AGENT);
  await eventually(() => assert.ok(fs.existsSync(`${gate.path}.waits`), 'its postinst runs'), WITHIN_MS);
  await systemctl('stop', AGENT);
  assert.equal(await systemctl('show', '--property=Result', '--value', AGENT), 'success');
  assert.match(await run('journalctl', '--unit', AGENT, '--output=cat'), /"agent stops"/);
  assert.match(await stateOf('hs-slow'), /half-configured/);
  const transaction = /^homeostat-apt-[0-9a-f]{8}\.service(?=\s+loaded active\s+running)/.exec(
    await transactions(),
  )?.[0];
  assert.ok(transaction, await transactions());

  await systemctl('start', AGENT);
  const waits = (): Promise<void> =>
    eventually(async () => {
      const now = await ready();
      assert.equal(now?.reason, 'DpkgLocked', String(now?.message));
    }, WITHIN_MS);
  await waits();
  const main = await systemctl('show', '--property=MainPID', '--value', AGENT);
  await systemctl('kill', '--signal=KILL', AGENT);
  await eventually(async () => {
    const next = await systemctl('show', '--property=MainPID', '--value', AGENT);
    assert.ok(next !== '0' && next !== main, 'systemd starts it again');
  }, WITHIN_MS);
  await waits();
  assert.equal(await systemctl('is-active', transaction), 'active');

  // As before a shutdown: what stops its own unit waits for it.
  const stopped = systemctl('stop', transaction);
  await eventually(async () => {
    assert.equal(await systemctl('show', '--property=ActiveState', '--value', transaction), 'deactivating');
  }, WITHIN_MS);
  gate.open();
  await stopped;
  await eventually(async () => {
    assert.equal(await stateOf('hs-slow'), '1 installed install');
    assert.equal((await ready())?.status, 'True');
    assert.equal(await transactions(), '');
  }, WITHIN_MS);
});
