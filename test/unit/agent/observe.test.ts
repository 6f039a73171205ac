// A host that is only observed is left as it is, stale temporary files included.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { resource, Timeline } from '../../support/timeline.ts';

test('a candidate that a killed agent left stays while the host is observed, and goes when it is enforced', async (t) => {
  const line = new Timeline(t, { mode: 'observe' });
  const candidate = '/etc/.a-validate';
  fs.mkdirSync(path.dirname(line.path(candidate)), { recursive: true });
  fs.writeFileSync(line.path(candidate), 'half');
  const state = path.join(line.directory, 'state');
  fs.mkdirSync(state, { recursive: true });
  fs.writeFileSync(path.join(state, 'candidates'), JSON.stringify([{ path: candidate, made: [] }]));
  const file = resource('File', 'a', { path: '/etc/a', content: 'x' });
  line.start().assign(file);
  await line.agent.idle();
  assert.ok(fs.existsSync(line.path(candidate)));
  line.mode = 'enforce';
  line.assign(file);
  await line.expect('File/a', 'True');
  assert.ok(!fs.existsSync(line.path(candidate)));
});
