// The compiling thread: what comes out of it is what a compilation from scratch in one thread gives, whatever was edited
// before; and it may end, fail or be slow without the controller.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { startCompileThread } from '../../../cli/compile-thread.ts';
import { WorkerCompiler } from '../../../controller/compiler/worker-compiler.ts';
import type { Compiled } from '../../../controller/fleet/revision.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { SourceError } from '../../../controller/source/snapshot.ts';
import { kinds } from '../../../kinds/index.ts';
import { FakeClock } from '../../support/clock.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { memorySnapshot } from './support.ts';

function compiler(t: TestContext) {
  const started: Worker[] = [];
  const directory = temporaryDirectory(t);
  const clock = new FakeClock();
  const made = new WorkerCompiler({
    clock,
    start: () => {
      const worker = startCompileThread({ downloads: { directory } });
      started.push(worker);
      return worker;
    },
  });
  t.after(() => made.stop());
  return { made, started, clock };
}

const host = (name: string, extra = ''): string =>
  `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}}\nspec: {mode: enforce${extra}}\n`;
const file = (name: string, content: string, hosts = '{all: true}'): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\nhosts: ${hosts}\nspec: {path: /etc/${name}, ${content}}\n`;

async function whole(compiled: Compiled) {
  const { revision, diagnostics, again } = compiled;
  if (revision === undefined) return { diagnostics, again };
  const hosts = [];
  for (const [name, { document, documentText, payloadDigest, payloadText }] of revision.hosts) {
    const text = payloadText ?? (await revision.text?.(name, payloadDigest));
    const written = documentText ?? JSON.stringify(document);
    hosts.push({ name, document, written, payloadDigest, text });
  }
  hosts.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { diagnostics, again, commit: revision.commit, fleet: revision.fleet, hosts };
}

const EDIT = fc.record({
  path: fc.constantFrom('hosts/a.yaml', 'hosts/b.yaml', 'fleet.yaml', 'x.yaml', 'y.yaml', 'text.conf'),
  text: fc.constantFrom(
    undefined,
    host('a'),
    host('b', ', vars: {v: own}'),
    host('c') + '---\n' + host('d'),
    'apiVersion: homeostat.dev/v1\nkind: Fleet\nmetadata: {name: f}\nspec: {vars: {v: one}}\n',
    'apiVersion: homeostat.dev/v1\nkind: Fleet\nmetadata: {name: f}\nspec: {vars: {v: two}}\n',
    file('x', 'content: "${vars.v} ${host.name}"'),
    file('x', 'contentFrom: text.conf', '{names: [a]}'),
    file('y', 'content: same'),
    'of ${host.name}\n',
    '- broken',
  ),
});

test('after any edits, payloads, documents and diagnostics are those of a compilation from scratch', async (t) => {
  const { made, started } = compiler(t);
  await fc.assert(
    fc.asyncProperty(fc.array(EDIT, { minLength: 1, maxLength: 8 }), async (edits) => {
      let files: Record<string, string> = { 'hosts/a.yaml': host('a') };
      for (const [i, { path, text }] of edits.entries()) {
        files = { ...files };
        if (text === undefined) delete files[path];
        else files[path] = text;
        const here = await compile(memorySnapshot(files, `c${i}`), kinds);
        assert.deepEqual(await whole(await made.compile(memorySnapshot(files, `c${i}`))), await whole(here));
      }
    }),
    { numRuns: 40 },
  );
  assert.equal(started.length, 1);
});

test('hosts come in portions, and the files of a large commit are read in batches', async (t) => {
  const { made } = compiler(t);
  const files = Object.fromEntries(
    Array.from({ length: 700 }, (_, i) => [`h${i}.yaml`, host(`h${i}`)] as const),
  );
  const { revision } = await made.compile(memorySnapshot({ ...files, 'x.yaml': file('x', 'content: a') }));
  assert.equal(revision?.hosts.size, 700);
  const fewer = Object.fromEntries(Object.entries(files).slice(1));
  const next = await made.compile(memorySnapshot({ ...fewer, 'x.yaml': file('x', 'content: b') }, 'd'));
  assert.equal(next.revision?.hosts.has('h0'), false);
  const before = revision.hosts.get('h7')!;
  assert.match(
    (await next.revision?.text?.('h7', before.payloadDigest)) ?? '',
    /"content":"a"/,
    'still served',
  );
  const now = next.revision!.hosts.get('h7')!;
  assert.match((await next.revision?.text?.('h7', now.payloadDigest)) ?? '', /"content":"b"/);
  assert.equal(await next.revision?.text?.('h7', '0'.repeat(64)), undefined);
});

test('a file that can’t be read is the error that git gave; the next commit is compiled all the same', async (t) => {
  const { made } = compiler(t);
  const snapshot = memorySnapshot({ 'a.yaml': host('a') });
  const problem = new SourceError('the repository lacks object 123');
  const damaged = new Map(
    [...snapshot.files].map(([path, f]) => [path, { ...f, read: () => Promise.reject(problem) }]),
  );
  await assert.rejects(made.compile({ commit: 'c', files: damaged }), (error) => error === problem);
  assert.equal((await made.compile(snapshot)).revision?.hosts.size, 1);
});

test('a thread that ends is an error of its commit, and the next one gets another thread', async (t) => {
  const { made, started } = compiler(t);
  const snapshot = memorySnapshot({ 'a.yaml': host('a') });
  const first = await made.compile(snapshot);
  await started[0]!.terminate();
  const hanging = memorySnapshot({ 'a.yaml': host('b') });
  assert.equal((await made.compile(hanging)).revision?.hosts.has('b'), true);
  assert.equal(started.length, 2);
  assert.equal(await first.revision?.text?.('a', first.revision.hosts.get('a')!.payloadDigest), undefined);
});

test('a compilation that does not end is given up, and what waits for texts is told', async (t) => {
  const { made, started, clock } = compiler(t);
  const stuck = memorySnapshot({ 'a.yaml': host('a') });
  const files = new Map(
    [...stuck.files].map(([path, f]) => [path, { ...f, read: () => new Promise<Buffer>(() => {}) }]),
  );
  const compiling = made.compile({ commit: 'c', files });
  const rejected = assert.rejects(compiling, /did not end within 10 minutes/);
  await clock.advance(10 * 60_000);
  await rejected;
  assert.equal((await made.compile(stuck)).revision?.hosts.size, 1);
  assert.equal(started.length, 2);
});

test('a thread that can’t be started at all is an error, and no crash', async (t) => {
  const made = new WorkerCompiler({
    clock: new FakeClock(),
    start: () => new Worker('throw new Error("no memory")', { eval: true }),
  });
  t.after(() => made.stop());
  await assert.rejects(made.compile(memorySnapshot({})), /no memory/);
  await assert.rejects(made.compile(memorySnapshot({})), /no memory/);
});
