// The ACL of manifests/ on a tailnet of three hosts with real tailscaled. Tailscale's API is the stand-in; what its
// policy lets through is enforced by the hosts' own packet filters.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { Payload } from '../../api/bundle.ts';
import { compileDirectory } from '../../cli/manifests.ts';
import { bootHost, type LabHost } from '../lab/host.ts';
import { cleanup, createWorkDirectory } from '../lab/lifetime.ts';
import { createNetwork } from '../lab/network.ts';
import { labPrerequisites } from '../lab/prerequisites.ts';
import { localApi, startTailnet, waitForPeers } from '../lab/tailnet.ts';
import {
  assertPolicyHolds,
  listenOn,
  openEverything,
  type Parts,
  reaches,
  startPolicyApi,
} from '../lab/tailnet-policy.ts';
import { type Capability, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import type { TailscaleApi } from '../support/tailscale-api/server.ts';
import { resource, Timeline } from '../support/timeline.ts';

const TAILNET: Capability = {
  name: 'hosts on a tailnet',
  missing: () => labPrerequisites().join('; ') || undefined,
  remedy: 'sudo scripts/system-packages.sh, then sudo npm test',
};
const KEY = 'TailnetPolicy/tailnet';
const manifests = path.join(path.dirname(path.dirname(import.meta.dirname)), 'manifests');

let hosts: Parts<LabHost>;
let addresses: Parts<string>;
let served: TailscaleApi;
let origin: string;

before(async () => {
  if (TAILNET.missing() !== undefined) return;
  const network = await createNetwork();
  const workDir = createWorkDirectory();
  const boot = (name: string, n: number) =>
    bootHost({ name, address: network.address(n), bridge: network, workDir });
  const [mac, droplet, pi] = await Promise.all([
    boot('mac-mini', 2),
    boot('digitalocean', 3),
    boot('raspberry-pi', 4),
  ]);
  hosts = { mac, droplet, pi };
  const tailnet = await startTailnet(network, workDir);
  const join = async (host: LabHost): Promise<string> => (await tailnet.join(host)).address;
  addresses = { mac: await join(mac), droplet: await join(droplet), pi: await join(pi) };
  const names = [mac, droplet, pi].map(({ name }) => name);
  for (const host of [mac, droplet, pi]) {
    await waitForPeers(
      host,
      names.filter((name) => name !== host.name),
    );
    const body = { RunWebClient: true, RunWebClientSet: true };
    await localApi(host, '/localapi/v0/prefs', { method: 'PATCH', body });
    const address = host === mac ? addresses.mac : host === droplet ? addresses.droplet : addresses.pi;
    await listenOn(host, address, host === mac ? [22, 3000, 3100, 8420, 9090] : [22, 9100]);
  }
  ({ served, origin } = await startPolicyApi(network, tailnet));
});
after(() => cleanup());

/** What the controller makes of manifests/tailnet for mac-mini, with the addresses of these hosts. */
async function policySpec(t: TestContext): Promise<{ content: string }> {
  const directory = temporaryDirectory(t);
  for (const part of ['fleet.yaml', 'hosts', 'tailnet']) {
    fs.cpSync(path.join(manifests, part), path.join(directory, part), { recursive: true });
  }
  const fleet = path.join(directory, 'fleet.yaml');
  const text = fs
    .readFileSync(fleet, 'utf8')
    .replace(/central: .*/, `central: ${addresses.mac}`)
    .replace(/digitalocean: .*/, `digitalocean: ${addresses.droplet}`)
    .replace(/raspberry-pi: .*/, `raspberry-pi: ${addresses.pi}`);
  fs.writeFileSync(fleet, text);
  const { revision } = await compileDirectory(directory);
  assert.ok(revision, 'the manifests are valid');
  const payload = Payload.parse(JSON.parse(revision.hosts.get('mac-mini')!.payloadText));
  return payload.resources.find(({ kind }) => kind === 'TailnetPolicy')!.spec as { content: string };
}

test('the ACL of the manifests is applied, enforced, and put back or reported', {
  timeout: 240_000,
}, async (t) => {
  if (!require(t, TAILNET)) return;
  const { mac, droplet } = hosts;
  for (const port of [22, 5252, 9100])
    assert.ok(await reaches(droplet, addresses.pi, port, 10), `before: ${port}`);

  const { id, secret } = served.addClient('policy_file');
  const http = createHttp();
  // A minute of polling takes 60 ms.
  const clock = { ...systemClock, sleep: (ms: number, s?: AbortSignal) => systemClock.sleep(ms / 1000, s) };
  const timeline = new Timeline(t, { ports: { http, clock }, env: { ID: id, SECRET: secret } }).start();
  timeline.afterStop.push(() => void http.close());
  const oauth = { clientID: { secretFrom: { env: 'ID' } }, clientSecret: { secretFrom: { env: 'SECRET' } } };
  const spec = { ...(await policySpec(t)), api: origin, oauth, importedFrom: 'ts-default' };
  timeline.assign(resource('TailnetPolicy', 'tailnet', spec));
  await timeline.expect(KEY, 'True');
  await assertPolicyHolds(hosts, addresses);

  const ours = served.text;
  await openEverything(served, origin);
  await eventually(() => assert.equal(served.text, ours));
  await assertPolicyHolds(hosts, addresses);

  timeline.assign(resource('TailnetPolicy', 'tailnet', spec, { drift: 'warn' }));
  await eventually(() => assert.equal(timeline.agent.status().sequence.running, 2));
  await openEverything(served, origin);
  await eventually(() => assert.equal(timeline.condition(KEY, 'Ready')?.reason, 'Drifted'));
  const plan = await timeline.agent.plan();
  assert.match(plan[0]!.changes[0]!.text!.before, /\/\/ just for today/);
  await eventually(async () => assert.ok(await reaches(droplet, addresses.pi, 5252, 10), 'it was left open'));
  assert.match(served.text, /just for today/);

  // The API says no to a policy that would cut ssh off: nothing is written, and nobody is cut off.
  const cut = spec.content.replace('"*:22", ', '');
  timeline.assign(resource('TailnetPolicy', 'tailnet', { ...spec, content: cut }));
  const refused = await timeline.expect(KEY, 'False', 'Invalid');
  const message = refused.conditions.find(({ type }) => type === 'Ready')!.message;
  assert.match(message, /from mac-mini: address "digitalocean:22": want: Accept, got: Drop/);
  assert.ok(await reaches(mac, addresses.pi, 22, 10));

  // Removing the document opens nothing.
  const last = served.text;
  timeline.assign();
  await timeline.expectGone(KEY);
  assert.equal(served.text, last);
});
