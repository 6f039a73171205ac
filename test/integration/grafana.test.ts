// GrafanaDatasource and GrafanaDashboard as a timeline: a real agent, and Grafana's API in both generations played by
// the stand-in (test/support/grafana), which other tests hold to the documentation.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import type { Resource } from '../../api/bundle.ts';
import { GRAFANA, RECORDINGS, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { AnsweringServer } from '../support/grafana/answering.ts';
import { type Generation, type Role, StandInGrafana } from '../support/grafana/grafana.ts';
import { recording } from '../support/grafana/grafana-com.ts';
import { resource, Timeline } from '../support/timeline.ts';

const DASHBOARD = 'GrafanaDashboard/d';
const DATASOURCE = 'GrafanaDatasource/s';

interface Options {
  readonly generation?: Generation;
  readonly role?: Role;
  readonly config?: Record<string, unknown>;
  readonly mode?: 'observe' | 'enforce';
}

async function begin(t: TestContext, options: Options = {}) {
  const grafana = await new StandInGrafana(options.generation).start();
  const prometheus = await new AnsweringServer().start();
  const http = createHttp();
  const token = `glsa_${options.role ?? 'Admin'}`;
  grafana.tokens.set(token, options.role ?? 'Admin');
  const env: Record<string, string> = { GRAFANA_TOKEN: token };
  // A minute between two looks takes no minute here.
  const clock = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal),
  };
  const open = (directory?: string) =>
    new Timeline(t, {
      env,
      ports: { http, clock },
      ...(options.config === undefined ? {} : { config: options.config }),
      ...(options.mode === undefined ? {} : { mode: options.mode }),
      ...(directory === undefined ? {} : { directory }),
    });
  const line = open();
  t.after(async () => {
    await line.stop();
    await http.close();
    await grafana.stop();
    await prometheus.stop();
  });
  // A person's word, as the controller renders it: what was made goes with its document.
  const removed = { prune: 'delete', scope: 'fleet' } as const;
  const connection = { url: grafana.url, token: { secretFrom: { env: 'GRAFANA_TOKEN' } } };
  const common = { grafana: connection, pollSeconds: 2 };
  const dashboard = (spec: object = {}, more: Partial<Resource> = {}) =>
    resource(
      'GrafanaDashboard',
      'd',
      {
        ...common,
        uid: 'd-uid',
        folder: { title: 'Monitoring' },
        content: CONTENT,
        panels: { check: false },
        ...spec,
      },
      { ...removed, ...more },
    );
  const datasource = (spec: object = {}, more: Partial<Resource> = {}) =>
    resource(
      'GrafanaDatasource',
      's',
      {
        ...common,
        uid: 's-uid',
        name: 'Prometheus',
        type: 'prometheus',
        url: prometheus.url,
        isDefault: true,
        ...spec,
      },
      { ...removed, ...more },
    );
  const healed = (key: string, times: number) =>
    eventually(() => assert.equal(line.status(key).healedTotal, times));
  const kept = () => grafana.state.dashboards.get('d-uid');
  return { grafana, prometheus, line: line.start(), open, env, dashboard, datasource, healed, kept };
}

const CONTENT = JSON.stringify({
  title: 'Ours',
  schemaVersion: 36,
  panels: [
    { type: 'stat', title: 'Up', datasource: 'prometheus', targets: [{ refId: 'A', expr: 'up' }] },
    { type: 'text', title: 'Words' },
  ],
});

