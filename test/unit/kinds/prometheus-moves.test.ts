// Jobs that change the document that has them: each pass takes what its document wants, whoever has it, and no document
// waits for another one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PrometheusHost } from '../../support/prometheus-passes.ts';
import { treeText } from '../../support/tree.ts';

type Documents = Readonly<Record<string, readonly string[]>>;

const job = (name: string) =>
  `# of ${name}\n- job_name: ${name}\n  static_configs:\n    - targets: ['${name}:1']\n`;

for (const form of ['block', 'file'] as const) {
  const spec = (names: readonly string[]) => ({
    form,
    scrapeConfigs: { content: names.map(job).join('\n') },
    ruleFiles: names.map((name) => `rules/${name}.yml`),
  });
  const open = (t: Parameters<typeof PrometheusHost.open>[0]) =>
    PrometheusHost.open(t, { version: form === 'file' ? '2.55.0' : '2.42.0' });
  const jobsOf = (host: PrometheusHost) =>
    [...host.served.whole().matchAll(/^ *- job_name: (\w+)/gm)].map((m) => m[1]).sort();

  for (const [name, from, to] of [
    ['renamed', { old: ['a', 'b'] }, { new: ['a', 'b'] }],
    ['renamed and changed', { old: ['a', 'b'] }, { new: ['b', 'c'] }],
    ['split in two, of which one is new', { one: ['a', 'b'] }, { one: ['a'], two: ['b'] }],
    ['split in two new ones', { one: ['a', 'b'] }, { two: ['a'], three: ['b'] }],
    ['joined', { one: ['a'], two: ['b'] }, { one: ['a', 'b'] }],
    ['joined in a new one', { one: ['a'], two: ['b'] }, { three: ['b', 'a'] }],
    ['swapped', { one: ['a'], two: ['b'] }, { one: ['b'], two: ['a'] }],
    ['handed round', { one: ['a'], two: ['b'], three: ['c'] }, { one: ['b'], two: ['c'], three: ['a'] }],
  ] as const satisfies readonly (readonly [string, Documents, Documents])[]) {
    const documents: readonly (readonly [string, readonly string[]])[] = Object.entries(to);
    for (const order of [documents, documents.toReversed()]) {
      const which = order.map(([key]) => key).join(', ');
      test(`${form}: ${name}, in the order ${which}`, async (t) => {
        const host = await open(t);
        const untouched = treeText(host.root);
        const first: [string, unknown][] = [];
        for (const [key, names] of Object.entries(from)) {
          first.push([key, (await host.pass(host.desire(key, spec(names)))).before]);
        }
        for (const [key, names] of order) await host.pass(host.desire(key, spec(names)));
        // A document whose job was taken before it gave it up has nothing left to do.
        for (const [key, names] of order) {
          assert.deepEqual(await host.changes(host.desire(key, spec(names))), []);
          assert.equal((await host.assess(host.desire(key, spec(names)))).verdict, 'Yes');
        }
        // What left git is undone by its own record, which finds what nobody took.
        for (const [key, before] of first.filter(([name]) => !(name in to))) {
          await host.undo(before, host.desire(key, spec([])));
        }
        assert.deepEqual(jobsOf(host), documents.flatMap(([, names]) => names).sort());
        for (const [key, names] of documents) {
          const own = first.find(([name]) => name === key)?.[1] ?? first[0]![1];
          await host.undo(own, host.desire(key, spec(names)));
        }
        assert.equal(treeText(host.root), untouched);
      });
    }
  }

  test(`${form}: a change that took a job from another document gives it back when it is undone`, async (t) => {
    const host = await open(t);
    await host.pass(host.desire('one', spec(['a', 'b'])));
    const withOne = treeText(host.root);
    const two = host.desire('two', spec(['b', 'c']));
    const { before } = await host.pass(two);
    await host.undo(JSON.parse(JSON.stringify(before)), two);
    assert.equal(treeText(host.root), withOne);
    await host.undo(before, two);
    assert.equal(treeText(host.root), withOne, 'again, as after a crash');
  });

  test(`${form}: what the other document has changed since is not given back`, async (t) => {
    const host = await open(t);
    await host.pass(host.desire('one', spec(['a', 'b'])));
    const two = host.desire('two', spec(['b']));
    const { before } = await host.pass(two);
    await host.pass(host.desire('one', spec(['a', 'd'])));
    await host.undo(before, two);
    assert.deepEqual(jobsOf(host), ['a', 'd']);
  });
}

test('a record that another document began with takes out what moved, and no more', async (t) => {
  const host = await PrometheusHost.open(t);
  const spec = (...names: string[]) => ({ scrapeConfigs: { content: names.map(job).join('\n') } });
  const one = host.desire('one', spec('a', 'b'));
  const { before } = await host.pass(one);
  // Cut off before its first pass, the document that b moved to leaves git.
  const owns = ['file:/prometheus.yml#scrape_configs/b'];
  await host.undo(before, host.desire('two', spec('b')), { owns });
  assert.deepEqual(await host.changes(host.desire('one', spec('a'))), []);
});

test('a document that was renamed and dropped a job leaves nothing of it', async (t) => {
  const host = await PrometheusHost.open(t);
  const spec = (...names: string[]) => ({ scrapeConfigs: { content: names.map(job).join('\n') } });
  await host.pass(host.desire('old', spec('a', 'b')));
  // The record came with all that the old one had.
  const held = ['a', 'b'].map((name) => `file:/prometheus.yml#scrape_configs/${name}`);
  await host.pass(host.desire('new', spec('b', 'c'), { held }));
  assert.doesNotMatch(host.text, /PrometheusConfig\/old|job_name: a/);
  // What it gave to another one since is that one's.
  await host.pass(host.desire('other', spec('c')));
  assert.deepEqual(await host.changes(host.desire('new', spec('b'), { held })), []);
});
