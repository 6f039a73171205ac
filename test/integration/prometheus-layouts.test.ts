// A prometheus.yml as people have them, with a real promtool and a real Prometheus: each is extended, so that Prometheus
// says that it has our job and all of theirs, and is byte for byte as before once ours is out again; or it is refused
// with a line and a reason, and untouched.
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { load } from 'js-yaml';
import { createProcesses } from '../../agent/providers/processes.ts';
import { Stalled, Waiting } from '../../api/errors.ts';
import { prometheusConfig as kind } from '../../kinds/prometheus-config/index.ts';
import { knowsScrapeFiles } from '../../kinds/prometheus-config/validate.ts';
import { PROMTOOL, RECORDINGS, require, SHARED_DATA } from '../support/capabilities.ts';
import { startPrometheus } from '../support/prometheus.ts';
import { LAYOUTS, type Layout } from '../support/prometheus-layouts.ts';
import { PrometheusHost } from '../support/prometheus-passes.ts';

const OURS = {
  scrapeConfigs: { content: "- job_name: ours\n  static_configs: [{targets: ['127.0.0.1:1']}]\n" },
};
const RULES = ['rules/ours.yml'];

async function begin(t: TestContext) {
  const processes = createProcesses();
  t.after(() => processes.close());
  const host = await PrometheusHost.open(t, { theirs: 'global: {}\n', ports: { processes } });
  fs.mkdirSync(path.join(host.root, 'rules'));
  for (const name of ['rules/ours.yml', 'a.yml'])
    fs.writeFileSync(path.join(host.root, name), 'groups: []\n');
  const prometheus = await startPrometheus(t, host.file, ['--web.enable-lifecycle']);
  const jobs = async () => {
    const { yaml } = await prometheus.api<{ yaml: string }>('/status/config');
    return [...yaml.matchAll(/job_name: (\S+)/g)].map((m) => m[1]!);
  };
  /** Whether Prometheus loads what stands there. */
  const loads = async () => (await fetch(`${prometheus.url}/-/reload`, { method: 'POST' })).status === 200;

  async function hold(
    text: Buffer,
    { refused, isBroken }: Omit<Layout, 'text'>,
    spec: object = { ...OURS, ruleFiles: RULES },
  ): Promise<void> {
    fs.writeFileSync(host.file, text);
    fs.utimesSync(host.file, 1, 1);
    assert.equal(await loads(), isBroken !== true, 'whether Prometheus loads it by itself');
    const theirs = isBroken ? [] : await jobs();
    const d = host.desire('jobs', { ...spec, form: 'block', address: prometheus.address });
    const ours = kind.owns(d.spec).flatMap((claim) => claim.split('#scrape_configs/')[1] ?? []);
    assert.ok(ours.length > 0);
    let before: unknown;
    try {
      ({ before } = await host.pass(d));
    } catch (error) {
      assert.ok(error instanceof Stalled || error instanceof Waiting, String(error));
      assert.ok(fs.readFileSync(host.file).equals(text), 'it is untouched');
      assert.ok(refused !== undefined, `refused: ${error.message}`);
      assert.match(error.message, refused);
      return;
    }
    assert.equal(refused, undefined, 'it was extended');
    assert.equal((await host.assess(d)).verdict, 'Yes');
    assert.deepEqual((await jobs()).sort(), [...theirs, ...ours].sort());
    await host.undo(before, d);
    assert.deepEqual(fs.readFileSync(host.file).toString('latin1'), text.toString('latin1'));
    assert.deepEqual(await jobs(), theirs);
  }
  return { host, prometheus, hold };
}

const lines = (text: Buffer, change: (text: string) => string) =>
  Buffer.from(change(text.toString('latin1')), 'latin1');
const FORMS: Readonly<Record<string, (text: Buffer) => Buffer>> = {
  'as it is': (text) => text,
  'with CRLF': (text) => lines(text, (t) => t.replaceAll('\n', '\r\n')),
  'without a newline at its end': (text) => lines(text, (t) => t.replace(/\n$/, '')),
};

for (const [form, change] of Object.entries(FORMS)) {
  test(`layouts that Prometheus reads are extended, or refused with a line: ${form}`, async (t) => {
    if (!require(t, PROMTOOL)) return;
    const { hold } = await begin(t);
    for (const [name, layout] of Object.entries(LAYOUTS)) {
      const text = Buffer.from(layout.text as string);
      if (isUtf8(text) || form === 'as it is') await t.test(name, () => hold(change(text), layout));
    }
  });
}

test('the recorded layouts come to what is expected of them', async (t) => {
  if (!require(t, PROMTOOL, RECORDINGS)) return;
  const { host, prometheus, hold } = await begin(t);
  const folder = path.join(path.dirname(SHARED_DATA), 'cases', '27-prometheus-yml-as-people-have-them');
  fs.mkdirSync(path.join(host.root, 'jobs'));
  fs.copyFileSync(path.join(folder, 'layouts', 'jobs-included.yaml'), path.join(host.root, 'jobs', 'a.yml'));
  const document = load(fs.readFileSync(path.join(folder, 'manifests', 'doc.yaml'), 'utf8'));
  const { path: _path, address: _address, ...spec } = (document as { spec: Record<string, unknown> }).spec;
  const { ruleFiles: _rules, ...jobsOnly } = spec;
  const { version } = await prometheus.api<{ version: string }>('/status/buildinfo');
  const expected: Readonly<Record<string, Omit<Layout, 'text'>>> = {
    'a-document-end': {},
    'b-all-indented': { refused: /line 3: .*indented/ },
    'c-json': { refused: /line 1: .*braces/ },
    'e-items-at-the-margin': { refused: /:13: rule file rules\/ours\.yml is listed already/ },
    'f-name-taken-oddly': { refused: /:4: there is a job bug27 that is not ours/ },
    'g-name-taken-in-included-file': knowsScrapeFiles(version)
      ? { refused: /found multiple scrape configs with job name/ }
      : { refused: /scrape_config_files not found/, isBroken: true },
    'h-null-and-empty': { refused: /line 5: "scrape_configs: null": remove the word null/ },
    'j-comment-with-our-words': { refused: /line 1: half of the block/ },
  };
  const layouts = fs.readdirSync(path.join(folder, 'layouts')).filter((file) => file.endsWith('.yml'));
  assert.deepEqual(layouts.map((file) => path.basename(file, '.yml')).sort(), Object.keys(expected).sort());
  for (const [name, outcome] of Object.entries(expected)) {
    const text = fs.readFileSync(path.join(folder, 'layouts', `${name}.yml`));
    for (const [form, change] of Object.entries(FORMS)) {
      await t.test(`${name}, ${form}`, () => hold(change(text), outcome, spec));
      if (name !== 'e-items-at-the-margin') continue;
      await t.test(`${name}, ${form}, without the rule file`, () => hold(change(text), {}, jobsOnly));
    }
  }
});
