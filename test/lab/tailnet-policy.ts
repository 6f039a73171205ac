/**
 * The ACL of a lab's tailnet as somebody edits it: a stand-in of Tailscale's API, whose policy is compiled to packet
 * filters that the control server hands to the hosts' real tailscaled. What then passes is asked on the hosts.
 */
import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.ts';
import { TailscaleApi } from '../support/tailscale-api/server.ts';
import { grantDocument } from './grants.ts';
import type { LabHost } from './host.ts';
import { onCleanup } from './lifetime.ts';
import type { LabNetwork } from './network.ts';
import type { Fleet } from './stack.ts';
import type { Tailnet } from './tailnet.ts';

/** The three hosts of the system, by their part in it. */
export interface Parts<T> {
  readonly mac: T;
  readonly droplet: T;
  readonly pi: T;
}

const OWNER = 'owner@example.com';

/** All hosts belong to the tailnet's owner. @returns with the origin at which hosts and this machine reach it */
export async function startPolicyApi(
  network: LabNetwork,
  tailnet: Tailnet,
): Promise<{ served: TailscaleApi; origin: string }> {
  const served = new TailscaleApi({
    tailnet: async () => ({
      devices: (await tailnet.nodes()).map(({ name, addresses }) => ({ name, addresses, user: OWNER })),
      users: [{ login: OWNER, role: 'owner' }],
    }),
    enforce: (rules) => tailnet.setFilter(rules),
  });
  const origin = await served.start(network.labAddress);
  onCleanup(() => served.stop());
  return { served, origin };
}

/** Something that answers on each of these ports, on the host's tailnet address only. */
export async function listenOn(host: LabHost, address: string, ports: readonly number[]): Promise<void> {
  const script =
    'for (const port of process.argv.slice(2)) require("node:net").createServer((s) => s.end()).listen(Number(port), process.argv[1])';
  await host.start([process.execPath, '-e', script, address, ...ports.map(String)], { unit: 'lab-ports' });
}

/** Whether a connection comes about; a packet that the filter drops is not answered at all. */
export async function reaches(from: LabHost, address: string, port: number, seconds = 2): Promise<boolean> {
  const script = `timeout ${seconds} bash -c '</dev/tcp/${address}/${port}'`;
  return (await from.exec(['sh', '-c', script])).exitCode === 0;
}

/** What SYSTEM's ACL says, as the hosts themselves find it. @throws AssertionError when it doesn't come about */
export async function assertPolicyHolds(hosts: Parts<LabHost>, addresses: Parts<string>): Promise<void> {
  const { mac, droplet, pi } = hosts;
  const open: [LabHost, string, number][] = [
    [mac, addresses.pi, 5252],
    [mac, addresses.droplet, 5252],
    [mac, addresses.pi, 22],
    [pi, addresses.droplet, 22],
    ...[9090, 3100, 8420].flatMap((port): [LabHost, string, number][] => [
      [pi, addresses.mac, port],
      [droplet, addresses.mac, port],
    ]),
  ];
  for (const [from, address, port] of open) {
    await eventually(async () =>
      assert.ok(await reaches(from, address, port, 10), `${from.name} does not reach ${address}:${port}`),
    );
  }
  await eventually(async () => {
    const shut = await Promise.all([
      reaches(droplet, addresses.pi, 5252),
      reaches(pi, addresses.droplet, 5252),
      reaches(droplet, addresses.pi, 9100),
      reaches(pi, addresses.mac, 5252),
      reaches(pi, addresses.mac, 3000),
    ]);
    assert.deepEqual(shut, [false, false, false, false, false], 'a remote reaches what only the mac may');
  }, 30_000);
}

/** Somebody opens everything, through the API and with its blessing. */
export async function openEverything(served: TailscaleApi, origin: string): Promise<void> {
  const url = `${origin}/api/v2/tailnet/-/acl`;
  const headers = { authorization: `Bearer ${served.apiKey('policy_file')}` };
  const there = await fetch(url, { headers });
  const edited = (await there.text())
    .replace(
      /"acls": \[\n/,
      (acls) => `${acls}\t\t// just for today
\t\t{"action": "accept", "src": ["*"], "dst": ["*:*"]},\n`,
    )
    .replaceAll('"deny"', '"accept"');
  const answer = await fetch(url, {
    method: 'POST',
    headers: { ...headers, 'if-match': there.headers.get('etag')! },
    body: edited,
  });
  assert.equal(answer.status, 200, await answer.text());
}

/** Row 8, the whole way: from a commit to the hosts' packet filters, and back there after an edit. */
export async function keepsPolicy(
  hosts: Parts<LabHost>,
  addresses: Parts<string>,
  fleet: Fleet,
  { served, origin }: { readonly served: TailscaleApi; readonly origin: string },
  tell: (what: string, ms: number) => void,
): Promise<void> {
  const { mac, droplet, pi } = hosts;
  await listenOn(mac, addresses.mac, [22, 3000, 3100, 9090]);
  await listenOn(droplet, addresses.droplet, [22, 9100]);
  await listenOn(pi, addresses.pi, [22, 9100]);
  const { id, secret } = served.addClient('policy_file');
  const committed = performance.now();
  await fleet.putPolicy(origin, { id, secret });
  await grantDocument(mac, 'TailnetPolicy/tailnet');
  await eventually(() => assert.match(served.text, /Prometheus scrapes node-exporter/), 60_000);
  tell('the tailnet’s policy is as in git', performance.now() - committed);
  await assertPolicyHolds(hosts, addresses);
  const ours = served.text;
  const edited = performance.now();
  await openEverything(served, origin);
  await eventually(() => assert.equal(served.text, ours), 60_000);
  tell(
    'the tailnet’s policy is opened through the API, and put back (asked every 10 s)',
    performance.now() - edited,
  );
  await assertPolicyHolds(hosts, addresses);
  for (const host of [mac, droplet, pi]) await host.exec(['systemctl', 'stop', 'lab-ports'], { check: true });
}
