// The stand-in is held to what Grafana's documentation says, and the same sentences to a real Grafana, when one is
// named: GRAFANA_URL and GRAFANA_TOKEN (of a service account with the role Admin).
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { GRAFANA } from '../../support/capabilities.ts';
import { type Generation, StandInGrafana } from '../../support/grafana/grafana.ts';
import type { Obj } from '../../support/grafana/state.ts';
import { panel, query, specOf } from '../../support/grafana/v2-dashboards.ts';

interface Opened {
  readonly url: string;
  readonly token: string;
  readonly standIn: StandInGrafana | undefined;
}

async function open(t: TestContext, generation: Generation): Promise<Opened> {
  const { GRAFANA_URL, GRAFANA_TOKEN } = process.env;
  if (GRAFANA.missing() === undefined)
    return { url: GRAFANA_URL!, token: GRAFANA_TOKEN!, standIn: undefined };
  t.diagnostic('on the stand-in: GRAFANA_URL and GRAFANA_TOKEN name no real Grafana');
  const standIn = await new StandInGrafana(generation).start();
  t.after(() => standIn.stop());
  return { url: standIn.url, token: standIn.token, standIn };
}

function asker({ url, token }: Opened) {
  return async (method: string, path: string, body?: unknown, auth = `Bearer ${token}`) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...(auth === '' ? {} : { authorization: auth }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: (text.startsWith('{') ? JSON.parse(text) : {}) as Obj };
  };
}

const uid = () => `test-${randomBytes(6).toString('hex')}`;
const APIS = '/apis/dashboard.grafana.app/v1beta1/namespaces/default/dashboards';

for (const generation of ['api', 'apis'] as const) {
  test(`${generation}: a dashboard is created, counted, guarded by its version, and deleted`, async (t) => {
    const ask = asker(await open(t, generation));
    const id = uid();
    t.after(() => ask('DELETE', `/api/dashboards/uid/${id}`).catch(() => undefined));
    const save = (dashboard: object, more: object = {}) =>
      ask('POST', '/api/dashboards/db', { dashboard: { uid: id, ...dashboard }, overwrite: false, ...more });
    assert.equal((await ask('GET', `/api/dashboards/uid/${id}`)).status, 404);
    const created = await save({ title: `One ${id}`, panels: [] });
    assert.equal(created.status, 200);
    assert.equal(created.body['status'], 'success');
    assert.equal(created.body['uid'], id);
    const { dashboard, meta } = (await ask('GET', `/api/dashboards/uid/${id}`)).body as Record<string, Obj>;
    assert.equal(dashboard!['version'], 1);
    assert.equal(typeof dashboard!['id'], 'number');
    assert.equal(meta!['folderUid'], '');
    assert.equal(meta!['provisioned'], false);
    assert.equal((await save({ title: `Two ${id}`, version: 1 })).body['version'], 2);
    const stale = await save({ title: `Three ${id}`, version: 1 });
    assert.equal(stale.status, 412);
    assert.equal(stale.body['status'], 'version-mismatch');
    assert.equal((await save({ title: `Three ${id}`, version: 1 }, { overwrite: true })).status, 200);
    assert.equal((await save({ title: '' })).status, 400);
    assert.equal((await ask('DELETE', `/api/dashboards/uid/${id}`)).status, 200);
    assert.equal((await ask('DELETE', `/api/dashboards/uid/${id}`)).status, 404);
  });

  test(`${generation}: a folder is made once, counts what is in it, and takes it along`, async (t) => {
    const ask = asker(await open(t, generation));
    const [folder, inside] = [uid(), uid()];
    t.after(() => ask('DELETE', `/api/folders/${folder}`).catch(() => undefined));
    assert.equal((await ask('GET', `/api/folders/${folder}`)).status, 404);
    assert.equal((await ask('POST', '/api/folders', { uid: folder, title: folder })).status, 200);
    const again = await ask('POST', '/api/folders', { uid: folder, title: `${folder} again` });
    assert.ok([409, 412].includes(again.status), `${again.status}`);
    assert.equal((await ask('GET', `/api/folders/${folder}/counts`)).body['dashboard'], 0);
    const dashboard = { uid: inside, title: inside };
    await ask('POST', '/api/dashboards/db', { dashboard, folderUid: folder });
    assert.equal((await ask('GET', `/api/folders/${folder}/counts`)).body['dashboard'], 1);
    assert.equal((await ask('DELETE', `/api/folders/${folder}`)).status, 200);
    assert.equal((await ask('GET', `/api/dashboards/uid/${inside}`)).status, 404);
  });

  test(`${generation}: a data source keeps its secrets to itself`, async (t) => {
    const ask = asker(await open(t, generation));
    const id = uid();
    const at = `/api/datasources/uid/${id}`;
    t.after(() => ask('DELETE', at).catch(() => undefined));
    const source = { uid: id, name: id, type: 'prometheus', access: 'proxy', url: 'http://127.0.0.1:9' };
    const created = await ask('POST', '/api/datasources', {
      ...source,
      secureJsonData: { httpHeaderValue1: 'hidden-value' },
    });
    assert.equal(created.status, 200);
    assert.equal((await ask('POST', '/api/datasources', { ...source, uid: uid() })).status, 409);
    const kept = await ask('GET', at);
    assert.deepEqual(kept.body['secureJsonFields'], { httpHeaderValue1: true });
    assert.ok(!JSON.stringify(kept.body).includes('hidden-value'));
    const changed = await ask('PUT', at, { ...source, url: 'http://127.0.0.1:10' });
    assert.equal(changed.status, 200);
    const after = (await ask('GET', at)).body;
    assert.equal(after['url'], 'http://127.0.0.1:10');
    assert.deepEqual(after['secureJsonFields'], { httpHeaderValue1: true }, 'not sent, not lost');
    assert.equal((await ask('DELETE', at)).status, 200);
    assert.equal((await ask('GET', at)).status, 404);
  });

  test(`${generation}: who asks must be known`, async (t) => {
    const ask = asker(await open(t, generation));
    assert.equal((await ask('GET', '/api/folders', undefined, 'Bearer glsa_nobody')).status, 401);
    assert.equal((await ask('GET', '/api/dashboards/uid/x', undefined, '')).status, 401);
  });
}

