// `npm run lab`: three real hosts on one tailnet, the controller on the first. A commit is followed, drift is
// healed, the controller goes and comes back; each with its time. Ends with a line for each row of the system's
// table, and exits 0 only when everything held.
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { type AgentStatus, findCondition } from '../../api/status.ts';
import { activeAlerts, causes, installAlarms } from './alarms.ts';
import { openHost } from './drift.ts';
import { installGrafana, missingDashboards, spoilDashboards } from './grafana.ts';
import { bootHost, type LabHost } from './host.ts';
import { cleanup, createWorkDirectory, removeStale } from './lifetime.ts';
import { createNetwork } from './network.ts';
import { labPrerequisites } from './prerequisites.ts';
import { formatRow, ROWS, type RowState } from './rows.ts';
import { createToken, Fleet, fileIn, hostFiles, installAgent, installController, standIns } from './stack.ts';
import { startTailnet, waitForPeers } from './tailnet.ts';
import { keepsPolicy, startPolicyApi } from './tailnet-policy.ts';

const { values: options } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
const NAMES = ['mac-mini', 'digitalocean', 'raspberry-pi'] as const;
const CONFIG = '/etc/alloy/config.alloy';
const booted: LabHost[] = [];
const rows: RowState[] = ROWS.map(() => ({ state: 'not yet', why: 'its kinds come with a later issue' }));

/** Asks without much of a pause until it is so. @returns milliseconds since `since`. */
async function until(
  what: string,
  check: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
  since = performance.now(),
) {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      if (await check()) return performance.now() - since;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(
        `${what}: not within ${timeoutMs / 1000} s${last === undefined ? '' : ` (${(last as Error).message})`}`,
      );
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function tell(what: string, ms: number, more = ''): void {
  console.log(`${ms.toFixed(ms < 100 ? 1 : 0).padStart(9)} ms  ${what}${more}`);
}

async function step<T>(what: string, run: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await run();
  tell(what, performance.now() - began);
  return result;
}

async function statusOf(host: LabHost): Promise<AgentStatus> {
  const { stdout } = await host.exec(['homeostat', 'status', '--output', 'json']);
  return (JSON.parse(stdout) as { status: AgentStatus }).status;
}

function problems(status: AgentStatus): string[] {
  return status.resources
    .filter((r) => findCondition(r.conditions, 'Ready')?.status !== 'True')
    .map(
      (r) =>
        `${r.key}: ${findCondition(r.conditions, 'Ready')?.reason}: ${findCondition(r.conditions, 'Ready')?.message}`,
    );
}

async function allReady(host: LabHost, timeoutMs = 60_000): Promise<void> {
  let last: string[] = [];
  await until(
    `${host.name} ready`,
    async () => {
      const status = await statusOf(host);
      last = problems(status);
      return status.resources.length > 0 && last.length === 0;
    },
    timeoutMs,
  ).catch((error: Error) => {
    throw new Error(`${error.message}: ${last.join('; ')}`);
  });
}

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
  const fleet = new Fleet(mac);
  const url = await step('manifests/ in git on mac-mini, and the controller beside it', async () => {
    await fleet.create(addresses);
    return installController(mac, addresses.get('mac-mini')!);
  });
  await until(
    'the controller answers',
    async () => (await mac.exec(['curl', '-fsS', `${url}/readyz`])).exitCode === 0,
  );
  await step('three agents enrolled with one-time tokens, started by systemd', async () => {
    for (const host of hosts) {
      await installAgent(host, url, await createToken(mac, host.name), [policyApi.origin]);
    }
  });

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
  await Promise.all(hosts.map((h) => allReady(h)));
  tell(
    'git says enforce: all three are as it says, Alloy installed config, running, webclient on',
    performance.now() - enforcing,
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
    'mac-mini: a dashboard deleted, another edited, both back',
    await until('dashboards', isRight, 120_000, spoilt),
  );
  rows[6] = { state: 'ok', standIns: ['Grafana'] };
  await healsEverything(hosts, 'with the controller');
  await metricsAnswer(hosts, addresses);
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
  }
}

const missing = labPrerequisites();
if (missing.length > 0) {
  console.error(`the lab can't run here:\n${missing.map((sentence) => `- ${sentence}`).join('\n')}`);
  process.exit(1);
}
const began = performance.now();
let failed = false;
try {
  await scenario();
  rows[1] = {
    state: 'not yet',
    why: `config and service are kept${note()}; repository and package come with a later issue`,
  };
  rows[9] = {
    state: 'not yet',
    why: 'drift of config, service and webclient heals, and alerts fire; the other kinds come with a later issue',
  };
} catch (error) {
  failed = true;
  console.error(error);
  await evidence();
  rows.forEach((row, i) => {
    if ([1, 2, 6, 7, 9].includes(i) && row.state === 'not yet')
      rows[i] = { state: 'FAILED', why: (error as Error).message.split('\n')[0]! };
  });
}
if (options.keep && failed) {
  console.error('kept, until Ctrl-C');
  await new Promise((resolve) => process.once('SIGINT', resolve));
}
await cleanup();
function note(): string {
  return standIns.length === 0 ? '' : ` (stand-in: ${standIns.join(', ')})`;
}
console.log(
  `lab: ${failed ? 'FAILED' : 'all held'} after ${((performance.now() - began) / 1000).toFixed(0)} s`,
);
rows.forEach((row, i) => {
  console.log(formatRow(i + 1, row));
});
process.exit(failed ? 1 : 0);
