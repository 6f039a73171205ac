// Check, with a real agent and a clock that stands still: when a promise counts as failed, what is said of it, and
// what it holds up.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { sockets } from '../../../agent/providers/sockets.ts';
import { check } from '../../../kinds/check/index.ts';
import { judgeAnswer } from '../../../kinds/check/samples.ts';
import { milliseconds } from '../../../kinds/fields.ts';
import type { Http, HttpResponse } from '../../../kinds/ports.ts';
import { freePort } from '../../support/alloy/harness.ts';
import { FakeClock } from '../../support/clock.ts';
import { Devices } from '../../support/device.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const KEY = 'Check/c';
const URL_ = 'http://198.18.0.8:5252/metrics';

function setting(
  t: TestContext,
  options: { mode?: 'observe' | 'enforce'; env?: Record<string, string> } = {},
) {
  const clock = new FakeClock();
  const devices = new Devices();
  const asked: { url: string; method: string; headers: Readonly<Record<string, string>> }[] = [];
  const world = { answer: { status: 200, headers: {}, body: 'fine' } as HttpResponse | Error };
  const http: Http = {
    async request(url, { method, headers }) {
      asked.push({ url, method: method ?? 'GET', headers: headers ?? {} });
      if (world.answer instanceof Error) throw world.answer;
      return world.answer;
    },
  };
  const kinds = new Map([[check.kind, check], ...devices.kinds]);
  const line = new Timeline(t, { kinds, ports: { clock, http, sockets }, ...options }).start();
  const answers = (status: number, body = ''): void => {
    world.answer = { status, headers: {}, body };
  };
  /** Lets time go by, and what follows from that end. */
  const tick = async (ms: number): Promise<void> => {
    await line.agent.idle();
    await clock.advance(ms);
    await line.agent.idle();
  };
  const checking = (spec: object, more: Parameters<typeof resource>[3] = {}) =>
    resource('Check', 'c', spec, more);
  return { line, clock, tick, asked, world, answers, checking, devices };
}

const message = (line: Timeline) => line.condition(KEY, 'Ready')!.message;

test('it is asked at its interval, and fails only after `for`; then it says what was answered', async (t) => {
  const { line, tick, asked, answers, checking } = setting(t);
  line.assign(checking({ http: { url: URL_ }, interval: '30s', for: '1m' }));
  await line.expect(KEY, 'True');
  answers(503, 'try again later');
  await line.agent.idle();
  const before = asked.length;
  await tick(30_000);
  assert.equal(asked.length, before + 1);
  assert.equal(line.condition(KEY, 'Ready')?.status, 'True', 'not failed for long enough');
  assert.match(line.condition(KEY, 'Failing')!.message, /answers 503.*counts as failed after 1m/);
  await tick(30_000);
  assert.equal(line.condition(KEY, 'Ready')?.status, 'True');
  await tick(30_000);
  await line.expect(KEY, 'False', 'CheckFailed');
  assert.equal(message(line), `${URL_} answers 503, and 2xx is wanted`);
  assert.equal(line.condition(KEY, 'Failing'), undefined);
  answers(200);
  await tick(30_000);
  await line.expect(KEY, 'True');
});

test('a failure that ends in time begins anew the next time', async (t) => {
  const { line, tick, answers, checking } = setting(t);
  line.assign(checking({ http: { url: URL_ }, interval: '30s', for: '1m' }));
  await line.expect(KEY, 'True');
  for (const status of [500, 500, 200, 500, 500]) {
    answers(status);
    await tick(30_000);
  }
  assert.equal(line.condition(KEY, 'Ready')?.status, 'True');
});

test('one that never held is unknown until `for` is over; after a restart the time begins anew', async (t) => {
  const { line, clock, tick, answers, checking } = setting(t);
  answers(500);
  line.assign(checking({ http: { url: URL_ }, interval: '30s', for: '1m' }));
  await line.expect(KEY, 'Unknown', 'Pending');
  await tick(60_000);
  await line.expect(KEY, 'False', 'CheckFailed');
  await line.stop();

  const again = new Timeline(t, {
    kinds: new Map([[check.kind, check]]),
    ports: { clock, sockets, http: { request: async () => ({ status: 500, headers: {}, body: '' }) } },
    directory: line.directory,
  }).start();
  again.assign(checking({ http: { url: URL_ }, interval: '30s', for: '1m' }));
  await again.expect(KEY, 'Unknown', 'Pending');
});

