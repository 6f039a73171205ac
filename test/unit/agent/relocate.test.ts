// A document whose place changes: nothing stays behind, whatever happens on the way.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as z from 'zod';
import { kinds } from '../../../kinds/index.ts';
import { defineKind } from '../../../kinds/kind.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const file = (name: string, more: object = {}) =>
  resource('File', 'f', { path: `/etc/${name}`, content: `ours in ${name}`, ...more });

function contents(line: Timeline): Record<string, string> {
  const directory = line.path('/etc');
  if (!fs.existsSync(directory)) return {};
  return Object.fromEntries(
    fs.readdirSync(directory).map((name) => [name, fs.readFileSync(path.join(directory, name), 'utf8')]),
  );
}

/** Keeps a text in a file, with specs and ways back that no other kind could read; "open" is never confirmed. */
const Before = z.object({ note: z.tuple([z.string(), z.string()]) });
const note = defineKind<{ at: string; text: string }, string, 'files', z.infer<typeof Before>>({
  kind: 'Note',
  scope: 'host',
  spec: z.strictObject({ at: z.string(), text: z.string() }),
  before: { version: 1, schema: Before },
  needs: ['files'],
  place: ({ at }) => at,
  owns: ({ at }) => [`file:${at}`],
  permissions: () => [],
  async observe({ spec }, { files }) {
    const state = files.read(spec.at);
    return state.type === 'file' ? state.content.toString() : '';
  },
  diff: ({ spec }, from) => (from === spec.text ? [] : [{ what: 'text', from, to: spec.text }]),
  prepare: async ({ spec }, before) => ({ existed: before !== '', before: { note: [spec.at, before] } }),
  async apply(_changes, { spec }, { files }) {
    files.replaceAtomic(spec.at, Buffer.from(spec.text), {});
    return undefined;
  },
  assess: ({ spec }) =>
    spec.text === 'open' ? { verdict: 'Unknown', reason: 'Open', evidence: '' } : { verdict: 'Yes' },
  async undo({ note: [at, before] }, _record, { files }) {
    files.replaceAtomic(at, Buffer.from(before), {});
  },
});

/** Nothing of it is left to be done: the newest manifest runs. */
const runs = (line: Timeline) =>
  eventually(() => {
    const { desired, running } = line.agent.status().sequence;
    assert.equal(running, desired, JSON.stringify(line.agent.status().resources));
  });

test('what was created in the old place goes, what was adopted there comes back, and then the new place alone counts', async (t) => {
  for (const theirs of [undefined, 'theirs']) {
    const line = new Timeline(t);
    fs.mkdirSync(line.path('/etc'), { recursive: true });
    if (theirs !== undefined) fs.writeFileSync(line.path('/etc/a'), theirs);
    const before = contents(line);
    line.start().assign(file('a'));
    await runs(line);
    line.assign(file('b'));
    await runs(line);
    assert.deepEqual(contents(line), { ...before, b: 'ours in b' });
    assert.deepEqual(
      line.agent.status().resources.map(({ key }) => key),
      ['File/f'],
    );
    line.assign();
    await line.expectGone('File/f');
    assert.deepEqual(contents(line), before);
  }
});

test('a new place that can’t be had leaves the old one in force, and what stands there untouched', async (t) => {
  const line = new Timeline(t);
  fs.mkdirSync(line.path('/etc/b'), { recursive: true });
  line.start().assign(file('a'));
  await runs(line);
  line.assign(file('b'));
  await line.expect('File/f', 'False', 'IsADirectory');
  assert.equal(fs.readFileSync(line.path('/etc/a'), 'utf8'), 'ours in a');
  fs.writeFileSync(line.path('/etc/a'), 'tampered');
  await eventually(() => assert.equal(fs.readFileSync(line.path('/etc/a'), 'utf8'), 'ours in a'));
  line.assign(file('a'));
  await runs(line);
  assert.ok(fs.statSync(line.path('/etc/b')).isDirectory());
});

test('a move that was cut off, and that git reverts or leads elsewhere, leaves nothing in the place it was for', async (t) => {
  for (const known of [true, false]) {
    for (const then of ['a', 'c', undefined]) {
      const directory = temporaryDirectory(t);
      // Written, and cut off before its gate.
      const real = kinds.get('File')!;
      let open = false;
      const cut = {
        ...real,
        assess: () =>
          open
            ? ({ verdict: 'Unknown', reason: 'CutOff', evidence: '' } as const)
            : ({ verdict: 'Yes' } as const),
      };
      const first = new Timeline(t, { directory, kinds: new Map([['File', cut]]) }).start();
      if (known) {
        first.assign(file('a'));
        await runs(first);
      }
      open = true;
      first.assign(file('b'));
      await first.expect('File/f', 'Unknown', 'CutOff');
      await first.stop();
      const second = new Timeline(t, { directory }).start();
      second.assign(...(then === undefined ? [] : [file(then)]));
      await runs(second);
      // Removal goes by the last change that was begun: its own place, and not that of the one before it.
      assert.deepEqual(
        contents(second),
        then === undefined ? {} : { [then]: `ours in ${then}` },
        `${known} ${then}`,
      );
      second.assign();
      await runs(second);
      assert.deepEqual(contents(second), {});
    }
  }
});

test('a record that came from another kind is undone by that kind, and an open change by its own', async (t) => {
  const real = kinds.get('File')!;
  const given: unknown[] = [];
  const watched: typeof real = {
    ...real,
    undo(before, ...rest) {
      given.push(before);
      return real.undo(before, ...rest);
    },
  };
  const line = new Timeline(t, { kinds: new Map([watched, note].map((kind) => [kind.kind, kind])) });
  const text = (value: string) => resource('Note', 'n', { at: '/etc/a', text: value });
  line.start().assign(file('a'));
  await runs(line);
  line.assign(text('one'));
  await runs(line);
  line.assign(text('open'));
  await line.expect('Note/n', 'Unknown', 'Open');
  line.assign();
  await line.expectGone('Note/n');
  assert.deepEqual(contents(line), {});
  assert.deepEqual(given, [{ type: 'absent', path: '/etc/a', parents: ['/etc'] }]);
});

test('an agent that is killed before the old place is undone undoes it after its return', async (t) => {
  const directory = temporaryDirectory(t);
  const real = kinds.get('File')!;
  const stuck = { ...real, undo: () => Promise.reject(new Error('not now')) };
  const first = new Timeline(t, { directory, kinds: new Map([['File', stuck]]) }).start();
  first.assign(file('a'));
  await runs(first);
  first.assign(file('b'));
  await first.expect('File/f~1', 'False');
  await first.stop();
  const second = new Timeline(t, { directory }).start().assign(file('b'));
  await runs(second);
  assert.deepEqual(contents(second), { b: 'ours in b' });
});
