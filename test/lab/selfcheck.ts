/**
 * Shows that the lab's ground holds: three systemd hosts on one bridge and one
 * tailnet, with what the tests rest on. Prints a line with its time for each step,
 * and ends with 0 only when all of them held and nothing was left behind.
 *
 *   node_modules/.bin/node test/lab/selfcheck.ts
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { repo } from './binaries.ts';
import { bootHost, type LabHost } from './host.ts';
import { cleanup, createWorkDirectory, owner, removeStale } from './lifetime.ts';
import { createNetwork } from './network.ts';
import { labPrerequisites } from './prerequisites.ts';
import { localApi, startTailnet, type TailnetMember, waitForPeers } from './tailnet.ts';

const names = ['mac-mini', 'digitalocean', 'raspberry-pi'] as const;

interface Self {
  readonly KeyExpiry: string;
}

let steps = 0;
async function step<T>(sentence: string, run: () => Promise<T>): Promise<T> {
  const began = performance.now();
  try {
    const result = await run();
    console.log(`ok   ${String(Math.round(performance.now() - began)).padStart(6)} ms  ${sentence}`);
    steps += 1;
    return result;
  } catch (error) {
    console.log(`FAIL ${String(Math.round(performance.now() - began)).padStart(6)} ms  ${sentence}`);
    throw error;
  }
}

/** Runs the same on all at once. */
function each<A, T>(all: readonly A[], run: (one: A) => Promise<T>): Promise<T[]> {
  return Promise.all(all.map(run));
}

async function metrics(from: LabHost, address: string): Promise<string> {
  const url = `http://${address}:5252/metrics`;
  const curl = ['curl', '--silent', '--show-error', '--fail', '--max-time', '10', url];
  return (await from.exec(curl, { check: true })).stdout;
}

