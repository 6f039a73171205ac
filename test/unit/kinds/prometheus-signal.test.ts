// A Prometheus without its lifecycle API: it is sent SIGHUP, which has no answer. The loop's gate asks what came of it.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Waiting } from '../../../api/errors.ts';
import { prometheusConfig as kind } from '../../../kinds/prometheus-config/index.ts';
import { FakeClock } from '../../support/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { evidenceOf, PrometheusHost } from '../../support/prometheus-passes.ts';

const JOB = "- job_name: ours\n  static_configs: [{targets: ['b:2']}]\n";
const never = new AbortController().signal;

async function begin(t: TestContext, content = JOB) {
  // What a test writes lies before it, as it does on a host.
  const clock = new FakeClock(Date.now() + 5_000);
  const sent: string[] = [];
  const mounts: object[] = [];
  const docker = {
    request: async (method: string, path: string) => {
      if (method === 'GET') {
        const body = JSON.stringify({ Id: '0a1b', Name: '/prometheus', Mounts: mounts });
        return { status: 200, headers: {}, body };
      }
      sent.push(`${method} ${path}`);
      return { status: 204, headers: {}, body: '' };
    },
  };
  const host = await PrometheusHost.open(t, { ports: { docker, clock } });
  host.served.hasLifecycle = false;
  host.served.now = () => clock.now();
  const d = host.desire('p', { container: 'prometheus', scrapeConfigs: { content } });
  return { clock, host, sent, mounts, d };
}

const HUP = 'POST /containers/0a1b/kill';
const trial = (before: unknown, elapsedMs: number) => ({ before: before as object, elapsedMs });

test('a reload by signal is not waited for: until it is done it is Unknown, and asked again soon', {
  timeout: 20_000,
}, async (t) => {
  const { host, d, sent } = await begin(t);
  const { before } = await host.pass(d);
  assert.deepEqual(sent, [HUP]);
  const verdict = await host.assess(d, trial(before, 10));
  assert.match(evidenceOf(verdict), /^Unknown Reloading: it was sent SIGHUP/);
  assert.ok('againMs' in verdict && verdict.againMs! <= 250);
  host.served.reload();
  assert.equal((await host.assess(d, trial(before, 200))).verdict, 'Yes');
  assert.deepEqual(sent, [HUP]);
});

test('a container that has the config as a single file would not see a new one: nothing is written', {
  timeout: 20_000,
}, async (t) => {
  const { host, d, sent, mounts } = await begin(t);
  mounts.push({ Type: 'bind', Source: host.file, Destination: '/etc/prometheus/prometheus.yml' });
  await assert.rejects(host.pass(d), (e) => {
    assert.ok(e instanceof Waiting && e.reason === 'NeedsInPlace', String(e));
    assert.match(e.message, /single file, at \/etc\/prometheus\/prometheus\.yml, .*set inPlace: true here/);
    return true;
  });
  assert.equal(host.text, '# theirs\n');
  await host.pass({ ...d, spec: { ...d.spec, inPlace: true } });
  assert.deepEqual(sent, [HUP]);
});

test('a config that it could not load is a No at once, and no reason to signal again', {
  timeout: 20_000,
}, async (t) => {
  const { host, d, sent } = await begin(t, JOB.replace('ours', 'refused'));
  const { before } = await host.pass(d);
  host.served.reload();
  assert.match(evidenceOf(await host.assess(d, trial(before, 10))), /^No ReloadRefused: .*its log says why/);
  assert.deepEqual(await host.changes(d), []);
  assert.deepEqual(sent, [HUP]);
});

test('one that does nothing is a No when its time is over, and is signalled again later', {
  timeout: 20_000,
}, async (t) => {
  const { host, d, sent, clock } = await begin(t);
  const { before } = await host.pass(d);
  await clock.advance(14_900);
  assert.match(evidenceOf(await host.assess(d, trial(before, 14_900))), /^Unknown Reloading/);
  await clock.advance(200);
  assert.match(evidenceOf(await host.assess(d, trial(before, 15_100))), /^No NotReloaded: .*for 15 s/);
  assert.deepEqual(await host.changes(d), []);
  await clock.advance(45_000);
  assert.deepEqual(
    (await host.changes(d)).map(({ what }) => what),
    ['loaded'],
  );
  await host.pass({ ...d, heal: true });
  assert.deepEqual(sent, [HUP, HUP]);
});

test('of one whose last reload had failed, nothing is said before its time is over', {
  timeout: 20_000,
}, async (t) => {
  const { host, d, clock } = await begin(t);
  host.put('refused: theirs\n');
  host.served.reload();
  host.put('# theirs\n');
  const { before } = await host.pass(d);
  assert.match(evidenceOf(await host.assess(d, trial(before, 10))), /^Unknown Reloading/);
  await clock.advance(15_000);
  assert.match(evidenceOf(await host.assess(d, trial(before, 15_000))), /^No ReloadRefused/);
});

test('one that stops meanwhile is judged as one that stopped', { timeout: 20_000 }, async (t) => {
  const { host, d } = await begin(t);
  const { before } = await host.pass(d);
  await host.served.close();
  assert.match(evidenceOf(await host.assess(d, trial(before, 10))), /PrometheusStopped/);
});

test('an undo, which no gate follows, goes on until it is known what came of it', {
  timeout: 20_000,
}, async (t) => {
  const { host, d, sent, clock } = await begin(t);
  const { before } = await host.pass(d);
  host.served.reload();
  await clock.advance(1_000);
  let isOver = false;
  const undone = kind
    .undo(before, { ...d, owns: kind.owns(d.spec), memory: undefined }, host.ports, never)
    .then(() => {
      isOver = true;
    });
  await eventually(() => assert.deepEqual(sent, [HUP, HUP]));
  await eventually(() => assert.ok(clock.pending().length > 0));
  assert.equal(isOver, false);
  host.served.reload();
  await clock.advance(100);
  await undone;
  assert.equal(host.text, '# theirs\n');
});
