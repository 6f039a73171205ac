// `npm run lab`: three real hosts on one tailnet, the controller on the first. A commit is followed, drift is
// healed, the controller goes and comes back; each with its time. Ends with a line for each row of the system's
// table, and exits 0 only when everything held. `-- --only hosts` is its first half, `-- --only whole` its second, and
// `-- --only cases` what comes last: inputs that failed once, on a host of their own.
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { findCondition } from '../../api/status.ts';
import { activeAlerts, causes, installAlarms } from './alarms.ts';
import { casesHold } from './cases.ts';
import { openHost } from './drift.ts';
import { installGrafana, leftOut, missingDashboards, spoilDashboards } from './grafana.ts';
import { grantsAreExact, readyAsGranted } from './grants.ts';
import { bootHost, type LabHost } from './host.ts';
import { cleanup, createWorkDirectory, removeStale } from './lifetime.ts';
import { createNetwork } from './network.ts';
import { serveRepository } from './packages.ts';
import { labPrerequisites } from './prerequisites.ts';
import { formatRow, ROWS, type RowState } from './rows.ts';
import {
  createToken,
  Fleet,
  fileIn,
  hostFiles,
  installAgent,
  installController,
  packages,
  standIns,
} from './stack.ts';
import { allReady, statusOf, step, tell, until } from './steps.ts';
import { startTailnet, waitForPeers } from './tailnet.ts';
import { keepsPolicy, startPolicyApi } from './tailnet-policy.ts';
import { saysWhatIs } from './truth.ts';
import { wholeStack } from './whole.ts';