for (const generation of ['api', 'apis'] as const) {
  test(`${generation}: a dashboard is made in its folder, and every breakage is mended at the next look`, async (t) => {
    const { grafana, line, dashboard, healed, kept } = await begin(t, { generation });
    grafana.state.saveFolder('elsewhere', 'Elsewhere');
    line.assign(dashboard());
    await line.expect(DASHBOARD, 'True');
    assert.equal(kept()?.json['title'], 'Ours');
    assert.equal(kept()?.folder, 'homeostat-monitoring');
    assert.equal(grafana.state.folders.get('homeostat-monitoring')?.title, 'Monitoring');
    const wanted = grafana.state.fingerprint();
    const breakages: [string, () => Promise<unknown>][] = [
      ['deleted', () => grafana.curl('DELETE', '/api/dashboards/uid/d-uid')],
      [
        'a panel edited',
        () => grafana.edit('d-uid', (d) => Object.assign((d['panels'] as object[])[0]!, { title: 'Mine' })),
      ],
      ['renamed', () => grafana.edit('d-uid', (d) => Object.assign(d, { title: 'Mine' }))],
      ['moved', () => grafana.edit('d-uid', () => undefined, 'elsewhere')],
      ['its folder deleted', () => grafana.curl('DELETE', '/api/folders/homeostat-monitoring')],
    ];
    for (const [i, [what, breakIt]] of breakages.entries()) {
      await breakIt();
      await healed(DASHBOARD, i + 1);
      assert.equal(grafana.state.fingerprint(), wanted, what);
    }
    const used = grafana.asked.filter((asked) => asked.startsWith('POST /apis/dashboard.grafana.app/v1/'));
    assert.equal(used.length > 0, generation === 'apis', 'the newest generation that is served is used');
    // A second look finds what Grafana itself made of it, and calls it no drift.
    const { version } = kept()!;
    const looks = grafana.asked.length;
    await eventually(() => assert.ok(grafana.asked.length > looks + 10));
    assert.equal(kept()!.version, version);
    line.assign();
    await line.expectGone(DASHBOARD);
    assert.equal(kept(), undefined);
    assert.deepEqual(
      [...grafana.state.folders.keys()],
      ['elsewhere'],
      'the folder that was ours is gone too',
    );
  });

  test(`${generation}: what was there before is adopted, and put back when the document goes`, async (t) => {
    const { grafana, line, dashboard } = await begin(t, { generation });
    grafana.state.saveFolder('theirs', 'Theirs');
    grafana.state.saveDashboard('d-uid', { title: 'Theirs', panels: [{ id: 4, type: 'text' }] }, 'theirs');
    const before = grafana.state.fingerprint();
    line.assign(dashboard());
    await line.expect(DASHBOARD, 'True');
    assert.notEqual(grafana.state.fingerprint(), before);
    line.assign();
    await line.expectGone(DASHBOARD);
    assert.equal(grafana.state.fingerprint(), before);
  });

  test(`${generation}: a data source is made, mended, and the default goes back to whose it was`, async (t) => {
    const { grafana, line, datasource, healed } = await begin(t, { generation });
    const loki = { name: 'Loki', type: 'loki', access: 'proxy', url: 'http://127.0.0.1:9', isDefault: true };
    grafana.state.saveDatasource('loki', loki, true);
    const before = grafana.state.fingerprint();
    line.assign(datasource({ jsonData: { timeInterval: '30s' } }));
    await line.expect(DATASOURCE, 'True');
    const wanted = grafana.state.fingerprint();
    const at = '/api/datasources/uid/s-uid';
    const put = async (change: object) =>
      grafana.curl('PUT', at, { ...(await grafana.curl('GET', at)), ...change });
    const breakages: (() => Promise<unknown>)[] = [
      () => put({ url: 'http://127.0.0.1:10' }),
      () => grafana.curl('DELETE', at),
      () => put({ name: 'Mine' }),
      () => put({ jsonData: { timeInterval: '5s' } }),
      async () => {
        const now = await grafana.curl('GET', '/api/datasources/uid/loki');
        await grafana.curl('PUT', '/api/datasources/uid/loki', { ...now, isDefault: true });
      },
    ];
    for (const [i, breakIt] of breakages.entries()) {
      await breakIt();
      await healed(DATASOURCE, i + 1);
      assert.equal(grafana.state.fingerprint(), wanted, `breakage ${i}`);
    }
    line.assign();
    await line.expectGone(DATASOURCE);
    assert.equal(grafana.state.fingerprint(), before);
  });
}

