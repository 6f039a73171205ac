// Documents of scope fleet that leave a host: their runOn moves, their host is decommissioned, they are removed. Two
// real agents, what the controller renders for each of them, and one server; in both orders of who hears of it first.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { Payload } from '../../api/bundle.ts';
import { type Compilation, compile } from '../../controller/pipeline/compile.ts';
import { kinds } from '../../kinds/index.ts';
import { eventually } from '../support/eventually.ts';
import { AnsweringServer } from '../support/grafana/answering.ts';
import { StandInGrafana } from '../support/grafana/grafana.ts';
import { journalIn } from '../support/journal.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { TailscaleApi } from '../support/tailscale-api/server.ts';
import { Timeline } from '../support/timeline.ts';
import { memorySnapshot } from '../unit/controller/support.ts';

const POLICY = 'TailnetPolicy/acl';
const DASHBOARD = 'GrafanaDashboard/d';
const DATASOURCE = 'GrafanaDatasource/s';
const ALL = [POLICY, DASHBOARD, DATASOURCE];
const HOSTS = ['a', 'b'] as const;
type HostName = (typeof HOSTS)[number];
const ORDERS: readonly (readonly HostName[])[] = [
  ['a', 'b'],
  ['b', 'a'],
];

interface Git {
  readonly runOn?: HostName;
  readonly ports?: string;
  readonly title?: string;
  readonly prune?: string;
  readonly importedFrom?: string;
  readonly gone?: boolean;
  readonly decommission?: HostName;
}

async function begin(t: TestContext) {
  const tailscale = new TailscaleApi({ tailnet: { devices: [], users: [] } });
  const api = await tailscale.start();
  const grafana = await new StandInGrafana().start();
  const prometheus = await new AnsweringServer().start();
  const http = createHttp();
  const { id, secret } = tailscale.addClient('policy_file');
  // A minute between two looks takes no minute here.
  const clock = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 1000, signal),
  };
  const ports = { http, clock };
  const env = { SECRET: secret, TOKEN: grafana.token };
  const open = (directory?: string) =>
    new Timeline(t, { ports, env, ...(directory === undefined ? {} : { directory }) });
  const lines = { a: open().start(), b: open().start() };
  t.after(async () => {
    await Promise.all([lines.a.stop(), lines.b.stop()]);
    await Promise.all([http.close(), tailscale.stop(), grafana.stop(), prometheus.stop()]);
  });

  const policy = (ports: string) => `{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:${ports}"]}]}`;
  const document = (kind: string, name: string, git: Git, spec: object): string =>
    JSON.stringify({
      apiVersion: 'homeostat.dev/v1',
      kind,
      metadata: { name },
      runOn: git.runOn ?? 'a',
      ...(git.prune === undefined || kind === 'TailnetPolicy' ? {} : { prune: git.prune }),
      spec,
    });
  // Nobody looks again in the time of a test: while a has not heard yet that its documents moved, and what they say
  // changed too, both would heal what the other one wrote.
  const pollSeconds = 86_400;
  const connection = { pollSeconds, grafana: { url: grafana.url, token: { secretFrom: { env: 'TOKEN' } } } };

  /** What stands in git, rendered. */
  async function commit(git: Git): Promise<Compilation> {
    const { ports = '22', title = 'Ours', importedFrom = 'ts-default' } = git;
    const hosts = HOSTS.map((name) =>
      JSON.stringify({
        apiVersion: 'homeostat.dev/v1',
        kind: 'Host',
        metadata: { name },
        spec: { mode: 'enforce', ...(git.decommission === name ? { decommission: true } : {}) },
      }),
    );
    const oauth = { clientID: id, clientSecret: { secretFrom: { env: 'SECRET' } } };
    const documents = [
      document('TailnetPolicy', 'acl', git, { api, oauth, importedFrom, content: policy(ports) }),
      document('GrafanaDashboard', 'd', git, {
        ...connection,
        uid: 'd-uid',
        folder: { title: 'Ours' },
        content: JSON.stringify({ title, panels: [] }),
        panels: { check: false },
      }),
      document('GrafanaDatasource', 's', git, {
        ...connection,
        uid: 's-uid',
        name: 'Prometheus',
        type: 'prometheus',
        url: prometheus.url,
      }),
    ];
    const texts = { 'git.yaml': [...hosts, ...(git.gone === true ? [] : documents)].join('\n---\n') };
    const compiled = await compile(memorySnapshot(texts), kinds);
    assert.ok(compiled.revision, JSON.stringify(compiled.diagnostics));
    return compiled;
  }

  let sequence = 0;
  function assign({ revision }: Compilation, ...names: readonly HostName[]): void {
    sequence += 1;
    for (const name of names) {
      const payload = Payload.parse(JSON.parse(revision!.hosts.get(name)!.payloadText));
      lines[name].agent.assign({ sequence, commit: `c${sequence}`, payload });
    }
  }

  const ready = async (name: HostName, keys = ALL) => {
    for (const key of keys) await lines[name].expect(key, 'True');
  };
  const left = async (name: HostName) => {
    for (const key of ALL) await lines[name].expectGone(key);
  };
  /** Removals, and every policy that was written. */
  const removals = () => grafana.asked.filter((asked) => asked.startsWith('DELETE'));
  const policyWrites = () =>
    tailscale.asked.filter((a) => a.startsWith('POST') && a.includes('/acl If-Match'));
  return { tailscale, grafana, lines, open, commit, assign, ready, left, removals, policyWrites };
}

