// What documents have downloaded: fetched once, checked, kept, and told with its place when it fails.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import * as z from 'zod';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { sha256 } from '../../../api/json.ts';
import { Publisher, type PublishResult } from '../../../controller/fleet/publisher.ts';
import { type Compilation, compile } from '../../../controller/pipeline/compile.ts';
import { readDirectory } from '../../../controller/source/directory.ts';
import { DownloadStore, type Downloads, parseMirrors } from '../../../controller/source/downloads.ts';
import { kinds } from '../../../kinds/index.ts';
import { type AnyKind, defineKind } from '../../../kinds/kind.ts';
import { RECORDINGS, require } from '../../support/capabilities.ts';
import { FakeClock } from '../../support/clock.ts';
import { serveGrafanaCom } from '../../support/grafana/grafana-com.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { memorySnapshot } from './support.ts';

const never = (): never => {
  throw new Error('the controller must not run a kind');
};
const Spec = z.strictObject({
  page: z.strictObject({ number: z.int(), sha256: z.string() }).optional(),
  content: z.string().optional(),
});
const book: AnyKind = defineKind<z.infer<typeof Spec>, null, never, null>({
  ...{ observe: never, diff: never, assess: never, prepare: never, apply: never, undo: never, needs: [] },
  before: { version: 1, schema: z.null() },
  kind: 'Book',
  scope: 'fleet',
  spec: Spec,
  owns: () => ['book:it'],
  permissions: () => [],
  check: ({ content }) => (content === 'bad\n' ? [{ path: ['page'], message: 'it is a bad page' }] : []),
  downloads: ({ page }) =>
    page === undefined
      ? []
      : [
          {
            path: ['page'],
            url: `https://books.example/${page.number}`,
            sha256: page.sha256,
            into: ['content'],
          },
        ],
});
const books = new Map([[book.kind, book]]);

/** Pages by number; `broken` answers 500. */
async function library(t: TestContext, pages: Record<string, string | Buffer | number>) {
  const asked: string[] = [];
  const server = http.createServer((request, response) => {
    asked.push(request.url!);
    const page = pages[request.url!.slice(1)];
    if (typeof page === 'number' || page === undefined) response.writeHead(page ?? 404).end();
    else response.end(page);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const directory = path.join(temporaryDirectory(t), 'downloads');
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const mirrors = new Map([['https://books.example', base]]);
  const open = (more: object = {}) => new DownloadStore({ directory, mirrors, retryMs: 1, ...more });
  return { asked, pages, directory, open };
}

const HOST = 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: mac}\nspec: {vars: {page: 1}}\n';
const doc = (number: string | number, text: string | Buffer, more = '') => `${HOST}---
apiVersion: homeostat.dev/v1
kind: Book
metadata: {name: b}
runOn: mac
spec:
  page: {number: ${number}, sha256: ${sha256(text)}}
${more}`;

async function compiled(text: string, downloads: Downloads | undefined, previous?: Compilation) {
  const result = await compile(memorySnapshot({ 'b.yaml': text }), books, previous, downloads);
  const payload = result.revision?.hosts.get('mac')?.payloadText;
  const spec = payload === undefined ? undefined : JSON.parse(payload).resources[0]?.spec;
  return { result, spec, told: result.diagnostics.map(formatDiagnostic) };
}

test('a download comes into the spec, once, whatever happens to its source afterwards', async (t) => {
  const { asked, pages, open } = await library(t, { 1: 'one\n' });
  const first = await compiled(doc(1, 'one\n'), open());
  assert.deepEqual(first.told, []);
  assert.equal(first.spec.content, 'one\n');
  pages[1] = 'another';
  // The next compilation, and a controller that was started again.
  const next = await compiled(doc(1, 'one\n'), open(), first.result);
  const later = await compiled(doc(1, 'one\n'), open());
  assert.equal(
    later.result.revision?.hosts.get('mac')?.payloadText,
    first.result.revision?.hosts.get('mac')?.payloadText,
  );
  assert.equal(next.spec.content, 'one\n');
  assert.deepEqual(asked, ['/1']);
});

test('another digest than the one that is asked for is an error at its place, with the one that came', async (t) => {
  const { open, directory } = await library(t, { 1: 'tampered\n' });
  const { told, result } = await compiled(doc(1, 'one\n'), open());
  assert.equal(told.length, 1);
  assert.match(told[0]!, /^b\.yaml:11:9: what http:.*\/1 gives has the sha256 /);
  assert.ok(told[0]!.includes(sha256('tampered\n')));
  assert.equal(result.revision, undefined);
  assert.equal(result.again, false, 'trying again would not help');
  assert.equal(fs.existsSync(path.join(directory, sha256('one\n'))), false);
});

test('what can not be reached is an error that may pass, and only a warning where that was asked for', async (t) => {
  const { open, pages } = await library(t, { 1: 503 });
  const failed = await compiled(doc(1, 'one\n'), open());
  assert.match(failed.told[0]!, /^b\.yaml:11:9: .*can't be fetched \(it answers 503\)/);
  assert.equal(failed.result.again, true);
  const lenient = await compiled(doc(1, 'one\n'), open({ unreachable: 'warning' }));
  assert.match(lenient.told[0]!, /^b\.yaml:11:9: warning: /);
  assert.ok(lenient.result.revision);
  pages[1] = 'one\n';
  const mended = await compiled(doc(1, 'one\n'), open(), failed.result);
  assert.deepEqual(mended.told, []);
  assert.equal(mended.spec.content, 'one\n');
  const none = await compiled(doc(1, 'one\n'), undefined);
  assert.match(none.told[0]!, /nothing is downloaded here/);
});

test('a copy that was damaged on the disk is fetched again; one that was put there by hand counts', async (t) => {
  const { asked, directory, open } = await library(t, { 1: 'one\n' });
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, sha256('two\n')), 'two\n');
  assert.equal((await compiled(doc(2, 'two\n'), open())).spec.content, 'two\n');
  assert.deepEqual(asked, []);
  fs.writeFileSync(path.join(directory, sha256('one\n')), 'on');
  assert.equal((await compiled(doc(1, 'one\n'), open())).spec.content, 'one\n');
  assert.deepEqual(asked, ['/1']);
  assert.deepEqual(fs.readdirSync(directory).sort(), [sha256('one\n'), sha256('two\n')].sort());
});