test('in warn mode, and on a host that observes, a difference is told and nothing is touched', async (t) => {
  const { grafana, line, dashboard } = await begin(t);
  line.assign(dashboard({}, { drift: 'warn' }));
  await line.expect(DASHBOARD, 'False', 'Drifted');
  assert.match(line.condition(DASHBOARD, 'Ready')!.message, /dashboard: absent → Ours/);
  line.mode = 'observe';
  line.assign(dashboard());
  await line.expect(DASHBOARD, 'False', 'Drifted');
  assert.deepEqual(
    grafana.asked.filter((asked) => !asked.startsWith('GET')),
    [],
  );
  const [plan] = await line.agent.plan();
  assert.equal(plan?.key, DASHBOARD);
  assert.match(plan!.changes[0]!.text!.after, /"title": "Ours"/);
});

test('a Grafana that is away is waited for, and what it is told when it comes back', async (t) => {
  const { grafana, line, dashboard, datasource } = await begin(t);
  const port = Number(new URL(grafana.url).port);
  await grafana.stop();
  line.assign(datasource(), dashboard());
  await line.expect(DATASOURCE, 'False', 'GrafanaAway');
  await line.expect(DASHBOARD, 'False', 'GrafanaAway');
  assert.match(line.condition(DASHBOARD, 'Ready')!.message, /does not answer/);
  grafana.broken = { status: 503, body: { message: 'starting up' } };
  await grafana.start(port);
  await eventually(() => assert.match(line.condition(DASHBOARD, 'Ready')!.message, /503: starting up/));
  grafana.broken = undefined;
  await line.expect(DATASOURCE, 'True');
  await line.expect(DASHBOARD, 'True');
  assert.ok(grafana.state.dashboards.has('d-uid'));
});

test('a token that is refused, or may too little, is told with what to do; a better one mends it', async (t) => {
  const { grafana, line, dashboard, datasource, env } = await begin(t, { role: 'Viewer' });
  line.assign(datasource(), dashboard());
  await line.expect(DATASOURCE, 'False', 'Forbidden');
  assert.match(
    line.condition(DATASOURCE, 'Ready')!.message,
    /forbids GET \/api\/datasources.*role.*Admin for data sources/,
  );
  // A viewer may look: it is the write that is forbidden, and nothing is quarantined for it.
  await line.expect(DASHBOARD, 'False', 'Forbidden');
  grafana.tokens.set(env['GRAFANA_TOKEN']!, 'Admin');
  line.agent.reconcile();
  await line.expect(DASHBOARD, 'True');
  await line.expect(DATASOURCE, 'True');
  grafana.tokens.delete(env['GRAFANA_TOKEN']!);
  line.agent.reconcile();
  await line.expect(DASHBOARD, 'False', 'Unauthorized');
  assert.match(line.condition(DASHBOARD, 'Ready')!.message, /make a token of a service account/);
  assert.ok(!JSON.stringify(line.agent.status()).includes('glsa_'), 'no token in any status');
});

test('what is provisioned from a file is left alone, in words', async (t) => {
  for (const generation of ['api', 'apis'] as const) {
    const { grafana, line, dashboard, datasource } = await begin(t, { generation });
    grafana.state.saveDashboard('d-uid', { title: 'From a file' }, '', true);
    const source = { name: 'P', type: 'prometheus', access: 'proxy', url: 'http://127.0.0.1:9' };
    Object.assign(grafana.state.saveDatasource('s-uid', source, true), { readOnly: true });
    const before = grafana.state.fingerprint();
    line.assign(datasource(), dashboard());
    await line.expect(DASHBOARD, 'False', 'Provisioned');
    await line.expect(DATASOURCE, 'False', 'Provisioned');
    assert.match(
      line.condition(DASHBOARD, 'Ready')!.message,
      /is kept by .*(provisioning).*take it out there/,
    );
    assert.equal(grafana.state.fingerprint(), before);
  }
});

