// What manifests/ and deploy/ ask for is made by what they ship, and what we read of Alloy's metrics is what a real one had.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { readCatalog } from '../../../controller/pipeline/compile.ts';
import { readDirectory } from '../../../controller/source/directory.ts';
import { collectorOf, selectorsOf } from '../../../kinds/grafana-dashboard/promql.ts';
import { kinds } from '../../../kinds/index.ts';
import { RECORDINGS, require, SHARED_DATA } from '../../support/capabilities.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');
const all = (pattern: string): string =>
  fs
    .globSync(pattern, { cwd: root })
    .map((file) => read(file))
    .join('\n');

/** Of every target that is scraped (prometheus.io/docs/concepts/jobs_instances). */
const OF_PROMETHEUS = new Set(['up', 'scrape_duration_seconds', 'scrape_samples_scraped']);

function strings(value: unknown, field: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === field && typeof inner === 'string' ? [inner] : strings(inner, field),
  );
}

async function queries(): Promise<{ where: string; query: string }[]> {
  const catalog = await readCatalog(readDirectory(path.join(root, 'manifests')), kinds);
  const checks = [...catalog.resources.values()]
    .filter(({ kind }) => kind?.kind === 'Check')
    .flatMap(({ key, spec }) =>
      strings((spec as { promql?: unknown }).promql, 'query').map((query) => ({ where: key, query })),
    );
  const rules = strings(load(read('deploy/prometheus/homeostat.rules.yml')), 'expr');
  const boards = fs
    .globSync('manifests/grafana/*.json', { cwd: root })
    .flatMap((file) => strings(JSON.parse(read(file)), 'expr').map((query) => ({ where: file, query })));
  return [...checks, ...rules.map((query) => ({ where: 'homeostat.rules.yml', query })), ...boards];
}

test('every metric that is asked for is one that is made, by us or by what manifests/ install', async () => {
  const source = all('{agent,controller,api}/**/*.ts');
  const collected = ['config.alloy', 'container.alloy'].map((file) => {
    const list = /set_collectors\s*=\s*\[([^\]]*)\]/.exec(read(`manifests/alloy/${file}`))?.[1] ?? '';
    return new Set([...list.matchAll(/"([a-z_]+)"/g)].map(([, name]) => name!));
  });
  const isMade = (metric: string): boolean => {
    if (OF_PROMETHEUS.has(metric)) return true;
    const own = /^homeostat_(?:controller_)?(.+?)(?:_bucket|_sum|_count)?$/.exec(metric)?.[1];
    if (own !== undefined) return source.includes(`'${own}'`);
    const collector = collectorOf(metric);
    return collector !== undefined && collected.every((names) => names.has(collector));
  };
  const asked = (await queries()).flatMap(({ where, query }) =>
    selectorsOf(query).map(({ metric }) => ({ where, metric })),
  );
  assert.ok(asked.length > 20, `${asked.length} metrics are asked for`);
  assert.deepEqual(
    asked.filter(({ metric }) => !isMade(metric)),
    [],
  );
});

test('every label that a Check asks by is one that the shipped configs write', async () => {
  const written = new Set(['job', 'instance', '__name__']);
  for (const file of ['config.alloy', 'container.alloy']) {
    const labels = [...read(`manifests/alloy/${file}`).matchAll(/target_label\s*=\s*"([a-z_]+)"/g)];
    assert.ok(labels.length > 0, file);
    for (const [, label] of labels) written.add(label!);
  }
  const asked = (await queries())
    .filter(({ where }) => where.startsWith('Check/'))
    .flatMap(({ where, query }) =>
      selectorsOf(query).flatMap(({ matchers }) => matchers.map(({ label }) => `${where} ${label}`)),
    );
  assert.ok(asked.length > 0);
  assert.deepEqual(
    asked.filter((one) => !written.has(one.split(' ')[1]!)),
    [],
  );
});

test('what is read of Alloy’s own metrics is what a real Alloy exposed', (t) => {
  if (!require(t, RECORDINGS)) return;
  const recorded = fs
    .globSync('**/*.json', { cwd: path.join(SHARED_DATA, 'alloy') })
    .map((file) => fs.readFileSync(path.join(SHARED_DATA, 'alloy', file), 'utf8'))
    .join('\n');
  const names = new Set(all('kinds/alloy-config/*.ts').match(/\balloy_config_[a-z_]+/g));
  assert.ok(names.size > 1);
  assert.deepEqual(
    [...names].filter((name) => !recorded.includes(name)),
    [],
  );
});