test('nothing of the text is read as a variable, a variable may name it, and content beside it is refused', async (t) => {
  const text = 'it costs ${vars.nothing} and $' + '${x}\n';
  const { open } = await library(t, { 1: text, 2: Buffer.from([0xff, 0xfe]) });
  assert.equal((await compiled(doc(1, text), open())).spec.content, text);
  assert.equal((await compiled(doc('"${vars.page}"', text), open())).spec.content, text);
  const both = await compiled(doc(1, text, '  content: mine\n'), open());
  assert.match(both.told[0]!, /^b\.yaml:11:9: .*content stands already/);
  const binary = await compiled(doc(2, Buffer.from([0xff, 0xfe])), open());
  assert.match(binary.told[0]!, /not UTF-8/);
});

test('what a kind finds wrong in a download is told where the download is named', async (t) => {
  const { open } = await library(t, { 1: 'bad\n' });
  assert.match((await compiled(doc(1, 'bad\n'), open())).told[0]!, /^b\.yaml:11:9: it is a bad page/);
});

test('the same text named twice is fetched once', async (t) => {
  const { open, asked } = await library(t, { 1: 'one\n' });
  const store = open();
  const wanted = { url: 'https://books.example/1', sha256: sha256('one\n') };
  await Promise.all([store.get(wanted), store.get(wanted)]);
  assert.deepEqual(asked, ['/1']);
});

test('mirrors are written as ORIGIN=BASE, and anything else is told', () => {
  const two = 'https://grafana.com=http://127.0.0.1:8000, https://a.example=https://b.example/a';
  assert.deepEqual([...parseMirrors(two)].length, 2);
  assert.deepEqual([...parseMirrors('')], []);
  assert.throws(() => parseMirrors('grafana.com'), /ORIGIN=BASE.*not grafana\.com/);
});

test('the controller tries again what could not be reached, and serves the last good revision meanwhile', async (t) => {
  const { open, pages } = await library(t, { 1: 503 });
  const clock = new FakeClock();
  const results: PublishResult[] = [];
  const published: (string | undefined)[] = [];
  const snapshot = memorySnapshot({ 'b.yaml': doc(1, 'one\n') });
  let compiledOnce = Promise.withResolvers<void>();
  const publisher = new Publisher({
    source: {
      start: async (listener) =>
        listener({ head: { commit: 'c1', subject: '', author: '', at: '2026-01-01T00:00:00Z' } }),
      stop: async () => {},
      refresh: async () => {},
      snapshot: async () => ({ ...snapshot, close: async () => {} }),
    },
    fleet: {
      sourceChanged: () => {},
      compiled: (_head: unknown, c: Compilation) => {
        published.push(c.revision?.hosts.get('mac')?.payloadText);
        return c.revision === undefined ? undefined : { sequence: 1, hosts: 1 };
      },
    } as never,
    kinds: books,
    downloads: open(),
    clock,
    log: pino({ level: 'silent' }),
    onResult: (result) => {
      results.push(result);
      compiledOnce.resolve();
    },
  });
  t.after(() => publisher.stop());
  await publisher.start();
  assert.deepEqual(results, ['refused']);
  pages[1] = 'one\n';
  compiledOnce = Promise.withResolvers<void>();
  await clock.advance(60_000);
  await compiledOnce.promise;
  assert.deepEqual(results, ['refused', 'published']);
  assert.match(published[1]!, /"content":"one\\n"/);
});

test('manifests/ is valid as it stands, with the dashboards served from loopback', async (t) => {
  if (!require(t, RECORDINGS)) return;
  const { mirrors, asked } = await serveGrafanaCom(t);
  const directory = temporaryDirectory(t);
  const manifests = path.join(import.meta.dirname, '../../../manifests');
  const result = await compile(
    readDirectory(manifests),
    kinds,
    undefined,
    new DownloadStore({ directory, mirrors }),
  );
  assert.deepEqual(result.diagnostics.map(formatDiagnostic), []);
  assert.equal(asked.length, 3);
  const { resources } = JSON.parse(result.revision!.hosts.get('mac-mini')!.payloadText);
  const dashboards = resources.filter((r: { kind: string }) => r.kind === 'GrafanaDashboard');
  assert.equal(dashboards.length, 4);
  for (const { spec } of dashboards) assert.ok(JSON.parse(spec.content).title, spec.uid);
  for (const host of ['digitalocean', 'raspberry-pi'])
    assert.ok(!result.revision!.hosts.get(host)!.payloadText.includes('Grafana'), 'only the host of runOn');
});