test('apis: the groups are listed, and a resource is guarded by its resourceVersion', async (t) => {
  const ask = asker(await open(t, 'apis'));
  const { groups } = (await ask('GET', '/apis')).body as { groups: Obj[] };
  const group = groups.find((g) => g['name'] === 'dashboard.grafana.app');
  assert.ok((group!['versions'] as Obj[]).some((v) => /^v1(beta1)?$/.test(String(v['version']))));
  const id = uid();
  t.after(() => ask('DELETE', `${APIS}/${id}`).catch(() => undefined));
  const resource = (title: string, resourceVersion?: unknown) => ({
    metadata: { name: id, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    spec: { title, schemaVersion: 30, panels: [{ type: 'stat', title: 'A' }] },
  });
  assert.equal((await ask('GET', `${APIS}/${id}`)).status, 404);
  const created = await ask('POST', APIS, resource(`One ${id}`));
  assert.equal(created.status, 201);
  const again = await ask('POST', APIS, resource(`One ${id}`));
  assert.equal(again.status, 409);
  const { metadata, spec } = (await ask('GET', `${APIS}/${id}`)).body as Record<string, Obj>;
  assert.ok(Number(spec!['schemaVersion']) > 30, 'it was migrated');
  const changed = await ask('PUT', `${APIS}/${id}`, resource(`Two ${id}`, metadata!['resourceVersion']));
  assert.equal(changed.status, 200);
  const stale = await ask('PUT', `${APIS}/${id}`, resource(`Three ${id}`, metadata!['resourceVersion']));
  assert.equal(stale.status, 409);
  assert.equal(stale.body['reason'], 'Conflict');
  // One store behind both generations.
  const { dashboard } = (await ask('GET', `/api/dashboards/uid/${id}`)).body as Record<string, Obj>;
  assert.equal(dashboard!['title'], `Two ${id}`);
  assert.equal((await ask('DELETE', `${APIS}/${id}`)).status, 200);
  assert.equal((await ask('GET', `/api/dashboards/uid/${id}`)).status, 404);
});

test('apis: v2 is a schema of its own, shown in the classic one too, and says how it is stored', async (t) => {
  const ask = asker(await open(t, 'apis'));
  const at = (version: string) => `/apis/dashboard.grafana.app/${version}/namespaces/default/dashboards`;
  const { groups } = (await ask('GET', '/apis')).body as { groups: Obj[] };
  const group = groups.find((g) => g['name'] === 'dashboard.grafana.app');
  assert.ok((group!['versions'] as Obj[]).some((v) => v['version'] === 'v2'));
  const id = uid();
  t.after(() => ask('DELETE', `${at('v2')}/${id}`).catch(() => undefined));
  const elements = { 'panel-1': panel(1, 'Load', [query('up')]) };
  const resource = (spec: Obj, resourceVersion?: unknown) => ({
    metadata: { name: id, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    spec,
  });
  const spec = specOf(`One ${id}`, elements);
  assert.equal((await ask('POST', at('v1'), resource(spec))).status, 400, 'it is no classic one');
  assert.equal((await ask('POST', at('v2'), resource({ title: 'x' }))).status, 422);
  assert.equal((await ask('POST', at('v2'), resource(spec))).status, 201);
  const shown = (await ask('GET', `${at('v2')}/${id}`)).body as Record<'metadata' | 'spec', Obj>;
  assert.equal((shown.spec['layout'] as Obj)['kind'], 'GridLayout');
  const classic = (await ask('GET', `${at('v1')}/${id}`)).body as Record<'spec' | 'status', Obj>;
  assert.equal((classic.spec['panels'] as Obj[])[0]!['title'], 'Load');
  const { storedVersion, failed } = classic.status['conversion'] as Obj;
  assert.match(String(storedVersion), /^v2/);
  assert.notEqual(failed, true);
  const { resourceVersion } = shown.metadata;
  const next = resource({ ...spec, title: `Two ${id}` }, resourceVersion);
  assert.equal((await ask('PUT', `${at('v2')}/${id}`, next)).status, 200);
  const stale = await ask('PUT', `${at('v2')}/${id}`, next);
  assert.equal(stale.status, 409);
  assert.equal(stale.body['reason'], 'Conflict');
  assert.equal((await ask('DELETE', `${at('v2')}/${id}`)).status, 200);
});

test('the stand-in: an older generation has no /apis; what is provisioned is read only; roles are kept apart', async (t) => {
  const old = await new StandInGrafana('api').start();
  const grafana = await new StandInGrafana('apis').start();
  t.after(() => Promise.all([old.stop(), grafana.stop()]));
  assert.equal((await asker({ ...old, url: old.url, standIn: old })('GET', '/apis')).status, 404);
  const ask = asker({ url: grafana.url, token: grafana.token, standIn: grafana });
  grafana.state.saveDashboard('file', { title: 'From a file' }, '', true);
  const saved = await ask('POST', '/api/dashboards/db', {
    dashboard: { uid: 'file', title: 'x', version: 1 },
  });
  assert.equal(saved.status, 400);
  assert.match(String(saved.body['message']), /Cannot save provisioned dashboard/);
  const { metadata } = (await ask('GET', `${APIS}/file`)).body as Record<string, Obj>;
  const annotations = metadata!['annotations'] as Obj;
  assert.equal(annotations['grafana.app/managedBy'], 'classic-file-provisioning');
  grafana.tokens.set('viewer', 'Viewer');
  grafana.tokens.set('editor', 'Editor');
  const dashboard = { dashboard: { uid: 'y', title: 'y' } };
  assert.equal((await ask('POST', '/api/dashboards/db', dashboard, 'Bearer viewer')).status, 403);
  assert.equal((await ask('POST', '/api/dashboards/db', dashboard, 'Bearer editor')).status, 200);
  assert.equal((await ask('GET', '/api/datasources', undefined, 'Bearer editor')).status, 403);
});