for (const prune of [undefined, 'orphan', 'delete', 'freely']) {
  for (const order of ORDERS) {
    test(`runOn moves from a to b, ${order[0]} hears of it first, prune: ${prune ?? 'not written'}`, async (t) => {
      const { tailscale, grafana, commit, assign, ready, left, removals, policyWrites } = await begin(t);
      const common = prune === undefined ? {} : { prune };
      assign(await commit({ ...common, runOn: 'a' }), 'a', 'b');
      await ready('a');
      const [kept, text] = [grafana.state.fingerprint(), tailscale.text];
      const moved = await commit({ ...common, runOn: 'b' });
      for (const name of order) {
        assign(moved, name);
        if (name === 'a') await left('a');
        else await ready('b');
      }
      assert.deepEqual(removals(), []);
      assert.equal(policyWrites().length, 1, 'b found it as it should be');
      assert.equal(grafana.state.fingerprint(), kept);
      assert.equal(tailscale.text, text);
      // From now on b alone works on it.
      assign(await commit({ ...common, runOn: 'b', ports: '22,443', title: 'Newer' }), 'a', 'b');
      await eventually(() => assert.match(tailscale.text, /22,443/));
      await eventually(() => assert.equal(grafana.state.dashboards.get('d-uid')?.json['title'], 'Newer'));
      await ready('b');
      assert.equal(policyWrites().length, 2);
      assert.deepEqual(removals(), []);
    });
  }
}

for (const order of ORDERS) {
  test(`runOn moves together with another content, ${order[0]} hears of it first: nothing opens, and the message leads on`, async (t) => {
    const { tailscale, grafana, lines, commit, assign, ready, left, removals, policyWrites } = await begin(t);
    assign(await commit({ prune: 'delete' }), 'a', 'b');
    await ready('a');
    const { text, etag } = tailscale;
    const git = { runOn: 'b', prune: 'delete', ports: '22,443', title: 'Newer' } as const;
    const moved = await commit(git);
    for (const name of order) {
      assign(moved, name);
      if (name === 'a') await left('a');
      else await lines.b.expect(POLICY, 'False', 'NotImported');
    }
    await ready('b', [DASHBOARD, DATASOURCE]);
    assert.equal(tailscale.text, text);
    assert.match(lines.b.condition(POLICY, 'Ready')!.message, new RegExp(`write importedFrom: ${etag}`));
    assign(await commit({ ...git, importedFrom: etag }), 'a', 'b');
    await ready('b');
    assert.match(tailscale.text, /22,443/);
    // Those that named a policy that nobody ever edited were refused.
    assert.deepEqual(
      policyWrites().filter((write) => !write.includes('ts-default')),
      [`POST /api/v2/tailnet/-/acl If-Match: "${etag}"`],
    );
    assert.equal(grafana.state.dashboards.get('d-uid')?.json['title'], 'Newer');
    assert.deepEqual(removals(), []);
  });
}

test('a decommissioned host takes nothing with it that is the fleet’s', async (t) => {
  const { tailscale, grafana, commit, assign, ready, left, removals } = await begin(t);
  assign(await commit({ prune: 'delete' }), 'a', 'b');
  await ready('a');
  const [kept, text] = [grafana.state.fingerprint(), tailscale.text];
  assign(await commit({ prune: 'delete', decommission: 'a' }), 'a', 'b');
  await left('a');
  assert.deepEqual(removals(), []);
  assert.equal(grafana.state.fingerprint(), kept);
  assert.equal(tailscale.text, text);
});

