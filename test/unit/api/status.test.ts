// What a status may hold, whoever sends it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { AGENT_CONDITIONS, AgentStatus, Condition } from '../../../api/status.ts';

const agentRoot = path.join(import.meta.dirname, '../../../agent');

test('metrics know every condition that an agent sets of itself', () => {
  const sources = fs
    .readdirSync(agentRoot, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.startsWith('reconcile'))
    .map((file) => fs.readFileSync(path.join(agentRoot, file), 'utf8'));
  const set = sources.flatMap((text) =>
    [...text.matchAll(/(?:#set|conditions\.set)\(\s*'([A-Za-z]+)'/g)].map((m) => m[1] ?? ''),
  );
  assert.ok(set.length > 10);
  assert.deepEqual([...new Set([...set, 'StatusShortened'])].sort(), [...AGENT_CONDITIONS]);
});

test('no text or list of a status is without a cap', () => {
  const long = 'x'.repeat(100_000);
  const status = {
    host: 'pi',
    at: '2026-11-23T12:00:00Z',
    agent: { version: '1', kinds: ['File'], platform: 'linux-x64', startedAt: '' },
    mode: 'enforce',
    sequence: { desired: 1, attempted: 1, running: 1, seen: 2 },
    commit: { desired: '', running: '' },
    conditions: [{ type: 'Healthy', status: 'True', reason: 'r', message: 'm', lastTransitionTime: 't' }],
    resources: [
      {
        key: 'File/a',
        conditions: [{ type: 'Ready', status: 'True', reason: 'r', message: 'm', lastTransitionTime: 't' }],
        desiredDigest: 'd',
        runningDigest: 'd',
        drift: ['line'],
        healedTotal: 0,
        source: 'a.yaml:1',
      },
    ],
    brief: [{ state: 'Ready', reason: 'r', keys: ['File/b'], more: 0, drifted: 0, healedTotal: 0 }],
    events: [{ at: 't', key: 'File/a', type: 'Normal', reason: 'r', message: 'm' }],
  };
  assert.equal(AgentStatus.safeParse(status).success, true);
  let places = 0;
  // Every text in it, one after the other, and every list.
  const visit = (node: unknown, put: (value: unknown) => void, where: string): void => {
    if (typeof node === 'string' || Array.isArray(node)) {
      places += 1;
      put(typeof node === 'string' ? long : Array(100_000).fill(node[0]));
      const parsed = AgentStatus.safeParse(status);
      const bytes = parsed.success ? JSON.stringify(parsed.data).length : 0;
      assert.ok(bytes < 10_000, `${where}: ${bytes} bytes are taken`);
      put(node);
    }
    if (typeof node !== 'object' || node === null) return;
    for (const [name, value] of Object.entries(node)) {
      const at = node as Record<string, unknown>;
      visit(value, (other) => (at[name] = other), `${where}.${name}`);
    }
  };
  visit(status, () => {}, 'status');
  assert.ok(places > 30, `${places} places`);
});

test('a text for people is cut, so that its host can report, and a name is refused', () => {
  const condition = { type: 'Ready', status: 'False', reason: 'r'.repeat(900), message: 'm'.repeat(9000) };
  const cut = Condition.parse({ ...condition, lastTransitionTime: '' });
  assert.ok(cut.message.length <= 4096 && cut.reason.length <= 128);
  assert.match(cut.message, /characters left out/);
  for (const type of ['', 'a b', 'a"b', '__proto__', 'é', 'A'.repeat(65)])
    assert.equal(Condition.safeParse({ ...condition, type, lastTransitionTime: '' }).success, false, type);
});