async function check(): Promise<void> {
  await step('what killed labs left is gone', removeStale);
  const network = await step('a bridge', createNetwork);
  const workDir = createWorkDirectory();
  const hosts = await step('three hosts boot at once', () =>
    each(names, (name) =>
      bootHost({
        name,
        address: network.address(names.indexOf(name) + 2),
        bridge: network,
        workDir,
        env: { LAB_NOTE: 'a "quoted" 100%' },
        files: {
          '/etc/selfcheck': name,
          '/var/run/../opt/selfcheck.sh': { content: '#!/bin/sh\n', mode: '755' },
        },
      }),
    ),
  );
  const [mac, droplet, pi] = hosts as [LabHost, LabHost, LabHost];

  await step('systemd, D-Bus, journal, dpkg and the host name are real', () =>
    each(hosts, async (host) => {
      const run = async (...command: string[]) => (await host.exec(command, { check: true })).stdout.trim();
      assert.equal(await run('systemctl', 'is-system-running'), 'running');
      assert.match(
        await run(
          'busctl',
          'get-property',
          'org.freedesktop.systemd1',
          '/org/freedesktop/systemd1',
          'org.freedesktop.systemd1.Manager',
          'Version',
        ),
        /^s "\d+/,
      );
      assert.equal(await run('hostname'), host.name);
      assert.equal(await host.readFile('/etc/selfcheck'), host.name);
      assert.equal(await run('stat', '--format=%a', '/opt/selfcheck.sh'), '755');
      assert.match(await run('journalctl', '--boot', '--quiet', '--unit=dbus.service'), /D-Bus/);
      assert.match(await run('dpkg-query', '--show', 'systemd'), /^systemd\t/);
      assert.match(await run('apt-get', '--quiet', 'update'), /Reading package lists/);
      assert.equal(await run('sh', '-c', 'ls -d /etc/alloy /var/lib/tailscale 2>/dev/null || true'), '');
    }),
  );
  await step('each has an identity of its own, and runs no service of this machine', async () => {
    const ids = await each(hosts, (host) => host.readFile('/etc/machine-id'));
    assert.equal(new Set(ids).size, hosts.length);
    const command = [
      'systemctl',
      'list-units',
      '--type=service',
      '--state=running',
      '--no-legend',
      '--plain',
    ];
    const { stdout } = await pi.exec(command, { check: true });
    const services = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(' ')[0]);
    assert.deepEqual(services.sort(), ['dbus.service', 'systemd-journald.service']);
  });
  await step('a unit runs the pinned node in this checkout', async () => {
    await pi.start(
      [join(repo, 'node_modules/.bin/node'), '-p', 'process.cwd() + " " + process.env.LAB_NOTE'],
      {
        unit: 'selfcheck-node',
        cwd: repo,
        properties: ['RemainAfterExit=yes', 'StandardOutput=file:/run/selfcheck-node'],
      },
    );
    const ended = ['sh', '-c', 'tail --follow --retry --lines=+1 /run/selfcheck-node | head --lines=1'];
    assert.equal((await pi.exec(ended, { timeout: 10_000 })).stdout, `${repo} a "quoted" 100%\n`);
  });
  await step('a unit that is killed is seen, on that host alone', async () => {
    const command = ['systemd-run', '--wait', '--unit=selfcheck-victim', 'sleep', 'infinity'];
    const [watched, other] = [pi, mac].map((host) => host.spawn(command)) as [
      ReturnType<LabHost['spawn']>,
      ReturnType<LabHost['spawn']>,
    ];
    // systemd-run says "Running as unit" when the start job is done.
    await each([watched, other], (child) => new Promise((resolve) => child.stderr.once('data', resolve)));
    await pi.exec(['systemctl', 'kill', '--signal=SIGKILL', 'selfcheck-victim'], { check: true });
    assert.match((await watched).stderr, /code=killed, status=9\/KILL|code=killed\/status=KILL/);
    const { stdout } = await mac.exec(['systemctl', 'is-active', 'selfcheck-victim']);
    assert.equal(stdout.trim(), 'active');
    await mac.exec(['systemctl', 'stop', 'selfcheck-victim'], { check: true });
    await other;
  });
  await step('a program that takes too long is ended', async () => {
    await assert.rejects(mac.exec(['sleep', '4711'], { timeout: 200 }), /timed out/);
    assert.equal((await mac.exec(['pgrep', '--full', '^sleep 4711'])).exitCode, 1);
  });

  const tailnet = await step('the control server', () => startTailnet(network, workDir));
  const members: TailnetMember[] = [];
  await step('all three are on the tailnet', async () => {
    for (const host of hosts) members.push(await tailnet.join(host)); // in order: it decides the addresses
    const nodes = await tailnet.nodes();
    assert.deepEqual(
      nodes.map((node) => node.name),
      names,
    );
    assert.deepEqual(
      nodes.map((node) => node.nodeID),
      members.map((member) => member.nodeID),
    );
    console.log(
      `                ${hosts.map((host, i) => `${host.name} ${members[i]?.address} ${members[i]?.nodeID}`).join(', ')}`,
    );
  });
  const [macMember, , piMember] = members as [TailnetMember, TailnetMember, TailnetMember];
  await step('each reaches the two others through the tunnel', () =>
    each(hosts, (host) =>
      waitForPeers(
        host,
        names.filter((name) => name !== host.name),
      ),
    ),
  );
  await step('tailscale ping, by the program itself', async () => {
    const ping = ['tailscale', 'ping', '--until-direct=false', '--c=1', piMember.address];
    assert.match((await mac.exec(ping, { check: true })).stdout, /^pong from raspberry-pi/);
  });
  await step('tailscale set --webclient: metrics for the node itself and for a peer', async () => {
    await pi.exec(['tailscale', 'set', '--webclient'], { check: true });
    for (const from of [pi, mac])
      assert.match(await metrics(from, piMember.address), /^tailscaled_inbound_bytes_total/m);
  });
  await step('whois names a peer', async () => {
    const who = (await localApi(mac, `/localapi/v0/whois?addr=${piMember.address}:80`)) as {
      Node: { StableID: string; Name: string };
    };
    assert.equal(who.Node.StableID, piMember.nodeID);
    assert.match(who.Node.Name, /^raspberry-pi\./);
  });
  await step('a filter is enforced, and lifted', async () => {
    const ports = (ip: string, port: number) => ({ IP: ip, Ports: { First: port, Last: port } });
    await tailnet.setFilter([{ SrcIPs: [macMember.address], DstPorts: [ports('*', 5252)] }]);
    assert.match(await metrics(mac, piMember.address), /^tailscaled_/m);
    await assert.rejects(
      droplet.exec(['curl', '--silent', '--max-time', '2', `http://${piMember.address}:5252/metrics`], {
        check: true,
      }),
    );
    await tailnet.setFilter(null);
    assert.match(await metrics(droplet, piMember.address), /^tailscaled_/m);
  });
  await step("a key's expiry arrives at the node", async () => {
    const expiry = new Date(Date.now() + 5 * 86_400_000);
    const socket = '/run/tailscale/tailscaled.sock';
    const bus = 'http://local-tailscaled.sock/localapi/v0/watch-ipn-bus?mask=8';
    const follow = droplet.spawn(['curl', '--silent', '--no-buffer', '--unix-socket', socket, bus]);
    await tailnet.setKeyExpiry('digitalocean', expiry);
    let arrived = false;
    for await (const line of follow) {
      const notify = JSON.parse(line) as { NetMap?: { SelfNode: Self }; SelfChange?: Self };
      const self = notify.SelfChange ?? notify.NetMap?.SelfNode;
      arrived ||= Date.parse(self?.KeyExpiry ?? '') === expiry.getTime();
      if (arrived) follow.kill(); // leaving the loop would only wait for its end
    }
    assert.ok(arrived, 'tailscaled ended the watch first');
    await tailnet.setKeyExpiry('digitalocean', null);
  });
  await step('a host whose power is cut comes back as itself, on the tailnet', async () => {
    const id = await pi.readFile('/etc/machine-id');
    await pi.powerOff('cut');
    await pi.powerOn();
    assert.equal(await pi.readFile('/etc/machine-id'), id);
    await waitForPeers(mac, ['raspberry-pi']);
    assert.match(await metrics(mac, piMember.address), /^tailscaled_/m);
  });
  await step('a host shuts down by itself', () => droplet.powerOff('clean'));
}

