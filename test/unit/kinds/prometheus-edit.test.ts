// An edit of a prometheus.yml that people write adds ours and changes nothing else, or it is refused with a line,
// whatever the file looks like. The judge is a parser.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { loadAll } from 'js-yaml';
import { Stalled, Waiting } from '../../../api/errors.ts';
import { NO_PART, type Part, type Parts } from '../../../kinds/prometheus-config/parts.ts';
import { type Edit, editedText, requirePlaceable } from '../../../kinds/prometheus-config/write.ts';
import { parseYaml } from '../../../kinds/shared/yaml.ts';
import { RECORDINGS, require, SHARED_DATA } from '../../support/capabilities.ts';
import { THEIRS } from '../../support/prometheus-yml.ts';

const OWNER = 'PrometheusConfig/jobs';
const OURS: Part = {
  ...NO_PART,
  scrape_configs: "- job_name: ours\n  # why\n  static_configs: [{targets: ['127.0.0.1:1']}]",
  rule_files: '- "ours.yml"',
};
const ITEM = { job_name: 'ours', static_configs: [{ targets: ['127.0.0.1:1'] }] };

function edit(text: string, wanted: Part, now: Part = NO_PART): Edit {
  const config = { type: 'file', content: Buffer.from(text), mode: 0o644, uid: 0, gid: 0 } as const;
  const parts = (part: Part): Parts => new Map([[OWNER, part]]);
  return { path: '/p.yml', inPlace: false, config, text, now: parts(now), wanted: parts(wanted) };
}

/** @returns the edited text, or why it is refused. */
async function place(text: string, wanted = OURS, now = NO_PART): Promise<string | Stalled | Waiting> {
  try {
    const change = edit(text, wanted, now);
    await requirePlaceable(change);
    return editedText(change);
  } catch (error) {
    if (error instanceof Stalled || error instanceof Waiting) return error;
    throw error;
  }
}

type Document = Record<string, unknown>;
const first = (text: string) => (loadAll(text)[0] ?? {}) as Document;
const lists = ({ scrape_configs, rule_files, ...others }: Document) => ({
  jobs: (scrape_configs ?? []) as unknown[],
  rules: (rule_files ?? []) as unknown[],
  others,
});

/** What is right of every text: added to and nothing else, and byte for byte as before once ours is out again. */
async function requireRight(text: string): Promise<'placed' | string> {
  const edited = await place(text);
  if (typeof edited !== 'string') {
    assert.match(edited.message, /^\/p\.yml: line \d+: /);
    return edited.message;
  }
  const [before, after] = [lists(first(text)), lists(first(edited))];
  assert.deepEqual(after.others, before.others);
  const isOurs = (job: unknown) => (job as { job_name?: string })?.job_name === 'ours';
  assert.deepEqual(after.jobs.filter(isOurs), [ITEM]);
  assert.deepEqual(
    after.jobs.filter((job) => !isOurs(job)),
    before.jobs,
  );
  assert.deepEqual(
    after.rules.filter((rule) => rule !== 'ours.yml'),
    before.rules,
  );
  assert.ok(after.rules.includes('ours.yml'));
  assert.deepEqual(loadAll(edited).slice(1), loadAll(text).slice(1), 'what stands behind it');
  assert.equal(await place(edited, NO_PART, OURS), text);
  return 'placed';
}

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const jobs = oneOf(
  '- job_name: a',
  "- job_name: 'b'\n  static_configs:\n  - targets: [x:1]",
  '- {job_name: c, metrics_path: /x}',
  '# - job_name: off\n- job_name: d # on',
  '- static_configs: [\n    {targets: [y:1]},\n  ]\n  job_name: >-\n    folded',
  '- job_name: e\n  metric_relabel_configs:\n  - regex: |-\n      - job_name: no\n      ...x\n\n      # END homeostat\n    action: drop',
  '\n\n- job_name: f\n',
);
const indented = (by: string) => (text: string) => text.replace(/^(?=.)/gm, by);
const list = (key: string, item: fc.Arbitrary<string>) =>
  fc
    .record({
      items: fc.array(item, { minLength: 1, maxLength: 3 }),
      by: oneOf('', ' ', '  ', '    '),
      name: oneOf(key, `"${key}"`, `'${key}'`),
      tail: oneOf('', '  # all', ' '),
    })
    .map(({ items, by, name, tail }) => `${name}:${tail}\n${indented(by)(items.join('\n'))}`);
const odd = (key: string) =>
  oneOf(
    `${key}:`,
    `${key}: ~`,
    `${key}: null`,
    `${key}: []`,
    `${key}: [{job_name: z}]`,
    `${key}:\n  [{job_name: z},\n  {job_name: y}]`,
    `${key}: &x\n- job_name: anchored`,
    `? ${key}\n: - job_name: explicit`,
    `${key}: |\n  - job_name: text`,
    `${key}: !!seq\n- job_name: tagged`,
  );
