// What leaves the agent as a message holds no secret, and what it keeps on disk is sealed.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as z from 'zod';
import { presentable, Redactor } from '../../../agent/secrets/redact.ts';
import { createSeal } from '../../../agent/secrets/seal.ts';
import { SecretRef } from '../../../api/documents.ts';
import { Stalled } from '../../../api/errors.ts';
import { defineKind } from '../../../kinds/kind.ts';
import { findLeaks } from '../../support/leaks.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const SECRET = 'open "sesame" & 100% of it';

test('a value is found however it is written: plain, escaped, base64 in any place, hex, URL-encoded', () => {
  const redactor = new Redactor();
  redactor.add('1', Buffer.from(SECRET));
  const forms = {
    plain: SECRET,
    JSON: JSON.stringify({ value: SECRET }),
    base64: Buffer.from(SECRET).toString('base64'),
    'basic auth': Buffer.from(`admin:${SECRET}`).toString('base64'),
    'basic auth, one more': Buffer.from(`admin1:${SECRET}:`).toString('base64'),
    hex: Buffer.from(SECRET).toString('hex'),
    URL: `http://x/?q=${encodeURIComponent(SECRET)}`,
  };
  for (const [name, text] of Object.entries(forms)) {
    const hidden = redactor.hide(`before ${text} after`);
    assert.match(hidden, /before .*\[secret\].* after/s, name);
    assert.ok(!hidden.includes('sesame'), name);
  }
});

test('of a text of several lines each line is a secret; short values are left, or every sentence would be', () => {
  const redactor = new Redactor();
  redactor.add('1', Buffer.from('password = "hunter2-hunter2"\n}\n'));
  redactor.add('2', Buffer.from('80'));
  assert.equal(
    redactor.hide('c.alloy:3:1: password = "hunter2-hunter2" is wrong } on port 80'),
    'c.alloy:3:1: [secret] is wrong } on port 80',
  );
});

test('a change of a secret shows where it differs and nothing else', () => {
  const hide = (words: string) => words;
  const text = { before: 'a\nold secret\nb\n', after: 'a\nnew secret\nb\n', secret: true };
  const shown = presentable({ what: 'content', from: '1', to: '2', text }, false, hide);
  assert.deepEqual(shown.text, { before: '1\n2\n3\n', after: '1\n4\n3\n', secret: true });
  const held = presentable(
    { what: 'content', from: '1', to: '2', text: { ...text, secret: false } },
    true,
    hide,
  );
  assert.equal(held.text?.secret, true, 'what is there now was a secret of the manifest before');
});

test('sealed: opened by this host only, noticed when changed; what was never sealed is read as it is', (t) => {
  const directory = temporaryDirectory(t);
  const value = { path: '/etc/env', content: SECRET };
  const closed = createSeal(directory).close(value);
  assert.doesNotMatch(JSON.stringify(closed), /sesame/);
  assert.equal(fs.statSync(path.join(directory, 'seal.key')).mode & 0o777, 0o600);
  assert.deepEqual(createSeal(directory).open(closed), value);
  assert.deepEqual(createSeal(directory).open(value), value);
  const other = createSeal(temporaryDirectory(t));
  assert.throws(() => other.open(closed), /seal\.key is gone/);
  other.close(1);
  assert.throws(() => other.open(closed));
});

test('a kind whose program quotes the secret: not in conditions, drift, events, log or journal', async (t) => {
  const quoting = defineKind<{ token: SecretRef; how: string }, object, never, null>({
    kind: 'Quoting',
    before: { version: 1, schema: z.null() },
    assess: () => ({ verdict: 'Yes' }),
    scope: 'host',
    spec: z.strictObject({ token: SecretRef, how: z.string() }),
    needs: [],
    owns: (spec) => [`quoting:${spec.how}`],
    permissions: () => [],
    observe: async ({ spec, content }) => {
      if (spec.how === 'error') throw new Error(`401 for token ${content(spec.token).bytes}`);
      return {};
    },
    diff: ({ spec, content }) => [{ what: 'token', from: '', to: content(spec.token).bytes.toString() }],
    prepare: async () => ({ existed: false, before: null }),
    apply: async (_changes, { spec, content }) => {
      throw new Stalled(
        'Refused',
        `Basic ${Buffer.from(`me:${content(spec.token).bytes}`).toString('base64')}`,
      );
    },
    undo: async () => {},
    conditions: ({ spec, content }) => [
      { type: 'Odd', status: 'True', reason: 'Odd', message: `it has ${content(spec.token).bytes}` },
    ],
  });
  const line = new Timeline(t, { kinds: new Map([['Quoting', quoting]]), env: { TOKEN: SECRET } });
  const token = { secretFrom: { env: 'TOKEN' } };
  line
    .start()
    .assign(
      resource('Quoting', 'error', { token, how: 'error' }),
      resource('Quoting', 'refusal', { token, how: 'refusal' }),
    );
  await line.expect('Quoting/error', 'False');
  await line.expect('Quoting/refusal', 'False', 'RolledBack');
  const all = [JSON.stringify([line.agent.status(), await line.agent.plan()]), await line.agent.exposition()];
  all.push(fs.readFileSync(path.join(line.directory, 'state/journal.log'), 'utf8'));
  assert.match(all.join(), /401 for token \[secret\]/);
  assert.deepEqual(findLeaks({ SECRET }, new Map(all.map((text, i) => [String(i), text]))), []);
});
