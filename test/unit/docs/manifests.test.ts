// What people are told about manifests/ is there: documents and files by name, and every secret with its place.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { secretRefsIn } from '../../../agent/secrets/store.ts';
import { readCatalog } from '../../../controller/pipeline/compile.ts';
import { readDirectory } from '../../../controller/source/directory.ts';
import { kinds } from '../../../kinds/index.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');
const catalog = await readCatalog(readDirectory(path.join(root, 'manifests')), kinds);

test('docs/from-the-briefing.md names documents and files that there are', () => {
  const text = read('docs/from-the-briefing.md');
  const named = [...text.matchAll(/`([A-Z][A-Za-z]+\/[a-z0-9.-]+)`/g)].map(([, key]) => key!);
  assert.ok(named.length > 0);
  assert.deepEqual(
    named.filter((key) => !catalog.resources.has(key)),
    [],
    'not in manifests/',
  );
  const links = [...text.matchAll(/\]\(([^)#]+)/g)].map(([, link]) => path.join('docs', link!));
  assert.deepEqual(
    links.filter((link) => !fs.existsSync(path.join(root, link))),
    [],
  );
});

test('every document of manifests/ that hosts have today has its step in docs/from-the-briefing.md', () => {
  const text = read('docs/from-the-briefing.md');
  assert.deepEqual(
    [...catalog.resources.values()]
      .filter(({ document }) => document.metadata.annotations?.['homeostat.dev/optional'] === undefined)
      .map(({ key }) => key)
      .filter((key) => !text.includes(key)),
    [],
  );
});

test('what Fleet.spec.scrape says, jobs and ports, stands nowhere in the code that serves it', () => {
  const scrape = catalog.fleet?.document.spec.scrape ?? [];
  const known = scrape.flatMap(({ job, port }) => [job, String(port)]);
  assert.ok(known.length > 0);
  const files = ['api', 'controller'].flatMap((room) =>
    fs.globSync(`${room}/**/*.ts`, { cwd: root }).map((file) => ({ file, text: read(file) })),
  );
  assert.deepEqual(
    known.flatMap((word) =>
      files.flatMap(({ file, text }) => (text.includes(word) ? [`${file}: ${word}`] : [])),
    ),
    [],
  );
});

test('README says where each secret of manifests/ goes', () => {
  const section = /^## Where each secret goes$([\s\S]*?)^## /m.exec(read('README.md'))?.[1] ?? '';
  const places = [...catalog.resources.values()].flatMap(({ spec }) =>
    secretRefsIn(spec).map(({ secretFrom }) => Object.values(secretFrom)[0]!),
  );
  assert.deepEqual(
    [...new Set(places)].filter((place) => !section.includes(`\`${place}\``)),
    [],
  );
});

test('every job that a Check of manifests/ asks for is one that the shipped configs make', () => {
  const made = new Set<string>();
  for (const file of ['alloy/config.alloy', 'alloy/container.alloy']) {
    // Alloy's sources write their own names into the label: a rule has to come after (data/alloy/behaviour.md).
    const text = read(`manifests/${file}`);
    for (const [, job] of text.matchAll(/target_label\s*=\s*"job"\s+replacement\s*=\s*"([^"]+)"/g))
      made.add(job!);
    for (const [source] of text.matchAll(/^loki\.source\.journal [^{]*\{[\s\S]*?^\}/gm)) {
      assert.match(source, /relabel_rules\s*=\s*loki\.relabel\./, file);
    }
    assert.match(text, /set_collectors\s*=\s*\[[^\]]*"uname"/, 'what node_uname_info is from');
  }
  for (const [, job] of read('manifests/fleet.yaml').matchAll(/- job: (\S+)/g)) made.add(job!);
  for (const [, job] of read('manifests/central/prometheus.yaml').matchAll(/job_name: (\S+)/g))
    made.add(job!);
  const asked = [...read('manifests/checks.yaml').matchAll(/[{,]\s*job="([^"]+)"/g)].map(([, job]) => job!);
  assert.ok(asked.length > 1);
  assert.deepEqual(
    asked.filter((job) => !made.has(job)),
    [],
  );
});