test('a dashboard that Grafana refuses is undone and quarantined; the last good one stays', async (t) => {
  const { grafana, line, dashboard, kept } = await begin(t);
  line.assign(dashboard());
  await line.expect(DASHBOARD, 'True');
  line.assign(dashboard({ content: JSON.stringify({ title: 'Ours', refused: true }) }));
  grafana.state.refuse = (json) => (json['refused'] === true ? 'it is refused' : undefined);
  await line.expect(DASHBOARD, 'False', 'RolledBack');
  assert.match(line.condition(DASHBOARD, 'Ready')!.message, /Refused: .*it is refused/);
  assert.equal((kept()!.json['panels'] as unknown[]).length, 2);
  await grafana.curl('DELETE', '/api/dashboards/uid/d-uid');
  await eventually(() => assert.equal(kept()?.json['title'], 'Ours'));
});

test('a dashboard deployed by hand is kept as it is, and comes back as it was', async (t) => {
  const { grafana, line, open, dashboard, healed, kept } = await begin(t);
  const theirs = { title: 'By hand', panels: [{ id: 9, type: 'text', title: 'Theirs' }] };
  grafana.state.saveDashboard('d-uid', theirs, '');
  const before = grafana.state.fingerprint();
  line.assign(dashboard({ adoptDeployed: true, folder: undefined }));
  await line.expect(DASHBOARD, 'True');
  assert.equal(grafana.state.fingerprint(), before);
  await grafana.edit('d-uid', (d) => Object.assign(d, { title: 'Mine' }));
  await healed(DASHBOARD, 1);
  assert.equal(grafana.state.fingerprint(), before);
  await line.stop();
  // Remembered, and not looked at anew, after a restart.
  await grafana.curl('DELETE', '/api/dashboards/uid/d-uid');
  const again = open(line.directory).start();
  again.assign(dashboard({ adoptDeployed: true, folder: undefined }));
  await eventually(() => assert.equal(kept()?.json['title'], 'By hand'));
  assert.equal(grafana.state.fingerprint(), before);
  // Where there is none, the content is used.
  again.assign();
  await again.expectGone(DASHBOARD);
  assert.equal(grafana.state.fingerprint(), before, 'adopted: put back, not deleted');
  await grafana.curl('DELETE', '/api/dashboards/uid/d-uid');
  again.assign(dashboard({ adoptDeployed: true }));
  await again.expect(DASHBOARD, 'True');
  assert.equal(kept()?.json['title'], 'Ours');
  await again.stop();
});

test('a secret of a data source is written when it changes, and when Grafana has lost it', async (t) => {
  const { grafana, line, datasource, env, healed } = await begin(t);
  env['HEADER'] = 'first-value';
  const spec = { secureJsonData: { httpHeaderValue1: { secretFrom: { env: 'HEADER' } } } };
  line.assign(datasource(spec));
  await line.expect(DATASOURCE, 'True');
  const puts = () => grafana.state.secretsWritten.get('s-uid') ?? [];
  assert.deepEqual(puts(), ['first-value']);
  env['HEADER'] = 'second-value';
  line.agent.reconcile();
  await eventually(() => {
    assert.deepEqual(puts(), ['first-value', 'second-value']);
    const { runningDigest, desiredDigest } = line.status(DATASOURCE);
    assert.equal(runningDigest, desiredDigest);
  });
  Object.assign(grafana.state.datasources.get('s-uid')!, { secureJsonFields: {} });
  await healed(DATASOURCE, 1);
  assert.equal(puts().length, 3);
  assert.ok(!JSON.stringify(line.agent.status()).includes('-value'));
});