test('what depends on it waits until it holds; a failing check keeps no heal waiting, and is no drift', async (t) => {
  const { line, tick, answers, checking, devices } = setting(t);
  answers(500);
  const spec = { http: { url: URL_ }, interval: '30s' };
  const device = resource('Device', 'd', { value: 'one' }, { dependsOn: [{ ref: KEY, until: 'Ready' }] });
  line.assign(checking(spec), device);
  await line.expect('Device/d', 'False', 'Dependency');
  assert.match(line.condition('Device/d', 'Ready')!.message, /CheckFailed.*answers 500/);
  answers(200);
  await tick(30_000);
  await line.expect('Device/d', 'True');
  answers(500);
  await tick(30_000);
  await line.expect(KEY, 'False', 'CheckFailed');
  devices.tamper('Device/d', 'other');
  await eventually(() => assert.equal(devices.values.get('Device/d'), 'one'));
  const metrics = await line.agent.exposition();
  assert.match(metrics, /homeostat_drift_detected_total\{kind="Check",by="watch"\} 0/);
  assert.match(metrics, /homeostat_resource_ready\{kind="Check",name="c"\} 0/);
  assert.match(metrics, /homeostat_resource_ready\{kind="Device",name="d"\} 1/);
  line.assign(device);
  await line.expectGone(KEY);
});

test('its own dependencies come first, and only then it is asked', async (t) => {
  const { line, asked, answers, checking, devices } = setting(t);
  answers(500);
  devices.gate = () => ({ verdict: 'Unknown', reason: 'Off', evidence: '' });
  line.assign(
    checking({ http: { url: URL_ } }, { dependsOn: [{ ref: 'Device/d', until: 'Ready' }] }),
    resource('Device', 'd', { value: 'one' }),
  );
  await line.expect(KEY, 'False', 'Dependency');
  assert.deepEqual(asked, []);
  devices.gate = () => ({ verdict: 'Yes' });
  line.agent.reconcile('Device/d');
  await line.expect(KEY, 'False', 'CheckFailed');
});

test('on a host that only observes, and with drift: warn, it is asked and reported all the same', async (t) => {
  for (const [mode, drift] of [
    ['observe', 'enforce'],
    ['enforce', 'warn'],
  ] as const) {
    const { line, tick, answers, checking } = setting(t, { mode });
    answers(500);
    line.assign(checking({ http: { url: URL_ }, interval: '30s' }, { drift }));
    await line.expect(KEY, 'False', 'CheckFailed');
    answers(200);
    await tick(30_000);
    await line.expect(KEY, 'True', 'InSync');
  }
});

test('an HTTP answer is held against status, text and pattern; the message says what is wrong', async (t) => {
  const { line, world, answers, checking } = setting(t);
  const says = async (http: object, wanted: RegExp | undefined) => {
    line.assign(checking({ http: { url: URL_, ...http }, interval: '30s' }));
    await eventually(() => {
      assert.equal(line.status(KEY).desiredDigest === line.status(KEY).runningDigest, wanted === undefined);
      if (wanted !== undefined) assert.match(message(line), wanted);
    });
  };
  answers(302, 'elsewhere');
  await says({ status: [301, 302] }, undefined);
  await says({ status: 200 }, /answers 302, and 200 is wanted$/);
  await says({ status: 200, quote: true }, /answers 302, and 200 is wanted: elsewhere$/);
  answers(200, 'first\ntailscaled_x 1\n');
  await says({ contains: 'tailscaled_' }, undefined);
  await says({ matches: '^tailscaled_\\w+ 1$' }, undefined);
  await says({ contains: 'node_' }, /without "node_" in it$/);
  await says({ contains: 'node_', quote: true }, /without "node_" in it: first tailscaled_x 1$/);
  await says({ matches: '^x$' }, /nothing in it fits \/\^x\$\/$/);
  await says({ matches: '(?=x)' }, /no regular expression: error parsing regexp/);
  const refused = { code: 'ECONNREFUSED', syscall: 'connect', address: '198.18.0.8', port: 5252 };
  world.answer = Object.assign(new Error('connect ECONNREFUSED 198.18.0.8:5252'), refused);
  await says({ method: 'HEAD' }, /5252\/metrics does not answer: 198\.18\.0\.8:5252: nothing listens there/);
});

