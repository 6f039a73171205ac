// What keeps a commit from being published is called by its name: a mistake in it, git, or a defect of homeostat; and
// none of them is tried again faster than it may pass.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import * as z from 'zod';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { Fleet } from '../../../controller/fleet/fleet.ts';
import { Publisher, type PublishResult } from '../../../controller/fleet/publisher.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import type { Kinds } from '../../../controller/pipeline/document.ts';
import type { CommitInfo, HeadState } from '../../../controller/source/git-source.ts';
import { type Snapshot, type SnapshotFile, SourceError } from '../../../controller/source/snapshot.ts';
import { Database } from '../../../controller/store/database.ts';
import { Store } from '../../../controller/store/store.ts';
import { defineKind } from '../../../kinds/kind.ts';
import { testKey } from '../../support/bundle.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { memorySnapshot, testKinds } from './support.ts';

const HOST = 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {}\n';
const file = (name: string, content = 'x'): string =>
  `---\napiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\nhosts: {all: true}\nspec: {path: /${name}, content: ${content}}\n`;
const odd = (spec: string): string =>
  `---\napiVersion: homeostat.dev/v1\nkind: Odd\nmetadata: {name: o}\nhosts: {all: true}\nspec: ${spec}\n`;

/** A kind that throws where its spec says. */
const throws = (where: string) => (spec: { at?: string | undefined }) => {
  if (spec.at === where) throw new TypeError(`undefined is not a ${where}`);
  return [];
};
const never = (): never => assert.fail('the controller must not run a kind');
const Odd = defineKind<{ at?: string | undefined }, null, never, null>({
  before: { version: 1, schema: z.null() },
  ...{ observe: never, diff: never, assess: never, prepare: never, apply: never, undo: never },
  needs: [],
  kind: 'Odd',
  scope: 'host',
  spec: z.strictObject({ at: z.string().optional() }).superRefine((spec) => void throws('refine')(spec)),
  owns: throws('owner'),
  permissions: () => [],
  check: throws('check'),
  inputs: throws('input'),
  downloads: throws('download'),
});
const kinds: Kinds = new Map([...testKinds, ['Odd', Odd]]);

