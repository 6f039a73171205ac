// A prometheus.yml that somebody is in the middle of writing is neither built upon nor loaded: half of it would take the
// place of the whole.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { Waiting } from '../../../api/errors.ts';
import type { ProcessResult } from '../../../kinds/ports.ts';
import { prometheusConfig as kind } from '../../../kinds/prometheus-config/index.ts';
import { eventually } from '../../support/eventually.ts';
import { PrometheusHost } from '../../support/prometheus-passes.ts';

const SPEC = { scrapeConfigs: { content: "- job_name: ours\n  static_configs: [{targets: ['b:2']}]\n" } };
const never = new AbortController().signal;
const linuxOnly = process.platform !== 'linux' && 'open files are read from /proc: run it on Linux';
const jobs = (count: number) =>
  Array.from({ length: count }, (_, i) => `- job_name: theirs-${i}\n  metrics_path: /x\n`).join('');
const THEIRS = `scrape_configs:\n${jobs(20)}`;

/** All times are so much later than those of the files, so that what a test writes is at rest by its age. */
async function begin(t: TestContext, theirs: string, run?: () => Promise<ProcessResult>) {
  const state = { aheadMs: 10_000 };
  const now = () => Date.now() + state.aheadMs;
  const processes = run === undefined ? {} : { processes: { run } };
  const host = await PrometheusHost.open(t, {
    theirs,
    ports: { clock: { ...systemClock, now }, ...processes },
  });
  host.served.now = now;
  host.served.loadedAtMs = now();
  return { host, state };
}

