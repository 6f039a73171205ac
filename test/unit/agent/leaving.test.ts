// What stays as it is when its document leaves a host: the table, and that what stays is not counted as a removal.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InventoryEntry } from '../../../agent/journal/journal.ts';
import { staysBecause } from '../../../agent/reconcile/leaving.ts';
import { kinds } from '../../../kinds/index.ts';
import { Devices } from '../../support/device.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const entry = (policy: InventoryEntry['policy'], scope?: 'fleet'): InventoryEntry => ({
  owns: [],
  origin: 'created',
  original: { kind: 'K', snapshot: { existed: false, before: { version: 1, data: null } } },
  policy,
  ...(scope && { scope }),
});

const HERE = {};
const LEAVING = { decommission: true };
const MOVED = { elsewhere: ['GrafanaDashboard/d', 'Check/c'] };

const CASES: [string, InventoryEntry, Partial<{ decommission: boolean; elsewhere: string[] }>, boolean][] = [
  ['File/f', entry('delete'), HERE, false],
  ['File/f', entry('delete'), LEAVING, false],
  ['File/f', entry('freely'), HERE, false],
  ['File/f', entry('orphan'), HERE, true],
  // A person wrote it.
  ['GrafanaDashboard/d', entry('delete', 'fleet'), HERE, false],
  ['GrafanaDashboard/d', entry('freely', 'fleet'), HERE, false],
  ['GrafanaDashboard/d', entry('orphan', 'fleet'), HERE, true],
  ['GrafanaDashboard/d', entry('delete', 'fleet'), LEAVING, true],
  ['GrafanaDashboard/d', entry('delete', 'fleet'), MOVED, true],
  ['GrafanaDashboard/d~1', entry('delete', 'fleet'), MOVED, true],
  ['GrafanaDashboard/e', entry('delete', 'fleet'), MOVED, false],
  // Nobody did: release 0.1 recorded its default.
  ['GrafanaDashboard/d', entry('delete'), HERE, true],
  ['GrafanaDatasource/s', entry('freely'), HERE, true],
  ['TailnetPolicy/t', entry('delete'), HERE, true],
  ['TailnetPolicy/t', entry('delete', 'fleet'), HERE, true],
  // A kind that this agent does not know, or that is for hosts and for the fleet.
  ['Newer/n', entry('delete', 'fleet'), LEAVING, true],
  ['Check/c', entry('delete'), LEAVING, false],
  ['Check/c', entry('delete', 'fleet'), MOVED, true],
];

test('what the fleet shares stays unless git says otherwise, and never leaves with a host', () => {
  for (const [key, held, more, stays] of CASES) {
    const host = {
      name: 'h',
      labels: {},
      mode: 'enforce' as const,
      decommission: false,
      confirmRemovals: [],
      ...more,
    };
    const because = staysBecause(key, held, [kinds.get(key.slice(0, key.indexOf('/')))], host);
    const { policy, scope } = held;
    assert.equal(because !== undefined, stays, JSON.stringify([key, policy, scope, more, because]));
  }
});

test('many that stay as they are leave at once, and nobody has to confirm it', async (t) => {
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  line.assign(...names.map((name) => resource('Device', name, { value: name }, { prune: 'orphan' })));
  for (const name of names) await line.expect(`Device/${name}`, 'True');
  line.assign();
  await eventually(() => assert.deepEqual(line.agent.status().resources, []));
  assert.equal(devices.values.size, names.length);
});

test('what stays is forgotten on a host in mode observe, too: nothing of it is touched', async (t) => {
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  const device = (name: string, prune: 'orphan' | 'delete') =>
    resource('Device', name, { value: name }, { prune });
  line.assign(device('stays', 'orphan'), device('goes', 'delete'));
  for (const name of ['stays', 'goes']) await line.expect(`Device/${name}`, 'True');
  line.mode = 'observe';
  line.assign();
  await line.expectGone('Device/stays');
  await line.expect('Device/goes', 'False', 'WouldRemove');
  assert.deepEqual([...devices.values.keys()], ['Device/stays', 'Device/goes']);
});