/** What of this run is still on the machine. */
async function leftovers(): Promise<string[]> {
  const { stdout } = await execa('ps', ['-eo', 'pid,args']);
  const processes = stdout.split('\n').filter((line) => line.includes(owner));
  const { stdout: links } = await execa('ip', ['link', 'show']);
  const mounts = await execa('findmnt', ['--list', '--noheadings', '--output=TARGET']);
  const cgroups = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified', '/sys/fs/cgroup/systemd'].filter((path) =>
    existsSync(path),
  );
  return [
    ...processes,
    ...links.split('\n').filter((line) => line.includes(owner)),
    ...mounts.stdout.split('\n').filter((line) => line.includes(owner)),
    ...cgroups.flatMap((path) => readdirSync(path)).filter((name) => name.startsWith(owner)),
    ...readdirSync(tmpdir()).filter((name) => name.startsWith(owner)),
  ];
}

const missing = labPrerequisites();
if (missing.length > 0) {
  console.error(`the lab can't run here:\n${missing.map((sentence) => `- ${sentence}`).join('\n')}`);
  process.exit(1);
}
let failed = false;
try {
  await check();
} catch (error) {
  failed = true;
  console.error(error);
}
try {
  await step('everything is taken down', cleanup);
  await step('nothing is left', async () => assert.deepEqual(await leftovers(), []));
} catch (error) {
  failed = true;
  console.error(error);
}
console.log(`${steps} steps held${failed ? ', one did not' : ''}`);
process.exit(failed ? 1 : 0);