/** Opens the file as `>` does, and writes what it is told, until it is to close. */
class SlowWriter {
  readonly #child: ChildProcess;
  readonly #file: string;
  constructor(t: TestContext, file: string) {
    this.#file = file;
    const fd = fs.openSync(file, 'w');
    this.#child = spawn('cat', [], { stdio: ['pipe', fd, 'inherit'] });
    fs.closeSync(fd);
    t.after(() => this.#child.kill('SIGKILL'));
  }

  async write(text: string): Promise<void> {
    const until = fs.readFileSync(this.#file, 'utf8') + text;
    this.#child.stdin!.write(text);
    await eventually(() => assert.equal(fs.readFileSync(this.#file, 'utf8'), until));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async close(): Promise<void> {
    this.#child.stdin!.end();
    await once(this.#child, 'exit');
  }
}

const isWaiting = (words: RegExp) => (e: unknown) => {
  assert.ok(e instanceof Waiting, String(e));
  assert.equal(e.reason, 'BeingEdited');
  assert.match(e.message, words);
  assert.ok(e.afterMs > 0);
  return true;
};

for (const [name, half] of [
  ['cut at a line’s end', `scrape_configs:\n${jobs(10)}`],
  ['cut in a line', `scrape_configs:\n${jobs(10)}- job_na`],
] as const) {
  test(`a writer that pauses is waited for until it closes: ${name}`, { skip: linuxOnly }, async (t) => {
    const { host, state } = await begin(t, THEIRS);
    const { before } = await host.pass(host.desire('p', SPEC));
    const d = host.desire('p', SPEC, { heal: true });
    const writer = new SlowWriter(t, host.file);
    await writer.write(half);
    for (const attempt of [() => host.pass(d), () => host.undo(before, d)]) {
      await assert.rejects(
        attempt(),
        isWaiting(new RegExp(`cat \\(pid ${writer.pid}\\) has it open for more`)),
      );
    }
    assert.equal(host.text, half);
    await writer.write(THEIRS.slice(half.length));
    await writer.close();
    await host.pass(d);
    assert.equal(host.text.match(/job_name/g)?.length, 21);
    state.aheadMs += 60_000;
    await host.undo(before, d);
    assert.equal(host.text, THEIRS);
  });
}

test('half a file that has our block already is not loaded', { skip: linuxOnly }, async (t) => {
  const { host } = await begin(t, THEIRS);
  await host.pass(host.desire('p', SPEC));
  const right = host.text;
  const d = host.desire('p', SPEC, { heal: true });
  const writer = new SlowWriter(t, host.file);
  const whole = `${right}global: {}\nremote_write: []\n`;
  host.served.loadedAtMs -= 100_000;
  await writer.write(right);
  await assert.rejects(host.pass(d), isWaiting(/has it open for more/));
  assert.equal(host.served.loaded, right);
  await writer.write(whole.slice(right.length));
  await writer.close();
  await host.pass(d);
  assert.equal(host.served.loaded, whole);
});

test('who has it open and has written nothing for minutes is in the middle of nothing', {
  skip: linuxOnly,
}, async (t) => {
  const { host, state } = await begin(t, THEIRS);
  const writer = new SlowWriter(t, host.file);
  await writer.write(THEIRS);
  const d = host.desire('p', SPEC);
  await assert.rejects(host.pass(d), isWaiting(/cat/));
  state.aheadMs = 301_000;
  host.served.loadedAtMs = Date.now() + state.aheadMs;
  await host.pass(d);
  await writer.close();
});

test('a file that has lost its end rests for longer, where nobody can be seen to write it', async (t) => {
  const { host, state } = await begin(t, THEIRS);
  Object.assign(host.ports.files, { writerOf: undefined });
  await host.pass(host.desire('p', SPEC));
  const d = host.desire('p', SPEC, { heal: true });
  assert.equal((await host.assess(d)).verdict, 'Yes');
  const half = `scrape_configs:\n${jobs(10)}`;
  fs.writeFileSync(host.file, half);
  await assert.rejects(host.pass(d), isWaiting(/has lost its end \(“metrics_path: \/x”\)/));
  assert.equal(host.text, half);
  // The rest came: nothing is missing.
  fs.writeFileSync(host.file, `${THEIRS}global: {}\n`);
  await host.pass(d);
  // Or it was meant so.
  fs.writeFileSync(host.file, half);
  state.aheadMs += 61_000;
  await host.pass(d);
  assert.equal(host.text.match(/job_name/g)?.length, 11);
});

test('a change that is not confirmed yet does not write behind what is no YAML, or what promtool refuses', async (t) => {
  let isRefused = false;
  const result = () => ({
    exitCode: isRefused ? 1 : 0,
    stdout: '',
    stderr: isRefused ? 'FAILED: line 1' : '',
  });
  const { host } = await begin(t, THEIRS, async () => result());
  const d = host.desire('p', SPEC);
  await host.pass(d);
  for (const [half, reason] of [
    ["global: {}\nscrape_configs:\n  - static_configs: [{targets: ['127.0.0.1:2011", 'NotYaml'],
    ['global: {}\nscrape_configs:\n- job_name:\n', 'Invalid'],
  ] as const) {
    host.put(half);
    isRefused = reason === 'Invalid';
    const changes = await host.changes(d);
    await assert.rejects(
      kind.apply(changes, d, host.ports, never),
      (e) => e instanceof Waiting && e.reason === reason,
    );
    assert.equal(host.text, half);
  }
});

test('what somebody saves while promtool looks at it is not written over', async (t) => {
  let save: () => void = () => undefined;
  const { host } = await begin(t, THEIRS, async () => {
    save();
    return { exitCode: 0, stdout: '', stderr: '' };
  });
  await host.pass(host.desire('p', SPEC));
  const d = host.desire('p', SPEC, { heal: true });
  const saved = `${THEIRS}global: {}\n`;
  host.put(THEIRS);
  save = () => host.put(saved);
  await assert.rejects(host.pass(d), isWaiting(/changed while it was looked at/));
  assert.equal(host.text, saved);
  save = () => undefined;
  await host.pass(d);
  assert.match(host.text, /global: \{\}/);
  assert.match(host.text, /job_name: ours/);
});

test('what an agent left that was killed while it wrote the file of jobs goes, with an undo and without a change', async (t) => {
  const host = await PrometheusHost.open(t, { version: '2.55.0' });
  const d = host.desire('p', { ...SPEC, form: 'file' });
  await host.pass(d);
  const { before } = await host.pass(host.desire('p', { ...SPEC, form: 'file', ruleFiles: ['a.yml'] }));
  const stale = path.join(host.root, 'homeostat.d', '.PrometheusConfig.p.yml.homeostat~');
  fs.writeFileSync(stale, 'half');
  await host.undo(before, d);
  assert.ok(!fs.existsSync(stale));
  fs.writeFileSync(stale, 'half');
  await kind.apply([], d, host.ports, never);
  assert.ok(!fs.existsSync(stale));
});
