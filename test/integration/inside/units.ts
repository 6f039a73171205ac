// The units of deploy/systemd with the programs as they are installed. Runs inside a booted host (../units.test.ts).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../../support/eventually.ts';

const root = path.dirname(path.dirname(path.dirname(import.meta.dirname)));
const shipped = (name: string): string => path.join(root, 'deploy/systemd', name);
const INSTALLED = process.env['INSTALLED'] ?? '';
const REPO = '/srv/manifests';
const WITHIN_MS = 60_000;

/** Not synchronously: the stand-in of tailscaled answers in this process. */
async function run(program: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(program, args)).stdout.trim();
}

async function commit(content: string): Promise<void> {
  fs.mkdirSync(REPO, { recursive: true });
  fs.writeFileSync(
    path.join(REPO, 'all.yaml'),
    `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {mode: enforce}\n---\napiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: greeting}\nhosts: {all: true}\nspec: {path: /etc/greeting, content: ${content}}\n`,
  );
  const git = (...args: string[]) =>
    run('git', '-C', REPO, '-c', 'user.name=T', '-c', 'user.email=t@example.com', ...args);
  await git('init', '--quiet', '--initial-branch=main');
  await git('add', '--all');
  await git('commit', '--quiet', '--message', content);
}

/** As the comments of the units say. */
async function install(): Promise<void> {
  fs.cpSync(INSTALLED, '/usr/local/lib/homeostat', { recursive: true });
  fs.copyFileSync(process.execPath, '/usr/local/bin/node');
  fs.chmodSync('/usr/local/bin/node', 0o755);
  fs.symlinkSync('/usr/local/lib/homeostat/homeostat', '/usr/local/bin/homeostat');
  fs.copyFileSync(shipped('homeostat.sysusers.conf'), '/usr/lib/sysusers.d/homeostat.conf');
  await run('systemd-sysusers');
  fs.copyFileSync(shipped('homeostat.tmpfiles.conf'), '/usr/lib/tmpfiles.d/homeostat.conf');
  await run('systemd-tmpfiles', '--create', 'homeostat.conf');
  const env = fs.readFileSync(shipped('controller.env'), 'utf8').replace('100.64.0.4', '127.0.0.1');
  fs.writeFileSync('/etc/homeostat/controller.env', env);
  for (const unit of ['homeostat-controller.service', 'homeostat-agent.service'])
    fs.copyFileSync(shipped(unit), `/etc/systemd/system/${unit}`);
  await run('systemctl', 'daemon-reload');
}

/** tailscaled, as far as it is asked who calls. */
async function startTailscaled(asked: string[]): Promise<() => void> {
  const socket = '/run/tailscale/tailscaled.sock';
  fs.mkdirSync(path.dirname(socket), { recursive: true });
  const server = http.createServer((request, response) => {
    asked.push(request.url ?? '');
    const node = { StableID: 'nPi', Name: 'pi.example.ts.net.' };
    response.end(JSON.stringify({ Node: node, UserProfile: { LoginName: 'me@example.com' }, CapMap: {} }));
  });
  await new Promise<void>((done) => server.listen(socket, done));
  fs.chmodSync(socket, 0o666); // as tailscaled's is
  return () => server.close();
}

test('the controller and the agent run under their units, as they are shipped', async (t) => {
  const asked: string[] = [];
  t.after(await startTailscaled(asked));
  await commit('one');
  await install();
  const journal = () => run('journalctl', '--unit', 'homeostat-*', '--no-pager', '--lines', '60');
  const url = 'http://127.0.0.1:8420';
  try {
    await run('systemctl', 'enable', '--now', 'homeostat-controller');
    await eventually(async () => assert.equal((await fetch(`${url}/readyz`)).status, 200), WITHIN_MS);
    const pid = await run('systemctl', 'show', '--value', '--property=MainPID', 'homeostat-controller');
    assert.equal(await run('stat', '--format=%U', `/proc/${pid}`), 'homeostat-controller');
    const published = async () => (await fetch(`${url}/metrics`)).text();
    await eventually(
      async () => assert.match(await published(), /publish_total\{result="published"\} 1/),
      WITHIN_MS,
    );

    const state = '/var/lib/homeostat-controller';
    const create = ['homeostat', 'token', 'create', '--host', 'pi', '--state', state];
    const token = await run('runuser', '--user', 'homeostat-controller', '--', ...create);
    await run('homeostat', 'enroll', '--controller', url, '--token', token, '--host', 'pi');
    assert.ok(
      asked.some((where) => where.startsWith('/localapi/v0/whois')),
      'tailscaled was asked',
    );
    const config = JSON.parse(fs.readFileSync('/etc/homeostat/agent.json', 'utf8')) as object;
    const allow = { kinds: ['File'], paths: ['/etc/greeting'] };
    fs.writeFileSync('/etc/homeostat/agent.json', JSON.stringify({ ...config, allow }), { mode: 0o600 });
    await run('systemctl', 'enable', '--now', 'homeostat-agent');
    const holds = (content: string) =>
      eventually(() => assert.equal(fs.readFileSync('/etc/greeting', 'utf8'), content), WITHIN_MS);
    await holds('one');
    await commit('two');
    await holds('two');
    fs.writeFileSync('/etc/greeting', 'drift');
    await holds('two');
    for (const unit of ['homeostat-controller', 'homeostat-agent']) {
      assert.equal(await run('systemctl', 'show', '--value', '--property=NRestarts', unit), '0', unit);
      await run('systemctl', 'restart', unit);
      assert.equal(await run('systemctl', 'is-active', unit), 'active');
    }
    await commit('three');
    await holds('three');
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${await journal()}`, {
      cause: error,
    });
  }
});
