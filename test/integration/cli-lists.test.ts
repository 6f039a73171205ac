// What is printed where a list is: a table, a wider one, JSON and YAML, the same in each command that has one.
import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo, ListenOptions } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { load } from 'js-yaml';
import type { AgentStatus } from '../../api/status.ts';
import type { FleetView, HostView } from '../../controller/fleet/view.ts';
import { cliRuns } from '../support/cli-runs.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const run = cliRuns();

const HOST: HostView = {
  name: 'pi',
  state: 'Ready',
  reason: 'all is well',
  mode: 'enforce',
  address: '100.64.0.8',
  labels: { alloy: 'apt' },
  desired: { sequence: 3, commit: 'abcdef0123456789' },
  running: { sequence: 3, commit: 'abcdef0123456789' },
  lastSeen: '2026-11-29T04:00:00.000Z',
  resources: { total: 4, ready: 4, drifted: 0, failing: 0 },
  healedTotal: 2,
  agentVersion: '0.1.0',
  platform: 'linux/arm64',
};
const FLEET: FleetView = {
  summary: 'The one host is ready',
  healthy: true,
  serving: null,
  head: null,
  refused: null,
  warnings: [],
  sourceProblem: null,
  defect: null,
  storeProblem: null,
  hosts: [HOST],
  at: '2026-11-29T04:01:00.000Z',
};
const STATUS: AgentStatus = {
  host: 'pi',
  agent: {
    version: '0.1.0',
    kinds: ['File'],
    platform: 'linux/arm64',
    startedAt: '2026-11-29T04:00:00.000Z',
  },
  mode: 'enforce',
  at: '2026-11-29T04:01:00.000Z',
  sequence: { desired: 3, attempted: 3, running: 3 },
  commit: { desired: 'abcdef0123456789', running: 'abcdef0123456789' },
  conditions: [],
  resources: [
    {
      key: 'File/motd',
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          reason: 'InSync',
          message: 'as git says',
          lastTransitionTime: '2026-11-29T04:00:00.000Z',
        },
      ],
      desiredDigest: 'd'.repeat(64),
      runningDigest: 'd'.repeat(64),
      drift: [],
      healedTotal: 0,
      source: 'motd.yaml:2',
    },
  ],
  events: [],
};

async function answering(
  t: TestContext,
  where: ListenOptions,
  answer: (url: string) => unknown,
): Promise<number> {
  const server = http.createServer((request, response) => response.end(JSON.stringify(answer(request.url!))));
  server.listen(where);
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('get hosts and describe host: a table, a wider one, and data for programs', async (t) => {
  const here = temporaryDirectory(t);
  const port = await answering(t, { host: '127.0.0.1', port: 0 }, (url) =>
    url === '/v1/fleet' ? FLEET : { ...HOST, status: null },
  );
  const at = ['--controller', `http://127.0.0.1:${port}/`];
  const get = async (...format: string[]) => (await run(here, ['get', 'hosts', ...at, ...format])).stdout;
  assert.match(await get(), /^NAME +STATE +MODE .* WHY\npi +Ready +enforce/);
  assert.equal(await get('-o', 'table'), await get());
  assert.match(
    await get('-o', 'wide'),
    /ADDRESS +AGENT +PLATFORM +LABELS +WHY\n.*100\.64\.0\.8 +0\.1\.0 +linux\/arm64 +alloy=apt/,
  );
  assert.deepEqual(JSON.parse(await get('-o', 'json')), FLEET);
  assert.deepEqual(load(await get('--output=yaml')), FLEET);
  const describe = async (...format: string[]) =>
    (await run(here, ['describe', 'host', 'pi', ...at, ...format])).stdout;
  assert.match(await describe(), /^Name: +pi$/m);
  assert.deepEqual(load(await describe('-o', 'yaml')), { ...HOST, status: null });
  assert.deepEqual(JSON.parse(await describe('-o', 'json')), { ...HOST, status: null });
});

test('status: a table, a wider one, and data for programs; the exit code is the same for each', async (t) => {
  const here = temporaryDirectory(t);
  const socket = path.join(here, 'agent.sock');
  await answering(t, { path: socket }, () => ({ status: STATUS, suspended: [] }));
  const said: Record<string, string> = {};
  for (const format of ['table', 'wide', 'json', 'yaml']) {
    const { status, stdout, stderr } = await run(here, ['status', '--socket', socket, '-o', format]);
    assert.equal(status, 0, stderr + stdout);
    said[format] = stdout;
  }
  assert.doesNotMatch(said['table']!, /motd\.yaml/);
  assert.match(said['wide']!, /File\/motd.*\n +motd\.yaml:2, confirmed dddddddddddd$/m);
  assert.equal(JSON.parse(said['json']!).status.host, 'pi');
  assert.deepEqual(load(said['yaml']!), JSON.parse(said['json']!));
});

test('token list: of a store of its own', async (t) => {
  const here = temporaryDirectory(t);
  const at = ['--state', path.join(here, 'state')];
  assert.equal((await run(here, ['token', 'create', '--host', 'pi', '--ttl', '1.5h', ...at])).status, 0);
  const list = async (...format: string[]) => (await run(here, ['token', 'list', ...at, ...format])).stdout;
  assert.match(await list(), /^ID +FOR +STATE +EXPIRES\n[0-9a-f]{8} +enroll pi +good/);
  assert.match(await list('-o', 'wide'), /^ID +FOR +STATE +CREATED +EXPIRES\n/);
  const all = JSON.parse(await list('-o', 'json')) as { expiresAt: number; createdAt: number }[];
  assert.equal(all[0]!.expiresAt - all[0]!.createdAt, 5_400_000);
  assert.deepEqual(load(await list('-o', 'yaml')), all);
});