test('a setting of a data source that the document does not name stays as somebody set it', async (t) => {
  const { grafana, line, datasource } = await begin(t);
  line.assign(datasource({ jsonData: { timeInterval: '30s' } }));
  await line.expect(DATASOURCE, 'True');
  const at = '/api/datasources/uid/s-uid';
  const now = await grafana.curl('GET', at);
  const theirs = { ...(now?.['jsonData'] as object), httpMethod: 'GET' };
  await grafana.curl('PUT', at, { ...now, jsonData: theirs });
  line.agent.reconcile();
  await line.agent.idle();
  await line.expect(DATASOURCE, 'True');
  assert.equal(line.status(DATASOURCE).healedTotal, 0);
  assert.deepEqual((await grafana.curl('GET', at))?.['jsonData'], theirs);
});

test('a data source that Grafana cannot use is not Ready, with Grafana’s words, until its server is back', async (t) => {
  const { prometheus, line, open, datasource } = await begin(t);
  line.assign(datasource());
  await line.expect(DATASOURCE, 'True');
  await prometheus.stop();
  await line.expect(DATASOURCE, 'False', 'DatasourceUnhealthy');
  assert.match(line.condition(DATASOURCE, 'Ready')!.message, /the server can not be reached/);
  // A restart forgets nothing of it.
  await line.stop();
  const again = open(line.directory).start();
  again.assign(datasource());
  await again.expect(DATASOURCE, 'False', 'DatasourceUnhealthy');
  await prometheus.start();
  await again.expect(DATASOURCE, 'True');
  await again.stop();
});

test('a data source: answers of every shape are told in words, and a page is nobody’s health', async (t) => {
  const { grafana, line, datasource } = await begin(t);
  line.assign(datasource());
  await line.expect(DATASOURCE, 'True');
  const page = '<html><title>Sign in</title></html>';
  for (const [body, status, words] of [
    [[{ message: 'Required' }], 400, /refuses data source s-uid: Required/],
    ['"no"', 422, /refuses data source s-uid: no/],
    ['', 400, /refuses data source s-uid: it gives no reason/],
    [page, 400, /what stands before Grafana.*a web page, "Sign in"/],
    [page, 200, /writing data source s-uid with 200: a web page, "Sign in"/],
    [null, 409, /wrote data source s-uid at the same moment \(it gives no reason\)/],
  ] as const) {
    grafana.brokenWrites = { status, body };
    line.assign(datasource({ name: `Named ${String(words)}`.slice(0, 100) }));
    await eventually(() => assert.match(line.condition(DATASOURCE, 'Ready')!.message, words));
  }
  grafana.brokenWrites = undefined;
  line.assign(datasource());
  await line.expect(DATASOURCE, 'True');
  grafana.brokenHealth = { status: 200, body: page };
  line.agent.reconcile();
  await line.expect(DATASOURCE, 'Unknown', 'HealthUnknown');
});

test('a new data source waits for its server, and is not rolled back for it', async (t) => {
  const { grafana, prometheus, line, datasource } = await begin(t);
  await prometheus.stop();
  line.assign(datasource());
  await line.expect(DATASOURCE, 'Unknown', 'DatasourceUnhealthy');
  assert.ok(grafana.state.datasources.has('s-uid'));
  await prometheus.start();
  await line.expect(DATASOURCE, 'True');
});

test('two edits at the same moment: ours is tried again on what the other wrote', async (t) => {
  for (const generation of ['api', 'apis'] as const) {
    const { grafana, line, dashboard, healed, kept } = await begin(t, { generation });
    line.assign(dashboard());
    await line.expect(DASHBOARD, 'True');
    // Between our look and our write, somebody else saves.
    let raced = 0;
    grafana.beforeWrite = async () => {
      if (raced++ > 0) return;
      const { json, folder } = kept()!;
      grafana.state.saveDashboard('d-uid', { ...json, title: 'Raced' }, folder);
    };
    grafana.state.saveDashboard('d-uid', { title: 'Edited' }, kept()!.folder);
    await healed(DASHBOARD, 1);
    assert.ok(raced >= 2, 'the first write met the other edit');
    assert.equal(kept()!.json['title'], 'Ours');
  }
});

