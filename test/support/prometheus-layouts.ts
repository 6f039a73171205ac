// How people write a prometheus.yml besides the usual way, and what is to come of each: it is extended, or refused for a
// reason that fits. Those of the recordings are judged by the same table.

export interface Layout {
  readonly text: string | Buffer;
  /** How it is refused, where it is. */
  readonly refused?: RegExp;
  /** Prometheus itself does not load it. */
  readonly isBroken?: true;
}

/** A job of theirs that every one of them has, unless it is broken. */
const JOB = '- job_name: theirs\n  static_configs: [{targets: [x:1]}]\n';
const INDENTED = JOB.replace(/^/gm, '  ').trimEnd();

export const LAYOUTS: Readonly<Record<string, Layout>> = {
  // Anchors, aliases and merge keys.
  'an anchored list': { text: `scrape_configs: &jobs\n${JOB}` },
  'an anchored item': { text: `scrape_configs:\n- &a\n  job_name: theirs\n- <<: *a\n  job_name: second\n` },
  'an item from an alias': {
    text: `scrape_configs:\n- job_name: theirs\n  static_configs: &s\n  - targets: [x:1]\n- job_name: b\n  static_configs: *s\n`,
  },
  'our name by a merge key': {
    text: `scrape_configs:\n- &a {job_name: ours, metrics_path: /x}\n- <<: [*a]\n  job_name: theirs\n`,
    refused: /line 2|:2: /,
  },
  'our name by a merge key only': {
    text: `global:\n  external_labels: &a {job_name: ours}\nscrape_configs:\n- <<: *a\n`,
    refused: /:\d+: there is a job ours/,
  },
  'jobs by a merge key of the whole': {
    text: `<<: {scrape_configs: [{job_name: theirs}]}\n`,
    refused: /line 1: .*<</,
  },
  'rule files by a merge key of the whole': {
    text: `<<:\n- {rule_files: [a.yml]}\nscrape_configs:\n${JOB}`,
    refused: /line 1: .*<</,
  },
  'a merge key of the whole with other keys': {
    text: `<<: {global: {scrape_interval: 9s}}\nscrape_configs:\n${JOB}`,
  },
  // Tabs and other white space.
  'tabs between words': {
    text: `scrape_configs:\t# all\n- job_name: theirs\t# x\n  metrics_path:\t/x\n`,
  },
  'a tab in a line of its own': { text: `scrape_configs:\n${JOB}\t\n`, refused: /./, isBroken: true },
  'a tab as indentation': {
    text: `scrape_configs:\n\t- job_name: theirs\n`,
    refused: /line 2/,
    isBroken: true,
  },
  'wide dashes': { text: `scrape_configs:\n  -   job_name: theirs\n      metrics_path: /x\n` },
  'a dash alone': { text: `scrape_configs:\n  -\n    job_name: theirs\n  - # second\n    job_name: b\n` },
  'items deep inside': { text: `scrape_configs:\n          - job_name: theirs\n` },
  'blanks at the ends of lines': { text: `scrape_configs:   \n- job_name: theirs   \n   \n` },
  'a lone carriage return': {
    text: `global: {}\rscrape_configs:\r- job_name: theirs\r`,
    refused: /line 1: /,
  },
  'a lone carriage return at the end': {
    text: `scrape_configs:\n${JOB}\r`,
    refused: /line 4: .*carriage return/,
  },
  // A mark at the beginning, and other encodings.
  'a byte order mark before the list': { text: `\uFEFFscrape_configs:\n${JOB}` },
  'a byte order mark before another key': { text: `\uFEFFglobal: {}\nscrape_configs:\n${JOB}` },
  'a byte order mark before braces': {
    text: `\uFEFF{scrape_configs: [{job_name: theirs}]}\n`,
    refused: /line 1: .*braces/,
  },
  Latin1: {
    text: Buffer.from(`# \xDCberwachung\nscrape_configs:\n${JOB}`, 'latin1'),
    refused: /line 1: .*UTF-8/,
    isBroken: true,
  },
  'UTF-16': { text: Buffer.from(`\uFEFFscrape_configs:\n${JOB}`, 'utf16le'), refused: /line 1: .*UTF-8/ },
  // Keys.
  'a comment behind a key': { text: `scrape_configs: # - job_name: no\n${JOB}rule_files: #x\n- a.yml\n` },
  'no comment behind a key': { text: `scrape_configs:#x\n${JOB}`, refused: /line \d/, isBroken: true },
  'quoted keys': { text: `"scrape_configs":\n${JOB}'rule_files' :\n- a.yml\n` },
  'a key with an escape': { text: `"scrape\\x5fconfigs":\n${JOB}`, refused: /line 1: / },
  'an explicit key': { text: `? scrape_configs\n: - job_name: theirs\n`, refused: /line 1: / },
  'a key with a tag': { text: `!!str scrape_configs:\n${JOB}`, refused: /line 1: / },
  'the same key twice': {
    text: `scrape_configs:\n${JOB}global: {}\nscrape_configs:\n- job_name: b\n`,
    refused: /line 5: .*duplicate/i,
    isBroken: true,
  },
  'the same key twice in another list': {
    text: `global: {}\nglobal: {}\nscrape_configs:\n${JOB}`,
    refused: /line 2: .*duplicate/i,
    isBroken: true,
  },
  'a key that Prometheus does not know': {
    text: `x-jobs: 1\nscrape_configs:\n${JOB}`,
    refused: /x-jobs/,
    isBroken: true,
  },
  // Values.
  'no jobs in brackets': {
    text: `global: {}\nscrape_configs: []\n`,
    refused: /line 2: .*remove the brackets/,
  },
  'no jobs in brackets, over lines': { text: `scrape_configs: [\n]\n`, refused: /line 1: / },
  'jobs in brackets': { text: `scrape_configs: [{job_name: theirs}]\n`, refused: /line 1: .*in lines below/ },
  'a tagged list': { text: `scrape_configs: !!seq\n${JOB}` },
  'a list with an anchor that is used': {
    text: `scrape_configs: &x\n${JOB}remote_write: *x\n`,
    refused: /line|unmarshal/,
    isBroken: true,
  },
  'an empty key': { text: `global: {}\nscrape_configs:\nrule_files:\n` },
  'a text that looks like the list': {
    text: `global:\n  external_labels:\n    note: |\n      scrape_configs:\n      - job_name: no\nscrape_configs:\n${JOB}`,
  },
  'a text that is kept to its end': {
    text: `scrape_configs:\n${JOB}global:\n  external_labels:\n    note: |+\n      x\n\n\n`,
  },
  'a list that ends in a text': {
    text: `scrape_configs:\n- job_name: theirs\n  params:\n    x:\n    - |\n      a\n\n      # no\n\n`,
  },
  'a text in quotes over lines': {
    text: `global:\n  external_labels: {a: "x\nscrape_configs:\n"}\n`,
    refused: /line 3: /,
  },
  // Documents.
  'a mark and a comment': { text: `--- # main\nscrape_configs:\n${JOB}` },
  'a mark and a value': { text: `--- {scrape_configs: [{job_name: theirs}]}\n`, refused: /line 1: .*braces/ },
  'a directive': { text: `%YAML 1.1\n---\nscrape_configs:\n${JOB}` },
  'two documents': { text: `scrape_configs:\n${JOB}---\nscrape_configs:\n- job_name: no\n` },
  'a second document in a first that is empty': {
    text: `---\n---\nscrape_configs:\n${JOB}`,
  },
  'an end and a comment': { text: `scrape_configs:\n${JOB}... # the end\n# more\n` },
  'nothing but a comment': { text: `# to do\n` },
  'nothing but a mark': { text: `---\n` },
  'a list in place of keys': { text: JOB, refused: /line 1: .*begins with keys/, isBroken: true },
  // Where the list ends.
  'comments behind the list': {
    text: `scrape_configs:\n${INDENTED}\n  # - job_name: off\n# at the margin\n\nglobal: {}\n`,
  },
  'a comment of the next key': { text: `scrape_configs:\n${JOB}# of global\nglobal: {}\n` },
  'our words in a comment': {
    text: `# END homeostat PrometheusConfig/jobs scrape_configs\nscrape_configs:\n${JOB}`,
    refused: /line 1: half/,
  },
};
