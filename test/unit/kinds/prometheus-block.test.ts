// One block in a file that people edit: every other byte stays as it was.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTwoFilesPatch } from 'diff';
import { BlockError, linesOutside, readBlock, writeBlock } from '../../../kinds/prometheus-config/block.ts';

const jobs = { key: 'scrape_configs', owner: 'PrometheusConfig/x' };
const ITEMS = '- job_name: ours\n  static_configs:\n    - targets: [a]';

/** Long, commented and hand-indented, as people's files are. */
const THEIRS = `# Prometheus on the mac -- ask Anna before touching the alerts!
global:
    scrape_interval:   15s   # was 10s
    evaluation_interval: 15s

alerting:
    alertmanagers:
        - static_configs:
              - targets: ['alertmanager:9093']

rule_files:
    - alerts/*.yml      # all of them

# --- what we scrape --------------------------------------------
scrape_configs:

    # Prometheus itself
    - job_name: 'prometheus'
      static_configs:
          - targets: ['localhost:9090']


    - job_name: cadvisor            # heavy, keep at 60s
      scrape_interval: 60s
      static_configs:
          - targets:
                - cadvisor:8080
      # metric_relabel_configs:
      #     - source_labels: [__name__]

# --- long-term storage, off for now ----------------------------
#remote_write:
#    - url: http://elsewhere/

storage:
    tsdb:
        out_of_order_time_window: 30m
`;

function added(before: string, after: string): string[] {
  const patch = createTwoFilesPatch('a', 'b', before, after).split('\n');
  assert.deepEqual(
    patch.filter((l) => /^-(?!--)/.test(l)),
    [],
    'nothing of theirs is taken away',
  );
  return patch.filter((l) => /^\+(?!\+\+)/.test(l)).map((l) => l.slice(1));
}

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

for (const [name, text] of Object.entries({
  'no such key': 'global: {}\n',
  'an empty file': '',
  'no newline at the end': 'global: {}',
  'a key without items': 'scrape_configs:\nglobal: {}\n',
  'items at the margin': 'scrape_configs:\n- job_name: a\n- job_name: b\nglobal: {}\n',
  CRLF: 'scrape_configs:\r\n  - job_name: a\r\n',
  'a key with a comment': 'scrape_configs: # ours\n  - job_name: a\n',
})) {
  test(`placed and taken out again: ${name}`, () => {
    const after = writeBlock(text, jobs, ITEMS);
    assert.equal(readBlock(after, jobs), ITEMS);
    const back = writeBlock(after, jobs, undefined);
    assert.equal(back, text === '' || text.endsWith('\n') ? text : `${text}\n`);
  });
}

test('a list in one line, and half a block, are refused with their line', () => {
  assert.throws(
    () => writeBlock('a: 1\nscrape_configs: []\n', jobs, ITEMS),
    (e) => e instanceof BlockError && /line 2: .*list in one line/.test(e.message),
  );
  const half = writeBlock(THEIRS, jobs, ITEMS).replace(/.*END homeostat.*\n/, '');
  assert.throws(() => writeBlock(half, jobs, ITEMS), /half of the block's markers is missing/);
});

test('a job of the same name outside the block is found, with its line', () => {
  const once = writeBlock(THEIRS, jobs, ITEMS);
  assert.deepEqual(linesOutside(once, jobs, 'job_name', 'ours'), []);
  assert.deepEqual(linesOutside(THEIRS, jobs, 'job_name', 'cadvisor'), [23]);
  assert.deepEqual(linesOutside(THEIRS, jobs, 'job_name', 'prometheus'), [18]);
});