for (const prune of [undefined, 'orphan']) {
  test(`documents that are removed leave what the fleet shares, prune: ${prune ?? 'not written'}`, async (t) => {
    const { tailscale, grafana, commit, assign, ready, left, removals } = await begin(t);
    assign(await commit(prune === undefined ? {} : { prune }), 'a', 'b');
    await ready('a');
    const [kept, text] = [grafana.state.fingerprint(), tailscale.text];
    assign(await commit({ gone: true }), 'a', 'b');
    await left('a');
    assert.deepEqual(removals(), []);
    assert.equal(grafana.state.fingerprint(), kept);
    assert.equal(tailscale.text, text);
  });
}

test('prune: delete is a person’s word: what homeostat made in Grafana goes, and the tailnet’s policy stays', async (t) => {
  const { tailscale, grafana, commit, assign, ready, left } = await begin(t);
  assign(await commit({ prune: 'delete' }), 'a', 'b');
  await ready('a');
  const { text } = tailscale;
  assign(await commit({ gone: true }), 'a', 'b');
  await left('a');
  assert.deepEqual([...grafana.state.dashboards.keys()], []);
  assert.deepEqual([...grafana.state.datasources.keys()], []);
  assert.deepEqual([...grafana.state.folders.keys()], []);
  assert.equal(tailscale.text, text);
});

/** Key to how it was before homeostat, as the previous release kept it. */
const BEFORE: Readonly<Record<string, (spec: Record<string, unknown>) => object>> = {
  [POLICY]: ({ api, oauth }) => ({
    access: { api, oauth },
    text: '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}',
    etag: 'e'.repeat(64),
  }),
  [DASHBOARD]: ({ grafana }) => ({
    grafana,
    uid: 'd-uid',
    dashboard: null,
    folder: '',
    ourFolder: 'homeostat-ours',
  }),
  [DATASOURCE]: ({ grafana }) => ({ grafana, uid: 's-uid', source: null, otherDefault: null }),
};

for (const how of [
  'removed',
  'moved',
  'decommissioned',
  'removed by a controller of that release',
] as const) {
  test(`what the previous release recorded with prune: delete, its default, stays when it is ${how}`, async (t) => {
    const { tailscale, grafana, lines, open, commit, assign, ready, left, removals } = await begin(t);
    const first = await commit({});
    assign(first, 'a', 'b');
    await ready('a');
    const [kept, text] = [grafana.state.fingerprint(), tailscale.text];
    await lines.a.stop();
    // The same state, as the previous release would have left it.
    const held = journalIn(path.join(lines.a.directory, 'state'));
    const directory = temporaryDirectory(t);
    fs.mkdirSync(path.join(directory, 'state'));
    const records = ALL.map((key) => {
      const { owns, confirmed, memory } = held.entry(key)!;
      const snapshot = { existed: key === POLICY, data: BEFORE[key]!(confirmed!.spec) };
      const original = { kind: key.slice(0, key.indexOf('/')), snapshot };
      const origin = key === POLICY ? 'adopted' : 'created';
      return {
        key,
        holding: {
          owns,
          origin,
          original,
          policy: 'delete',
          confirmed,
          ...(memory && { memory: memory.data }),
        },
      };
    });
    const json = JSON.stringify(records);
    const line = `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
    fs.writeFileSync(path.join(directory, 'state', 'journal.log'), line);
    lines.a = open(directory).start();
    if (how === 'removed by a controller of that release') {
      // It said no scope, and its default was delete.
      const payload = Payload.parse(JSON.parse(first.revision!.hosts.get('a')!.payloadText));
      const resources = payload.resources.map(({ scope: _, ...r }) => ({ ...r, prune: 'delete' as const }));
      lines.a.agent.assign({ sequence: 90, commit: 'old', payload: { ...payload, resources } });
      await ready('a');
      lines.a.agent.assign({ sequence: 91, commit: 'older', payload: { ...payload, resources: [] } });
    } else {
      assert.equal(lines.a.agent.status().resources.length, 0);
      const git =
        how === 'removed'
          ? { gone: true }
          : how === 'moved'
            ? { runOn: 'b' as const }
            : { decommission: 'a' as const };
      assign(await commit(git), 'a', 'b');
    }
    await left('a');
    await eventually(() => assert.deepEqual(journalIn(path.join(directory, 'state')).keys(), []));
    assert.deepEqual(removals(), []);
    assert.equal(grafana.state.fingerprint(), kept);
    assert.equal(tailscale.text, text);
  });
}