/** Files at which the compiler fails so many times. */
class Trap extends Map<string, SnapshotFile> {
  #times: number;
  constructor(files: Snapshot['files'], times: number) {
    super(files);
    this.#times = times;
  }
  override keys(): MapIterator<string> {
    this.#times -= 1;
    if (this.#times >= 0) throw new RangeError('Maximum call stack size exceeded');
    return super.keys();
  }
}

const head = (commit: string): CommitInfo => ({
  commit,
  subject: 's',
  author: 'a',
  at: '2026-01-01T00:00:00Z',
});

async function published(t: TestContext, first: Snapshot) {
  const clock = new FakeClock();
  const database = new Database(`${temporaryDirectory(t)}/s.sqlite`);
  database.open({ create: true });
  t.after(() => database.close());
  const fleet = new Fleet({ store: new Store(database), signingKey: testKey().privateKey, clock });
  const results: PublishResult[] = [];
  let listener: (state: HeadState) => void = () => {};
  let snapshot = first;
  let asked = 0;
  const publisher = new Publisher({
    source: {
      start: async (l) => {
        listener = l;
        l({ head: head('c1') });
      },
      stop: async () => {},
      refresh: async () => {},
      snapshot: async () => {
        asked += 1;
        return { ...snapshot, close: async () => {} };
      },
    },
    fleet,
    kinds,
    clock,
    log: pino({ level: 'silent' }),
    onResult: (result) => results.push(result),
  });
  t.after(() => publisher.stop());
  await publisher.start();
  const commit = async (name: string, next: Snapshot): Promise<void> => {
    snapshot = next;
    listener({ head: head(name) });
    await settle();
  };
  return { fleet, clock, results, commit, asked: () => asked };
}

for (const where of ['refine', 'owner', 'check', 'input', 'download']) {
  test(`a kind that throws in its ${where} is a diagnostic at the document, and what is good keeps serving`, async (t) => {
    const { fleet, clock, results, commit } = await published(
      t,
      memorySnapshot({ 'a.yaml': HOST + file('a') }),
    );
    await commit('c2', memorySnapshot({ 'a.yaml': HOST + file('b') + odd(`{at: ${where}}`) }));
    assert.deepEqual(results, ['published', 'refused']);
    const found = fleet.compilation!.diagnostics.map(formatDiagnostic);
    assert.equal(found.length, 1, found.join('\n'));
    assert.match(
      found[0]!,
      new RegExp(`^a\\.yaml:1[26]:\\d+: .*undefined is not a ${where}\\): this is a defect of homeostat`),
    );
    assert.equal(fleet.sourceProblem, undefined, 'git is not to blame');
    assert.match(fleet.assignments.payload('pi')!, /"File","name":"a"|"kind":"File","name":"a"/);
    assert.deepEqual(clock.pending(), [], 'the same commit would fail in the same way');
  });
}

test('a defect in the compiler is called one, names the commit, is not tried again, and lets the next commit pass', async (t) => {
  const { fleet, clock, results, commit } = await published(
    t,
    memorySnapshot({ 'a.yaml': HOST + file('a') }),
  );
  const good = memorySnapshot({ 'a.yaml': HOST + file('b') });
  const broken = { ...good, files: new Trap(good.files, Number.POSITIVE_INFINITY) };
  await commit('c2c2c2c2c2c2c2', broken);
  assert.deepEqual(results, ['published', 'defect']);
  assert.match(
    fleet.defect!,
    /^commit c2c2c2c2c2c2 can't be published because of a defect of homeostat: Maximum call/,
  );
  assert.equal(fleet.sourceProblem, undefined);
  assert.match(fleet.view().summary, /a defect of homeostat holds the newest commit back/);
  assert.doesNotMatch(fleet.view().summary, /git can’t be read/);
  assert.match(fleet.assignments.payload('pi')!, /"name":"a"/);
  assert.deepEqual(clock.pending(), []);
  await commit('c3', good);
  assert.equal(fleet.defect, undefined);
  assert.match(fleet.assignments.payload('pi')!, /"name":"b"/);
});

test('a document at which the compiler fails is named', async () => {
  const fails = { ...Odd };
  Object.defineProperty(fails, 'orphanOnly', {
    get: () => {
      throw new TypeError('a getter');
    },
  });
  const trap = new Map([...kinds, ['Odd', fails]]);
  const { diagnostics } = await compile(memorySnapshot({ 'a.yaml': HOST + odd('{}') }), trap);
  assert.match(
    diagnostics.map(formatDiagnostic)[0]!,
    /^a\.yaml:6:1: this Odd can't be checked \(a getter\): this is a defect/,
  );
});

test('a defect that hangs on what the last compilation remembers costs no commit', async (t) => {
  const { fleet, results, commit } = await published(t, memorySnapshot({ 'a.yaml': HOST + file('a') }));
  const next = memorySnapshot({ 'a.yaml': HOST + file('b') });
  await commit('c2', { ...next, files: new Trap(next.files, 1) });
  assert.deepEqual(results, ['published', 'published']);
  assert.match(fleet.assignments.payload('pi')!, /"name":"b"/);
});

test('a commit that git can’t read is git’s, and is tried again less and less often', async (t) => {
  const { fleet, clock, results, commit, asked } = await published(
    t,
    memorySnapshot({ 'a.yaml': HOST + file('a') }),
  );
  const good = memorySnapshot({ 'a.yaml': HOST + file('b') });
  const lost = new Map([
    ['a.yaml', { oid: 'lost', size: 1, read: async () => Promise.reject(new SourceError('it is lost')) }],
  ]);
  await commit('c2', { ...good, files: lost });
  assert.match(fleet.sourceProblem!, /^commit c2 can't be read: it is lost$/);
  assert.equal(fleet.defect, undefined);
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    waits.push(clock.pending()[0]!);
    await clock.advance(clock.pending()[0]!);
    await settle();
  }
  assert.deepEqual(waits, [5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
  assert.equal(asked(), 11);
  await commit('c3', good);
  assert.equal(results.at(-1), 'published');
  assert.deepEqual(clock.pending(), []);
});