test('a secret is sent, and neither it nor what answers to it is shown', async (t) => {
  const { line, asked, answers, checking } = setting(t, {
    env: { TOKEN: 'open-sesame', KEY: 'key-of-mine' },
  });
  answers(403, 'open-sesame and key-of-mine are refused');
  const secrets = {
    bearerToken: { secretFrom: { env: 'TOKEN' } },
    headers: { 'X-Key': { secretFrom: { env: 'KEY' } }, 'X-Org': 'home' },
  };
  line.assign(checking({ http: { url: URL_, ...secrets } }));
  await line.expect(KEY, 'False', 'CheckFailed');
  assert.deepEqual(asked[0]!.headers, {
    authorization: 'Bearer open-sesame',
    'X-Key': 'key-of-mine',
    'X-Org': 'home',
  });
  assert.equal(message(line), `${URL_} answers 403, and 2xx is wanted`);
  line.assign(checking({ promql: { url: 'http://198.18.0.4:9090', query: 'up', ...secrets } }));
  await eventually(() => assert.equal(message(line), 'http://198.18.0.4:9090/api/v1/query answers 403'));
  // What a 200 has in it is not shown either, where it is no samples.
  answers(200, 'open-sesame is welcome');
  line.agent.reconcile(KEY);
  await eventually(() => assert.equal(message(line), 'the answer is no JSON'));
  line.assign(checking({ http: { url: URL_, bearerToken: { secretFrom: { env: 'NOPE' } } } }));
  await line.expect(KEY, 'False', 'SecretMissing');
});

test('an expression that would take hours takes no time, however long the answer is', async (t) => {
  const { line, answers, checking } = setting(t);
  answers(200, 'a'.repeat(8 * 1024 * 1024));
  for (const matches of ['^(a+)+b$', '(?i)(?:.{0,200}a){3}.{200}z']) {
    line.assign(checking({ http: { url: URL_, matches } }));
    await eventually(() =>
      assert.equal(message(line), `${URL_} answers 200, and nothing in it fits /${matches}/`),
    );
  }
  line.assign(checking({ http: { url: URL_, matches: '((a{30}){30}){30}' } }));
  await line.expect(KEY, 'False', 'Invalid');
});

test('what a refused query’s answer is quoted of is the API’s own message, and of any other answer nothing', async (t) => {
  const { line, answers, checking } = setting(t);
  answers(400, JSON.stringify({ status: 'error', errorType: 'bad_data', error: 'parse error' }));
  line.assign(checking({ promql: { url: 'http://198.18.0.4:9090', query: 'up{' } }));
  await eventually(() => assert.match(message(line), /answers 400: bad_data: parse error$/));
  answers(400, '<html>the router’s password is admin</html>');
  line.agent.reconcile(KEY);
  await eventually(() => assert.match(message(line), /answers 400$/));
});

test('every address that is asked, or connected to, needs a grant of its origin, in one spelling', () => {
  const permissions = (spec: object) =>
    check.permissions(check.spec.parse(spec)).map(({ type, value }) => `${type} ${value}`);
  assert.deepEqual(permissions({ http: { url: URL_ } }), ['url http://198.18.0.8:5252']);
  assert.deepEqual(permissions({ http: { url: 'HTTP://0x7f.1:80/x' } }), ['url http://127.0.0.1']);
  assert.deepEqual(permissions({ http: { url: 'http://granted@169.254.169.254/' } }), [
    'url http://169.254.169.254',
  ]);
  assert.deepEqual(permissions({ tcp: { address: '198.18.0.8:22' } }), ['url tcp://198.18.0.8:22']);
  assert.deepEqual(permissions({ tcp: { address: '127.1:080' } }), ['url tcp://127.0.0.1:80']);
  assert.deepEqual(permissions({ tcp: { address: '[0:0::1]:9090' } }), ['url tcp://[::1]:9090']);
  assert.deepEqual(permissions({ tcp: { address: 'h:99999' } }), ['url tcp://h:99999:80']);
  assert.deepEqual(permissions({ http: { url: URL_, method: 'POST' } }), ['url http://198.18.0.8:5252']);
  const bearerToken = { secretFrom: { file: '/token' } };
  assert.deepEqual(permissions({ logql: { url: 'https://loki/x', query: 'q', bearerToken } }), [
    'url https://loki',
  ]);
});