const other = oneOf(
  'global: {scrape_interval: 15s}',
  'global:\n  external_labels:\n    note: |\n      scrape_configs:\n      - job_name: no\n\n      # text',
  'alerting:\n  alertmanagers: []',
  '# a comment\n# scrape_configs:\n#   - job_name: off',
  'storage: "quoted\n  over lines # no comment\n\n  scrape_configs: x"',
  'remote_write:\n- url: http://x # y',
  '',
);
const section = fc.oneof(
  { weight: 4, arbitrary: other },
  { weight: 3, arbitrary: list('scrape_configs', jobs) },
  { weight: 1, arbitrary: list('rule_files', oneOf('- a.yml', '- "b/*.yml" # x')) },
  { weight: 1, arbitrary: odd('scrape_configs') },
  { weight: 1, arbitrary: odd('rule_files') },
);
const config = fc
  .record({
    head: oneOf('', '---\n', '# top\n---\n', '%YAML 1.2\n---\n', '\uFEFF', '--- # x\n', '\n\n'),
    sections: fc.array(section, { maxLength: 5 }),
    tail: oneOf('', '', '...\n', '...\n# more\n', '---\nsecond: 1\n', '\n\n# the end\n', '--- # empty\n'),
    shape: oneOf('as is', 'as is', 'as is', 'indented', 'CRLF', 'unended', 'JSON'),
  })
  .map(({ head, sections, tail, shape }) => {
    const text = `${head}${sections.map((s) => `${s}\n`).join('')}${tail}`;
    switch (shape) {
      case 'indented':
        return indented('  ')(text);
      case 'CRLF':
        return text.replaceAll('\n', '\r\n');
      case 'unended':
        return text.trimEnd();
      case 'JSON':
        return `${JSON.stringify({ global: {}, scrape_configs: [{ job_name: 'a' }] }, null, 1)}\n${tail}`;
      default:
        return text;
    }
  });
const isYaml = (text: string): boolean => {
  try {
    return typeof first(text) === 'object' && !Array.isArray(first(text));
  } catch {
    return false;
  }
};

test('whatever the file looks like, ours is read and nothing else is changed, or it is refused with a line', async () => {
  let placed = 0;
  await fc.assert(
    fc.asyncProperty(config.filter(isYaml), async (text) => {
      if ((await requireRight(text)) === 'placed') placed += 1;
    }),
    { numRuns: 2_000 },
  );
  assert.ok(placed > 500, `most are of a form that takes a block: ${placed}`);
});

test('a long file that people edit takes a block, and a list in brackets may be closed at any margin', async () => {
  assert.equal(await requireRight(THEIRS.replace('\n      ]\n', '\n        ]\n')), 'placed');
  // Prometheus reads it so, too.
  assert.equal(typeof (await place(THEIRS)), 'string');
  const [closed] = await parseYaml('a: [\n  b,\n]\nc:\n  - d: "x\n y"\n    e: [\n  f]\n');
  assert.deepEqual(closed, { a: ['b'], c: [{ d: 'x y', e: ['f'] }] });
});

for (const [name, text, outcome] of [
  ['before the end of the document', '---\n# by a role\nglobal: {}\n...\n', 'placed'],
  ['before a second document', 'global: {}\n---\nmore: 1\n', 'placed'],
  ['indented', '  global: {}\n  scrape_configs:\n    - job_name: a\n', /line 2: .*indented.*margin/],
  ['JSON', '{"global": {},\n "scrape_configs": []}\n', /line 1: .*braces.*line of its own/],
  ['a list in several lines', 'scrape_configs:\n  [{job_name: a},\n  {job_name: b}]\n', /line 1: /],
  ['a word for nothing', 'global: {}\nrule_files: ~\n', /line 2: "rule_files: ~": remove the word ~/],
  ['text', 'scrape_configs: |\n  - job_name: a\n', /line 1: /],
  ['no YAML', 'global: {}\nscrape_configs: [\n', /line \d: .*no YAML/],
] as const) {
  test(`a text of another form: ${name}`, async () => {
    const result = await requireRight(text).catch(async () => (await place(text)) as Stalled);
    const words = typeof result === 'string' ? result : result.message;
    if (outcome === 'placed') assert.equal(words, 'placed');
    else assert.match(words, outcome);
  });
}

test('a block that YAML does not read is not taken for ours, and not taken out of what it is part of', async () => {
  const placed = (await place('global: {}\n')) as string;
  const block = placed.slice('global: {}\n'.length);
  // Somebody ended the document above it: put in anew, it would not be read either.
  const unread = await place(`global: {}\n...\n${block}`, { ...OURS, rule_files: '- "more.yml"' }, OURS);
  assert.ok(unread instanceof Stalled, String(unread));
  assert.equal(unread.reason, 'Unplaceable');
  // A note that quotes it is theirs.
  const quoted = `note: |\n${block.replace(/^/gm, '  ')}global: {}\n`;
  const kept = await place(quoted, NO_PART, OURS);
  assert.ok(kept instanceof Stalled, String(kept));
  assert.match(kept.message, /inside a value/);
});

test('files as people have them take a block, or are refused with a line', async (t) => {
  if (!require(t, RECORDINGS)) return;
  const cases = path.join(path.dirname(SHARED_DATA), 'cases');
  const folder = path.join(cases, '27-prometheus-yml-as-people-have-them', 'layouts');
  for (const name of fs.readdirSync(folder)) {
    const text = fs.readFileSync(path.join(folder, name), 'utf8');
    for (const form of [text, text.replaceAll('\n', '\r\n'), text.trimEnd()]) await requireRight(form);
  }
});