const { values: options } = parseArgs({
  options: { keep: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const NAMES = ['mac-mini', 'digitalocean', 'raspberry-pi'] as const;
const CONFIG = '/etc/alloy/config.alloy';
const booted: LabHost[] = [];
const rows: RowState[] = ROWS.map(() => ({ state: 'not yet', why: 'it was not come to' }));

async function scenario(): Promise<void> {
  await step('what killed labs left is gone', removeStale);
  const network = await createNetwork();
  const workDir = createWorkDirectory();
  const hosts = await step('three hosts boot: real systemd, D-Bus, journald', () =>
    Promise.all(
      NAMES.map((name, i) =>
        bootHost({ name, address: network.address(i + 2), bridge: network, workDir, files: hostFiles() }),
      ),
    ),
  );
  booted.push(...hosts);
  const [mac, droplet, pi] = hosts as [LabHost, LabHost, LabHost];
  const addresses = new Map<string, string>();
  const tailnet = await startTailnet(network, workDir);
  await step('one tailnet: real tailscaled on each', async () => {
    for (const host of hosts) addresses.set(host.name, (await tailnet.join(host)).address);
    await Promise.all(
      hosts.map((h) =>
        waitForPeers(
          h,
          NAMES.filter((n) => n !== h.name),
        ),
      ),
    );
  });

  await step('Grafana on mac-mini (a stand-in)', () => installGrafana(mac));
  const policyApi = await startPolicyApi(network, tailnet);
  const repository = await step('a signed repository with the package alloy, on the bridge', () =>
    serveRepository(network, workDir, packages),
  );
  const fleet = new Fleet(mac);
  const url = await step('manifests/ in git on mac-mini, and the controller beside it', async () => {
    await fleet.create(addresses, repository);
    return installController(mac, addresses.get('mac-mini')!);
  });
  await until(
    'the controller answers',
    async () => (await mac.exec(['curl', '-fsS', `${url}/readyz`])).exitCode === 0,
  );
  await step(
    'three agents enrolled with one-time tokens, started by systemd, granted what they need',
    async () => {
      for (const host of hosts) {
        await installAgent(host, url, await createToken(mac, host.name));
      }
    },
  );

  await step('new hosts observe: they report what they would do, and touch nothing', async () => {
    for (const host of hosts) {
      await until(`${host.name} reports`, async () =>
        (await statusOf(host)).resources.some(
          (r) => r.key === 'AlloyConfig/alloy' && findCondition(r.conditions, 'Ready')?.reason === 'Drifted',
        ),
      );
      assert.equal(fileIn(host, CONFIG), undefined, `${host.name} was touched`);
      assert.equal((await openHostOnce(host, (eyes) => eyes.prefs()))['RunWebClient'], false);
    }
  });

  const enforcing = performance.now();
  for (const name of NAMES) {
    await fleet.edit(`hosts/${name}.yaml`, (text) => text.replace('# mode: enforce', 'mode: enforce'));
  }
  await fleet.commit('Enforce');
  await Promise.all(hosts.map((h) => readyAsGranted(h, 120_000)));
  tell(
    'git says enforce: all three are as it says, Alloy installed config, running, webclient on',
    performance.now() - enforcing,
  );

  await step('each host grants what `homeostat allow --from-plan` printed there, and no more', () =>
    Promise.all(hosts.map(grantsAreExact)),
  );

  const wanted = fileIn(pi, CONFIG)!;
  await followsCommit(hosts, fleet, '30s', '31s', 'a commit changes the Alloy config: on all three');
  await followsCommit(hosts, fleet, '31s', '30s', 'and back');
  for (const host of hosts) await allReady(host);
  assert.equal(fileIn(pi, CONFIG), wanted);

  assert.deepEqual(await missingDashboards(mac), []);
  const spoilt = performance.now();
  const isRight = await spoilDashboards(mac);
  tell(
    'mac-mini: dashboards deleted and edited, and back',
    await until('dashboards', isRight, 120_000, spoilt),
  );
  rows[6] =
    leftOut === undefined ? { state: 'ok', standIns: ['Grafana'] } : { state: 'not yet', why: leftOut };
  await healsEverything(hosts, 'with the controller');
  await metricsAnswer(hosts, addresses);
  await tellsTheTruth(mac, hosts, url);
  const [macIP, dropletIP, piIP] = NAMES.map((name) => addresses.get(name)!) as [string, string, string];
  const parts = { mac, droplet, pi };
  await keepsPolicy(parts, { mac: macIP, droplet: dropletIP, pi: piIP }, fleet, policyApi, tell);
  rows[7] = { state: 'ok', standIns: ['Tailscale’s API'] };

  await mac.exec(['systemctl', 'stop', 'homeostat-controller'], { check: true });
  console.log('the controller is stopped');
  await healsEverything(hosts, 'without the controller');
  const back = performance.now();
  await mac.exec(['systemctl', 'start', 'homeostat-controller'], { check: true });
  await followsCommit(hosts, fleet, '30s', '29s', 'the controller is back, and a new commit arrives', back);
  for (const host of hosts) await allReady(host);
  await alarmsRing(hosts as [LabHost, LabHost, LabHost], fleet, `${addresses.get('mac-mini')}:8420`);
}

/** Ten ways to break each host that no file shows; what the terminal and the page say of it. */
async function tellsTheTruth(mac: LabHost, hosts: readonly LabHost[], url: string): Promise<void> {
  const token = await createToken(mac, 'lab', 'operator');
  const page = async (path: string): Promise<string> =>
    (
      await mac.exec(['curl', '-fsS', '--header', `Authorization: Bearer ${token}`, `${url}${path}`], {
        check: true,
      })
    ).stdout;
  const began = performance.now();
  for (const host of hosts) await saysWhatIs(host, page);
  tell('each host broken in ten ways that no file shows, never green', performance.now() - began);
}

/** Each alert fires for its real cause, and resolves when that is gone. */
async function alarmsRing(
  [mac, droplet, pi]: [LabHost, LabHost, LabHost],
  fleet: Fleet,
  controller: string,
): Promise<void> {
  await step('a real Prometheus and a real Alertmanager on mac-mini', () => installAlarms(mac, controller));
  const fires = (alert: string, since: number) =>
    until(`${alert} fires`, async () => (await activeAlerts(mac)).has(alert), 180_000, since);
  await fires('HomeostatDeadMansSwitch', performance.now());
  const quiet = async () => [...(await activeAlerts(mac))].filter((a) => a !== 'HomeostatDeadMansSwitch');
  await until('no alert while all is well', async () => (await quiet()).length === 0);
  for (const { alert, what, bringAbout, takeAway } of causes(mac, pi, droplet, fleet)) {
    const began = performance.now();
    await bringAbout();
    const fired = await fires(alert, began);
    await takeAway();
    let still: string[] = [];
    const resolved = performance.now();
    await until(
      `${alert} resolves, and nothing else is left`,
      async () => {
        still = await quiet();
        return still.length === 0;
      },
      120_000,
    ).catch((error: Error) => {
      throw new Error(`${error.message}: ${still.join(', ')}`);
    });
    tell(
      `${alert} fired: ${what}`,
      fired,
      `; resolved ${((performance.now() - resolved) / 1000).toFixed(1)} s after its cause was gone`,
    );
  }
}

async function openHostOnce<T>(
  host: LabHost,
  use: (eyes: ReturnType<typeof openHost>) => Promise<T>,
): Promise<T> {
  const eyes = openHost(host);
  try {
    return await use(eyes);
  } finally {
    await eyes.close();
  }
}

/** Commits a change of the scrape interval and waits until every host's file has it. */
async function followsCommit(
  hosts: readonly LabHost[],
  fleet: Fleet,
  from: string,
  to: string,
  what: string,
  since?: number,
): Promise<void> {
  await fleet.edit('alloy/config.alloy', (text) => text.replace(`"${from}"`, `"${to}"`));
  await fleet.commit(`Scrape every ${to}`);
  const committed = since ?? performance.now();
  const times = await Promise.all(
    hosts.map((host) =>
      until(
        `${host.name} follows`,
        () => fileIn(host, CONFIG)?.includes(`"${to}"`) === true,
        60_000,
        committed,
      ),
    ),
  );
  tell(
    what,
    Math.max(...times),
    ` (${hosts.map((h, i) => `${h.name} ${times[i]!.toFixed(0)}`).join(', ')} ms from the commit)`,
  );
}

async function healsEverything(hosts: readonly LabHost[], when: string): Promise<void> {
  for (const host of hosts) {
    await allReady(host);
    const wanted = fileIn(host, CONFIG)!;
    await openHostOnce(host, async (eyes) => {
      for (const { name, breakIt, isRight } of eyes.breakages(wanted)) {
        const began = performance.now();
        await breakIt();
        const ms = await until(`${host.name}: ${name}`, isRight, 60_000, began);
        tell(`${host.name}: ${name}, healed ${when}`, ms);
        await until(`${host.name}: Alloy runs after: ${name}`, eyes.alloyRuns);
      }
    });
  }
}

/** From the node itself and from a peer, through the tailnet. */
async function metricsAnswer(
  hosts: readonly LabHost[],
  addresses: ReadonlyMap<string, string>,
): Promise<void> {
  for (const host of hosts) {
    for (const from of hosts) {
      const { stdout } = await from.exec(
        ['curl', '-fsS', '--max-time', '10', `http://${addresses.get(host.name)}:5252/metrics`],
        { check: true },
      );
      assert.match(stdout, /^tailscaled_inbound_bytes_total/m);
    }
  }
  rows[2] = { state: 'ok' };
}

/** What the hosts themselves say, for whoever has to find out why the lab failed. */
async function evidence(): Promise<void> {
  for (const host of booted) {
    const journal = ['journalctl', '--quiet', '--no-pager', '--output=cat', '--lines=15'];
    for (const unit of ['homeostat-controller', 'homeostat-agent', 'alloy']) {
      const { stdout } = await host
        .exec([...journal, `--unit=${unit}`])
        .catch((error: Error) => ({ stdout: error.message }));
      if (stdout.trim() !== '') console.error(`--- ${host.name} ${unit}\n${stdout.trimEnd()}`);
    }
    const containers = `for c in $(docker ps --all --format '{{.Names}}' 2>/dev/null); do echo "--- $(hostname) container $c"; docker logs --tail 8 "$c" 2>&1; done`;
    const logs = await host.exec(['sh', '-c', containers]).catch(() => ({ stdout: '' }));
    if (logs.stdout.trim() !== '') console.error(logs.stdout.trimEnd());
  }
}

const missing = labPrerequisites();
if (missing.length > 0) {
  console.error(`the lab can't run here:\n${missing.map((sentence) => `- ${sentence}`).join('\n')}`);
  process.exit(1);
}
if (leftOut !== undefined) console.log(`left out: ${leftOut}`);
const began = performance.now();
let failed = false;
try {
  if (options.only === undefined || options.only === 'hosts') {
    await scenario();
    rows[1] = { state: 'ok', standIns };
  }
  if (options.only === undefined) await cleanup();
  if (options.only === undefined || options.only === 'whole') {
    booted.length = 0;
    await wholeStack(booted, (n, row) => {
      rows[n - 1] = row;
    });
  }
  if (options.only === undefined) await cleanup();
  if (options.only === undefined || options.only === 'cases') {
    booted.length = 0;
    assert.ok(await step('inputs that failed once, on a booted host', casesHold), 'a case does not hold');
  }
  if (options.only === undefined && rows.every((row, i) => i === 9 || row.state === 'ok'))
    rows[9] = { state: 'ok', standIns: ['those above'] };
} catch (error) {
  failed = true;
  console.error(error);
  await evidence();
  const why = (error as Error).message.split('\n')[0]!;
  const firstOpen = rows.findIndex(({ state }) => state !== 'ok');
  // No row is about the cases alone.
  if (options.only !== 'cases') rows[firstOpen] = { state: 'FAILED', why };
}
if (options.keep && failed) {
  console.error('kept, until Ctrl-C');
  await new Promise((resolve) => process.once('SIGINT', resolve));
}
await cleanup();
console.log(
  `lab: ${failed ? 'FAILED' : 'all held'} after ${((performance.now() - began) / 1000).toFixed(0)} s`,
);
rows.forEach((row, i) => {
  console.log(formatRow(i + 1, row));
});
process.exit(failed ? 1 : 0);