test('however many checks hang, they are three of the agent’s passes at most, and heals go on', () => {
  const lanes = new Set<string>();
  for (let i = 0; i < 200; i++) {
    for (const lock of check.locks!(check.spec.parse({ http: { url: `${URL_}/${i}` } }))) lanes.add(lock);
  }
  assert.deepEqual([...lanes].sort(), ['check/0', 'check/1', 'check/2']);
});

const vector = (...values: string[]) =>
  JSON.stringify({
    status: 'success',
    data: {
      resultType: 'vector',
      result: values.map((v, i) => ({ metric: { __name__: 'up', host: `h${i}` }, value: [1, v] })),
    },
  });

for (const [name, body, expect, wanted] of [
  ['something', vector('0'), undefined, undefined],
  ['nothing', vector(), undefined, 'up returns nothing'],
  ['nothing, as is wanted', vector(), { empty: true }, undefined],
  [
    'something where nothing is wanted',
    vector('1'),
    { empty: true },
    'up is to return nothing, and returns up{host="h0"} is 1',
  ],
  ['every one is enough', vector('1', '2'), { atLeast: 1 }, undefined],
  ['one is too little', vector('1', '0'), { atLeast: 1 }, 'up{host="h1"} is 0; each is to be at least 1'],
  ['the only one is too little', vector('0'), { atLeast: 1 }, 'up{host="h0"} is 0, and is to be at least 1'],
  [
    'many are too much',
    vector('5', '6', '7', '8', '9'),
    { atMost: 4 },
    'up{host="h0"} is 5, up{host="h1"} is 6, up{host="h2"} is 7 and 2 more; each is to be at most 4',
  ],
  ['any will do', vector('0', '1'), { equals: 1, of: 'any' }, undefined],
  [
    'not any does',
    vector('0', '2'),
    { equals: 1, of: 'any' },
    'up{host="h0"} is 0, up{host="h1"} is 2; one is to be 1',
  ],
  ['nothing does not meet a threshold', vector(), { atMost: 4 }, 'up returns nothing'],
  ['NaN fits nothing', vector('NaN'), { atMost: 4 }, 'up{host="h0"} is NaN, and is to be at most 4'],
  [
    'infinity is large',
    vector('+Inf', '-Inf'),
    { atMost: 4 },
    'up{host="h0"} is Infinity; each is to be at most 4',
  ],
  [
    'a scalar',
    '{"data":{"resultType":"scalar","result":[1,"3"]}}',
    { atLeast: 4, atMost: 9 },
    'the value is 3, and is to be at least 4 and at most 9',
  ],
] as const) {
  test(`of a query’s answer: ${name}`, () => assert.equal(judgeAnswer('up', body, expect), wanted));
}

test('an answer that is none is reported, and not shown', () => {
  assert.match(judgeAnswer('up', '<html>login</html>')!, /no JSON$/);
  assert.match(judgeAnswer('up', '{}')!, /has no result$/);
  assert.match(
    judgeAnswer('up[5m]', '{"data":{"resultType":"matrix","result":[]}}')!,
    /returns a matrix: .*sum/,
  );
});

test('a connection is made, or the error says why not', async () => {
  const port = await freePort();
  await assert.rejects(sockets.connect(`127.0.0.1:${port}`, 5000), { code: 'ECONNREFUSED' });
  const stop = AbortSignal.abort(new Error('the agent stops'));
  await assert.rejects(sockets.connect(`127.0.0.1:${port}`, 5000, stop), /the agent stops/);
});

test('durations are those of Prometheus', () => {
  assert.deepEqual(
    ['30s', '5m', '1h30m', '1d', '250ms', '0s'].map(milliseconds),
    [30_000, 300_000, 5_400_000, 86_400_000, 250, 0],
  );
});
