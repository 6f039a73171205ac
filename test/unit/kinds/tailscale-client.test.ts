// TailscaleClient, with a real agent, beside a fake tailscaled.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { tailscaleClient } from '../../../kinds/tailscale-client/index.ts';
import { keyExpiryConcern } from '../../../kinds/tailscale-client/key-expiry.ts';
import { FakeClock } from '../../support/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeTailscale } from '../../support/fake-tailscale.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const KEY = 'TailscaleClient/tailscale';

function setting(t: TestContext) {
  const tailscale = new FakeTailscale();
  const clock = new FakeClock();
  const line = new Timeline(t, {
    kinds: new Map([[tailscaleClient.kind, tailscaleClient]]),
    ports: { tailscale, http: tailscale.http, clock },
  }).start();
  const assign = (spec: object) => void line.assign(resource('TailscaleClient', 'tailscale', spec));
  /** Lets time go by, and what follows from that end. */
  const tick = async (ms: number): Promise<void> => {
    await line.agent.idle();
    await clock.advance(ms);
    await line.agent.idle();
  };
  return { line, tailscale, assign, tick };
}

test('preferences are set, only those that differ, and the metrics are asked', async (t) => {
  const { line, tailscale, assign } = setting(t);
  tailscale.current['Hostname'] = 'pi';
  assign({ webclient: true, prefs: { hostname: 'pi' } });
  await line.expect(KEY, 'True', 'Applied');
  assert.deepEqual(tailscale.set, [{ RunWebClient: true }]);
});

test('what anybody turns off is turned on again', async (t) => {
  const { line, tailscale, assign } = setting(t);
  assign({ webclient: true });
  await line.expect(KEY, 'True');
  tailscale.change({ RunWebClient: false });
  await eventually(() => assert.equal(line.status(KEY).healedTotal, 1));
  assert.equal(tailscale.current['RunWebClient'], true);
});

test('a preference that the document does not name stays as its owner sets it', async (t) => {
  const { line, tailscale, assign } = setting(t);
  assign({ webclient: true });
  await line.expect(KEY, 'True');
  tailscale.change({ RouteAll: true, ShieldsUp: true, Hostname: 'mine' });
  line.agent.reconcile();
  await line.agent.idle();
  const { RouteAll, ShieldsUp, Hostname } = tailscale.current;
  assert.deepEqual([RouteAll, ShieldsUp, Hostname], [true, true, 'mine']);
  assert.equal(line.status(KEY).healedTotal, 0);
  await line.expect(KEY, 'True');
});

test('a web client that does not answer is undone, and reported with the evidence', async (t) => {
  const { line, tailscale, assign, tick } = setting(t);
  tailscale.metrics = 'refused';
  assign({ webclient: true });
  await line.expect(KEY, 'Unknown', 'MetricsDoNotAnswer');
  for (let waited = 0; waited <= 11_000; waited += 1000) await tick(1000);
  await line.expect(KEY, 'False', 'RolledBack');
  assert.match(line.condition(KEY, 'Ready')!.message, /MetricsDoNotAnswer.*100\.64\.0\.8:5252.*ECONNREFUSED/);
  assert.equal(tailscale.current['RunWebClient'], false);
  assign({ webclient: true, metrics: { check: false } });
  await line.expect(KEY, 'True');
});

test('a web client that dies is reported while nothing is on trial, and is Ready again once it answers', async (t) => {
  const { line, tailscale, assign, tick } = setting(t);
  assign({ webclient: true });
  await line.expect(KEY, 'True');
  tailscale.metrics = 'error';
  tailscale.change({});
  await line.expect(KEY, 'Unknown', 'MetricsDoNotAnswer');
  for (let waited = 0; waited <= 11_000; waited += 1000) await tick(1000);
  await line.expect(KEY, 'False', 'MetricsDoNotAnswer');
  assert.equal(line.status(KEY).healedTotal, 0);
  tailscale.metrics = 'well';
  await tick(60_000);
  await line.expect(KEY, 'True');
});

test('a host that is not logged in waits, and nothing is set', async (t) => {
  const { line, tailscale, assign } = setting(t);
  tailscale.node = { ...tailscale.node, backendState: 'NeedsLogin', addresses: [] };
  assign({ webclient: true });
  await line.expect(KEY, 'False', 'NeedsLogin');
  assert.deepEqual(tailscale.set, []);
  assert.equal(line.condition(KEY, 'TailnetConnected')?.status, 'False');
  tailscale.node = { ...tailscale.node, backendState: 'Running', addresses: ['100.64.0.8'] };
  tailscale.change({});
  await line.expect(KEY, 'True');
});

test('what left the manifest gets its old preferences back', async (t) => {
  const { line, tailscale, assign } = setting(t);
  tailscale.current['Hostname'] = 'mine';
  assign({ webclient: true, prefs: { hostname: 'ours' } });
  await line.expect(KEY, 'True');
  line.assign();
  await line.expectGone(KEY);
  assert.deepEqual(tailscale.current, { RunWebClient: false, Hostname: 'mine', PostureChecking: false });
});

test('the expiry of a key is seen coming', () => {
  const now = Date.parse('2026-11-01T00:00:00Z');
  const cases: [string, 'True' | 'False' | 'Unknown', string][] = [
    ['', 'False', 'NeverExpires'],
    ['2027-02-01T00:00:00Z', 'False', 'Valid'],
    ['2026-11-15T00:00:01Z', 'False', 'Valid'],
    ['2026-11-14T23:00:00Z', 'True', 'ExpiresSoon'],
    ['2026-11-01T00:00:00Z', 'True', 'Expired'],
    ['soon', 'Unknown', 'Unreadable'],
  ];
  for (const [expiry, status, reason] of cases) {
    const concern = keyExpiryConcern(expiry, now, 14);
    assert.deepEqual([concern.status, concern.reason], [status, reason], expiry);
  }
});

test('claims and asks name the preferences', () => {
  const spec = tailscaleClient.spec.parse({ webclient: true, prefs: { hostname: '' } });
  assert.deepEqual(tailscaleClient.owns(spec), ['tailscale:prefs/RunWebClient', 'tailscale:prefs/Hostname']);
  assert.deepEqual(
    tailscaleClient.permissions(spec).map(({ type, value }) => `${type} ${value}`),
    ['tailscale RunWebClient', 'tailscale Hostname'],
  );
  assert.equal(tailscaleClient.check?.(tailscaleClient.spec.parse({})).length, 1);
  assert.equal(tailscaleClient.spec.safeParse({ prefs: { ssh: true } }).success, false);
});
