// What TailscaleClient says of a tailscaled, and what becomes of preferences that a document drops: the kind alone,
// against a fake tailscaled.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Desired, InventoryRecord } from '../../../kinds/kind.ts';
import type { Ports } from '../../../kinds/ports.ts';
import { tailscaleClient } from '../../../kinds/tailscale-client/index.ts';
import { Memory } from '../../../kinds/tailscale-client/prefs.ts';
import { FakeClock } from '../../support/clock.ts';
import { desiredOf } from '../../support/desired.ts';
import { FakeTailscale } from '../../support/fake-tailscale.ts';

const never = new AbortController().signal;
type D = Desired<Record<string, unknown>>;

function setting() {
  const tailscale = new FakeTailscale();
  const clock = new FakeClock();
  const ports = { tailscale, clock, http: tailscale.http } as Partial<Ports> as Ports;
  const desired = (spec: object, more: Partial<D> = {}): D =>
    desiredOf('TailscaleClient/tailscale', tailscaleClient.spec.parse(spec), {
      digest: JSON.stringify(spec),
      ...more,
    });
  /** One change, as the loop makes it; the next desired state holds what this one owns. */
  const bring = async (d: D) => {
    const observed = await tailscaleClient.observe(d, ports, never);
    const { before } = await tailscaleClient.prepare(d, observed, ports, never);
    const changes = tailscaleClient.diff(d, observed);
    const memory = Memory.optional().parse(await tailscaleClient.apply(changes, d, ports, never)) ?? d.memory;
    const after = { ...d, memory };
    assert.deepEqual(tailscaleClient.diff(after, await tailscaleClient.observe(after, ports, never)), []);
    return { before, memory, held: tailscaleClient.owns(d.spec) };
  };
  const assess = async (d: D, trial?: { before: unknown; elapsedMs: number }) => {
    const observed = await tailscaleClient.observe(d, ports, never);
    const verdict = tailscaleClient.assess(d, observed, trial);
    return verdict.verdict === 'Yes' ? 'Yes' : `${verdict.verdict} ${verdict.reason}: ${verdict.evidence}`;
  };
  const undo = (before: unknown, owns: readonly string[], memory: unknown) => {
    const record: InventoryRecord = { ...desired({}), owns, memory };
    return tailscaleClient.undo(before, record, ports, never);
  };
  return { tailscale, clock, desired, bring, assess, undo };
}

test('a dead web client is not Yes at once, and No after a grace, also when nothing is on trial', async () => {
  const { tailscale, clock, desired, bring, assess } = setting();
  const d = desired({ webclient: true });
  await bring(d);
  assert.equal(await assess(d), 'Yes');
  tailscale.metrics = 'refused';
  assert.match(await assess(d), /^Unknown MetricsDoNotAnswer: .*100\.64\.0\.8:5252.*ECONNREFUSED/);
  await clock.advance(9_999);
  assert.match(await assess(d), /^Unknown/);
  await clock.advance(1);
  assert.match(await assess(d), /^No MetricsDoNotAnswer/);
  tailscale.metrics = 'well';
  assert.equal(await assess(d), 'Yes');
  tailscale.metrics = 'error';
  assert.match(await assess(d), /^Unknown MetricsDoNotAnswer: .* answers 502/, 'another streak');
});

test('a change is refused when the web client has not answered within the grace', async () => {
  const { tailscale, desired, bring, assess } = setting();
  tailscale.metrics = 'other';
  const d = desired({ webclient: true });
  const { before } = await bring(d);
  assert.match(await assess(d, { before, elapsedMs: 9_999 }), /^Unknown/);
  assert.match(
    await assess(d, { before, elapsedMs: 10_000 }),
    /^No MetricsDoNotAnswer: .*without any tailscaled_ metric/,
  );
});

test('/metrics is asked once a look, and only when the preferences are right', async () => {
  const { tailscale, desired, bring, assess } = setting();
  const d = desired({ webclient: true });
  await assess(d);
  assert.equal(tailscale.asked, 0);
  await bring(d);
  tailscale.asked = 0;
  await assess(d);
  assert.equal(tailscale.asked, 1);
  await assess(desired({ webclient: true, metrics: { check: false } }));
  await assess(desired({ prefs: { hostname: '' } }));
  assert.equal(tailscale.asked, 1);
});

test('a node that is off its tailnet is not Yes where a web client is asked for', async () => {
  const { tailscale, desired, bring, assess } = setting();
  const d = desired({ webclient: true, metrics: { check: false } });
  await bring(d);
  assert.equal(await assess(d), 'Yes');
  tailscale.become({ ...tailscale.node, backendState: 'Stopped', health: ['Tailscale is stopped.'] });
  assert.equal(await assess(d), 'Unknown NotRunning: tailscaled is Stopped; Tailscale is stopped.');
  tailscale.become({ ...tailscale.node, backendState: 'NeedsLogin', health: [] });
  assert.equal(await assess(d), 'Unknown NeedsLogin: tailscaled is NeedsLogin');
  assert.equal(await assess(desired({ webclient: false })), 'Yes', 'nothing is to answer');
});

test('a preference that a document drops is as it was before homeostat', async () => {
  const { tailscale, desired, bring } = setting();
  tailscale.change({ Hostname: 'theirs' });
  const one = await bring(desired({ webclient: true, prefs: { hostname: 'ours' } }));
  const two = await bring(desired({ webclient: true, prefs: { hostname: 'ours-2' } }, one));
  assert.equal(tailscale.current['Hostname'], 'ours-2');
  const three = await bring(desired({ webclient: true }, two));
  assert.deepEqual(tailscale.current, { RunWebClient: true, Hostname: 'theirs', PostureChecking: false });
  // From now on it is theirs.
  tailscale.change({ Hostname: 'theirs-2' });
  await bring(desired({ webclient: false }, three));
  assert.equal(tailscale.current['Hostname'], 'theirs-2');
});

test('a preference that was dropped in vain is dropped by the next document', async () => {
  const { tailscale, desired, bring, undo } = setting();
  const one = await bring(desired({ webclient: false, prefs: { hostname: 'ours' } }));
  const failed = await bring(desired({ webclient: true }, one));
  assert.equal(tailscale.current['Hostname'], '');
  await undo(failed.before, [...one.held, ...failed.held], failed.memory);
  assert.deepEqual(tailscale.current, { RunWebClient: false, Hostname: 'ours', PostureChecking: false });
  await bring(desired({ webclient: false }, { held: one.held, memory: failed.memory }));
  assert.equal(tailscale.current['Hostname'], '');
});

test('a removal puts back the preferences that a later document added, too', async () => {
  const { tailscale, desired, bring, undo } = setting();
  tailscale.change({ Hostname: 'theirs' });
  const one = await bring(desired({ webclient: true }));
  const two = await bring(desired({ webclient: true, prefs: { hostname: 'ours' } }, one));
  await undo(one.before, two.held, two.memory);
  assert.deepEqual(tailscale.current, { RunWebClient: false, Hostname: 'theirs', PostureChecking: false });
});

test('what nobody remembers stays: a document of release 0.1 that drops a preference', async () => {
  const { tailscale, desired, bring } = setting();
  tailscale.change({ Hostname: 'ours', RunWebClient: true });
  const held = ['tailscale:prefs/RunWebClient', 'tailscale:prefs/Hostname'];
  await bring(desired({ webclient: false }, { held }));
  assert.deepEqual(tailscale.current, { RunWebClient: false, Hostname: 'ours', PostureChecking: false });
});
