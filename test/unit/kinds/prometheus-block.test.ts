// One block in a file that people edit: every other byte stays as it was.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BlockError,
  ownersIn,
  readBlock,
  withoutBlocks,
  writeBlock,
} from '../../../kinds/prometheus-config/block.ts';
import { jobsIn } from '../../../kinds/prometheus-config/jobs.ts';
import { added, THEIRS } from '../../support/prometheus-yml.ts';

const jobs = { key: 'scrape_configs', owner: 'PrometheusConfig/x' };
const ITEMS = '- job_name: ours\n  static_configs:\n    - targets: [a]';

test('the block joins the list, indented as the others; a diff shows only our lines', () => {
  const after = writeBlock(THEIRS, jobs, ITEMS);
  assert.deepEqual(added(THEIRS, after), [
    '    # BEGIN homeostat PrometheusConfig/x scrape_configs: edit in git, not here',
    '    - job_name: ours',
    '      static_configs:',
    '        - targets: [a]',
    '    # END homeostat PrometheusConfig/x scrape_configs',
  ]);
  assert.ok(
    after.indexOf('END homeostat') < after.indexOf('# --- long-term'),
    'before the next section’s comment',
  );
  assert.equal(readBlock(after, jobs), ITEMS);
});

test('written again nothing changes; changed only the block changes; removed all is as it was', () => {
  const once = writeBlock(THEIRS, jobs, ITEMS);
  assert.equal(writeBlock(once, jobs, ITEMS), once);
  const other = writeBlock(once, jobs, '- job_name: other');
  assert.equal(readBlock(other, jobs), '- job_name: other');
  assert.equal(writeBlock(other, jobs, undefined), THEIRS);
});

test('what people change around it stays, also when the block is written anew', () => {
  const once = writeBlock(THEIRS, jobs, ITEMS);
  const edited = once
    .replace('scrape_interval: 60s', 'scrape_interval: 90s')
    .replace('- targets: [a]', '- targets: [b]');
  const healed = writeBlock(edited, jobs, ITEMS);
  assert.equal(healed, once.replace('scrape_interval: 60s', 'scrape_interval: 90s'));
});

test('two documents have a block each', () => {
  const second = { ...jobs, owner: 'PrometheusConfig/y' };
  const both = writeBlock(writeBlock(THEIRS, jobs, ITEMS), second, '- job_name: second');
  assert.equal(readBlock(both, jobs), ITEMS);
  assert.equal(readBlock(both, second), '- job_name: second');
  assert.equal(writeBlock(both, second, undefined), writeBlock(THEIRS, jobs, ITEMS));
});

const CRLF = THEIRS.replaceAll('\n', '\r\n');
for (const [name, text] of Object.entries({ LF: THEIRS, CRLF, unended: THEIRS.trimEnd() })) {
  test(`a long file that people edit comes back byte for byte, and is only added to: ${name}`, () => {
    const files = { key: 'scrape_config_files', owner: 'PrometheusConfig/x' };
    const rules = { key: 'rule_files', owner: 'PrometheusConfig/x' };
    let now = writeBlock(writeBlock(writeBlock(text, jobs, ITEMS), rules, '- "ours.yml"'), files, '- "a"');
    const ours = added(
      `${text.replace(/\r?\n?$/, '')}${name === 'CRLF' ? '\r' : ''}\n`,
      `${now.trimEnd()}\n`,
    );
    assert.equal(
      ours.filter((line) => !/homeostat|ours|targets: \[a\]|- "a"|static_configs/.test(line)).length,
      0,
    );
    assert.equal(/\r\n/.test(now), name === 'CRLF');
    assert.equal(/[^\r]\n/.test(now), name !== 'CRLF', 'one kind of line end');
    for (const block of [rules, files, jobs]) now = writeBlock(now, block, undefined);
    assert.equal(now, text);
  });
}

test('a comment at the margin stays with what it belongs to', () => {
  const where = (text: string) =>
    writeBlock(text, jobs, '- job_name: ours')
      .split('\n')
      .map((l) => l.trim());
  const list = 'scrape_configs:\n- job_name: a\n';
  const off = where(`${list}# - job_name: off\n\nglobal: {}\n`);
  assert.ok(off.indexOf('# - job_name: off') < off.indexOf('- job_name: ours'), 'the list’s own');
  const next = where(`${list}# what follows\nglobal: {}\n`);
  assert.ok(next.indexOf('- job_name: ours') < next.indexOf('# what follows'), 'the next key’s');
  const apart = where(`${list}\n# what follows\n\nglobal: {}\n`);
  assert.ok(apart.indexOf('- job_name: ours') < apart.indexOf('# what follows'), 'a heading');
});

for (const [name, text] of Object.entries({
  'no such key': 'global: {}\n',
  'an empty file': '',
  'no newline at the end': 'global: {}',
  'a key without items': 'scrape_configs:\nglobal: {}\n',
  'items at the margin': 'scrape_configs:\n- job_name: a\n- job_name: b\nglobal: {}\n',
  CRLF: 'scrape_configs:\r\n  - job_name: a\r\n',
  'a quoted key': '"scrape_configs":\n  - job_name: a\nglobal: {}\n',
  'only a comment': '# nothing yet',
  'a key with a comment': 'scrape_configs: # ours\n  - job_name: a\n',
})) {
  test(`placed and taken out again: ${name}`, () => {
    const after = writeBlock(text, jobs, ITEMS);
    assert.equal(readBlock(after, jobs), ITEMS);
    const back = writeBlock(after, jobs, undefined);
    assert.equal(back, text);
  });
}

test('a list in one line, and half a block, are refused with their line', () => {
  for (const [value, remedy] of [
    ['[{job_name: a}]', /line 2: .*list in one line/],
    ['[ ]', /line 2: .*remove the brackets/],
  ] as const) {
    assert.throws(
      () => writeBlock(`a: 1\nscrape_configs: ${value}\n`, jobs, ITEMS),
      (e) => e instanceof BlockError && remedy.test(e.message),
    );
  }
  const half = writeBlock(THEIRS, jobs, ITEMS).replace(/.*END homeostat.*\n/, '');
  assert.throws(() => writeBlock(half, jobs, ITEMS), /half of the block's markers is missing/);
});

test('jobs are found by name and line: plain, quoted, in flow style; what is commented out is none', () => {
  assert.deepEqual(
    jobsIn(THEIRS).map(({ name }) => name),
    ['prometheus', 'cadvisor', 'flow', 'quoted'],
  );
  assert.equal(jobsIn(THEIRS)[1]!.line, 23);
  const names = (text: string) => jobsIn(text).map(({ name }) => name);
  assert.deepEqual(names('scrape_configs: [{job_name: a}, {scrape_interval: 3s, "job_name": "b, c"}]'), [
    'a',
    'b, c',
  ]);
  assert.deepEqual(names("- scrape_interval: 3s\r\n  job_name: 'it''s' # really\r\n"), ["it's"]);
  assert.deepEqual(names('- {\n    job_name: x,\n    scheme: https\n  }'), ['x']);
  assert.deepEqual(names('- job_name: a,b {c}'), ['a,b {c}']);
  assert.deepEqual(names('  # - job_name: off\n  no_job_name: x\n  regex: "#"\n'), []);
});

test('homeostat’s own blocks are none of theirs, and their lines still count', () => {
  const text = writeBlock(THEIRS, jobs, ITEMS);
  assert.ok(!withoutBlocks(text).includes('job_name: ours'));
  assert.equal(withoutBlocks(text).split('\n').length, text.split('\n').length);
  assert.deepEqual(ownersIn(text), ['PrometheusConfig/x']);
});