test('the dashboards of grafana.com survive the way there and back without drift', async (t) => {
  if (!require(t, RECORDINGS)) return;
  const { grafana, line, dashboard } = await begin(t);
  const inputs = { DS_PROMETHEUS: 'prometheus' };
  line.assign(dashboard({ uid: 'rYdddlPWk', content: recording(1860), inputs }));
  await line.expect(DASHBOARD, 'True');
  assert.ok(!JSON.stringify(grafana.state.dashboards.get('rYdddlPWk')!.json).includes('DS_PROMETHEUS'));
  const { version } = grafana.state.dashboards.get('rYdddlPWk')!;
  line.agent.reconcile();
  const looks = grafana.asked.length;
  await eventually(() => assert.ok(grafana.asked.length > looks + 6));
  assert.equal(grafana.state.dashboards.get('rYdddlPWk')!.version, version);
});

test('a host whose owner did not allow Grafana is not made to write to it', async (t) => {
  const { grafana, line, dashboard } = await begin(t, {
    config: { allow: { kinds: ['GrafanaDashboard'], urls: ['http://127.0.0.1:1'] } },
  });
  line.assign(dashboard());
  await line.expect(DASHBOARD, 'False', 'NotAllowed');
  assert.match(line.condition(DASHBOARD, 'Ready')!.message, /url http:\/\/127\.0\.0\.1:\d+ \(allow\.urls/);
  assert.deepEqual(grafana.asked, []);
});

test('the way of a dashboard and its data source, on a real Grafana where one is named', async (t) => {
  const real = GRAFANA.missing() === undefined;
  if (!real) t.diagnostic('on the stand-in: GRAFANA_URL and GRAFANA_TOKEN name no real Grafana');
  const standIn = real ? undefined : await new StandInGrafana().start();
  const url = standIn?.url ?? process.env['GRAFANA_URL']!.replace(/\/$/, '');
  const token = standIn?.token ?? process.env['GRAFANA_TOKEN']!;
  const http = createHttp();
  const line = new Timeline(t, {
    env: { GRAFANA_TOKEN: token },
    ports: { http, clock: systemClock },
  }).start();
  t.after(async () => {
    await line.stop();
    await http.close();
    await standIn?.stop();
  });
  const ask = async (method: string, path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const more = body === undefined ? {} : { body: JSON.stringify(body) };
    return fetch(`${url}${path}`, { method, headers, ...more });
  };
  const id = `homeostat-test-${process.pid}`;
  const grafana = { url, token: { secretFrom: { env: 'GRAFANA_TOKEN' } } };
  const common = { grafana, uid: id, pollSeconds: 1 };
  // A plugin whose health check asks nobody.
  const source = { ...common, name: id, type: 'grafana-testdata-datasource', url: 'http://127.0.0.1:9' };
  const content = JSON.stringify({ ...JSON.parse(CONTENT), title: id });
  const dashboard = { ...common, folder: { title: id }, content, panels: { check: false } };
  const removed = { prune: 'delete', scope: 'fleet' } as const;
  line.assign(
    resource('GrafanaDatasource', 's', source, removed),
    resource('GrafanaDashboard', 'd', dashboard, removed),
  );
  await line.expect(DATASOURCE, 'True');
  await line.expect(DASHBOARD, 'True');
  assert.equal((await ask('DELETE', `/api/dashboards/uid/${id}`)).status, 200);
  await eventually(() => assert.equal(line.status(DASHBOARD).healedTotal, 1), 30_000);
  const kept = (await (await ask('GET', `/api/datasources/uid/${id}`)).json()) as object;
  await ask('PUT', `/api/datasources/uid/${id}`, { ...kept, url: 'http://127.0.0.1:10' });
  await eventually(() => assert.equal(line.status(DATASOURCE).healedTotal, 1), 30_000);
  line.assign();
  await line.expectGone(DATASOURCE);
  await line.expectGone(DASHBOARD);
  for (const path of [`dashboards/uid/${id}`, `datasources/uid/${id}`, `folders/homeostat-${id}`])
    assert.equal((await ask('GET', `/api/${path}`)).status, 404, path);
});
