/**
 * The stand-in for Grafana Alloy is held to what real Alloy 1.18 was recorded to do (shared/data/alloy).
 * What it may differ in is named where it is left out of a comparison.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { validate } from '../../support/alloy/check.ts';
import {
  freePort,
  noRecordings,
  type Outcome,
  parseMetrics,
  type RunningAlloy,
  recordedText,
  recording,
  runAlloy,
  STANDIN,
  startAlloy,
  until,
} from '../../support/alloy/harness.ts';
import { parseAll } from '../../support/alloy/load.ts';
import { ConfigError, headline, Source } from '../../support/alloy/source.ts';

/** In the order in which they were recorded, the seed reloaded before each. */
const CASES = ['seed', 'bad-syntax', 'bad-ref', 'bad-attr', 'drop-all', 'wrong-path', 'wrong-port'];
const WRITE = 'prometheus_remote_storage_';

/** Answers as Prometheus and Loki do: 204 on their write paths, 404 elsewhere. Keeps the bodies. */
class Sink {
  readonly bodies: { path: string; body: Buffer }[] = [];
  readonly #server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const path = request.url ?? '';
      this.bodies.push({ path, body: Buffer.concat(chunks) });
      response.writeHead(['/api/v1/write', '/loki/api/v1/push'].includes(path) ? 204 : 404).end();
    });
  });

  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

interface Lab {
  dir: string;
  sink: Sink;
  port: number;
  /** A port that refuses. */
  nobody: number;
  /** Writes live.alloy with the recorded addresses turned to the lab's. */
  write(config: string): void;
  start(env?: NodeJS.ProcessEnv): Promise<RunningAlloy>;
}

/** A folder, a sink and what was started, all gone at the test's end. */
async function lab(context: Pick<TestContext, 'after'>): Promise<Lab> {
  const dir = mkdtempSync(join(tmpdir(), 'alloy-standin-'));
  const sink = new Sink();
  const port = await sink.start();
  const nobody = await freePort();
  const started: RunningAlloy[] = [];
  context.after(async () => {
    await Promise.all(started.map((alloy) => alloy.stop('SIGKILL')));
    sink.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    dir,
    sink,
    port,
    nobody,
    write: (config) => {
      const local = config.replaceAll(/127\.0\.0\.1:(9090|3100)/g, `127.0.0.1:${port}`);
      writeFileSync(join(dir, 'live.alloy'), local.replaceAll('127.0.0.1:9099', `127.0.0.1:${nobody}`));
    },
    start: async (env = {}) => {
      // No journal, as in the recorded Alloy.
      const alone = {
        HOMEOSTAT_STANDIN_JOURNALCTL: '/nonexistent',
        HOMEOSTAT_STANDIN_FLUSH_MS: '100',
        ...env,
      };
      const alloy = await startAlloy({ cwd: dir, file: 'live.alloy', env: alone, binary: STANDIN });
      started.push(alloy);
      return alloy;
    },
  };
}

/** The recorded config with scrapes and batches in quick succession. */
function quick(config: string): string {
  return config
    .replace('scrape_interval = "2s"', 'scrape_interval = "40ms"')
    .replace('scrape_timeout  = "1s"', 'scrape_timeout  = "40ms"')
    .replace(/(url = "http:[^"]*\/api\/v1\/[^"]*")/, '$1\n queue_config { batch_send_deadline = "20ms" }');
}

/** Name and labels without what differs from run to run: ports, hashes, and 10 more digits. */
function shape(series: Iterable<string>): string[] {
  const general = [...series].map((one) =>
    one
      .replace(/remote_name="\w+"/, 'remote_name="…"')
      .replace(/127\.0\.0\.1:\d+/, '127.0.0.1:…')
      .replace(/sha256="\w+"/, 'sha256="…"')
      .replace(/host="[^"]+"/, 'host="…"'),
  );
  return [...new Set(general)].sort();
}

const RECORDED_FAMILIES =
  /^(alloy_component_controller_running_components|alloy_config_|prometheus_(forwarded|remote_storage|remote_write_wal|scrape_targets))/;

describe('the stand-in for Alloy on its command line', { skip: noRecordings, concurrency: true }, () => {
  const stamp = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d /gm;
  for (const name of CASES) {
    it(`validates and checks the format of ${name} as recorded`, async (context) => {
      const { dir } = await lab(context);
      const recorded = recording(name);
      const file = `${name}.alloy`;
      writeFileSync(join(dir, file), recorded.config);
      for (const [args, expected] of [
        [['validate', file], recorded.validate],
        [['fmt', '--test', file], recorded.fmt],
      ] as const) {
        const { exit, stdout, stderr } = await runAlloy([...args], dir, STANDIN);
        const said = { exit, stdout, stderr: stderr.replaceAll(stamp, 'STAMP ') };
        const { exit: code, stdout: out, stderr: err } = expected;
        assert.deepEqual(said, { exit: code, stdout: out, stderr: err.replaceAll(stamp, 'STAMP ') });
      }
    });
  }

  it("formats what Alloy's own printer wrote as it stands, and the seed into that form", async (context) => {
    const { dir } = await lab(context);
    const converted = JSON.parse(recordedText('convert-promtail.json')) as { good: { stdout: string } };
    writeFileSync(join(dir, 'converted.alloy'), converted.good.stdout);
    const same = await runAlloy(['fmt', 'converted.alloy'], dir, STANDIN);
    assert.equal(same.stdout, converted.good.stdout);

    writeFileSync(join(dir, 'seed.alloy'), recording('seed').config);
    assert.equal((await runAlloy(['fmt', '--write', 'seed.alloy'], dir, STANDIN)).exit, 0);
    assert.equal((await runAlloy(['fmt', '--test', 'seed.alloy'], dir, STANDIN)).exit, 0);
    assert.equal((await runAlloy(['validate', 'seed.alloy'], dir, STANDIN)).exit, 0);
  });

  it('converts a promtail config as recorded, and refuses YAML that is none', async (context) => {
    const { dir } = await lab(context);
    const recorded = JSON.parse(recordedText('convert-promtail.json')) as Record<'good' | 'bad', Outcome> & {
      source: string;
    };
    writeFileSync(join(dir, 'promtail.yaml'), recorded.source);
    writeFileSync(join(dir, 'pbad.yaml'), '{');
    const convert = (file: string) => runAlloy(['convert', '--source-format=promtail', file], dir, STANDIN);
    const { exit, stdout, stderr } = recorded.good;
    assert.deepEqual(await convert('promtail.yaml'), { exit, stdout, stderr });
    // The words after the line are those of another YAML library.
    const bad = await convert('pbad.yaml');
    const head = (text: string): string => text.slice(0, text.indexOf('yaml: line ') + 11);
    assert.deepEqual([bad.exit, bad.stdout], [recorded.bad.exit, recorded.bad.stdout]);
    assert.equal(head(bad.stderr), head(recorded.bad.stderr));
  });

  it('says that it is not Alloy, and what it can convert only in part', async (context) => {
    const { dir } = await lab(context);
    assert.match((await runAlloy(['--version'], dir, STANDIN)).stdout, /1\.18.*stand-in; not Grafana Alloy/);
    writeFileSync(join(dir, 'kafka.yaml'), 'scrape_configs: [{job_name: k, kafka: {}}]\n');
    const { exit, stdout, stderr } = await runAlloy(
      ['convert', '-f', 'promtail', 'kafka.yaml'],
      dir,
      STANDIN,
    );
    assert.deepEqual([exit, stdout], [1, '']);
    assert.match(stderr, /stand-in .* can't convert kafka .* needs the real alloy/);
  });
});

describe('the stand-in validates what the recordings leave out', () => {
  const check = (config: string): string[] => {
    try {
      return validate(parseAll([new Source('x.alloy', config)])).map(headline);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return error.diagnostics.map(headline);
    }
  };
  const write = (body: string): string => `prometheus.remote_write "w" {\n${body}\n}\n`;
  const wrong: [string, string, string][] = [
    [
      'an unknown component',
      'local.nothing "x" { }\n',
      '1:1: cannot find the definition of component name "local.nothing"',
    ],
    ['a missing label', 'loki.write { }\n', '1:1: component "loki.write" must have a label'],
    [
      'a duplicate',
      `${write('')}${write('')}`,
      '4:1: block prometheus.remote_write.w already declared at x.alloy:1:1',
    ],
    ['a missing attribute', 'prometheus.relabel "r" { }\n', '1:1: missing required attribute "forward_to"'],
    [
      'an attribute given twice',
      write('external_labels = {}\nexternal_labels = {}'),
      '3:1: attribute "external_labels" may only be provided once',
    ],
    ['an unknown block', write('\tendpoints { }'), '2:2: unrecognized block name "endpoints"'],
    [
      'a block as an attribute',
      write('endpoint = "x"'),
      '2:1: "endpoint" must be a block, but is used as an attribute',
    ],
    ['the wrong type', write('endpoint {\n\turl = ["x"]\n}'), '3:8: expected string, got array'],
    [
      'a bad duration',
      write('wal {\n truncate_frequency = "soon"\n}'),
      '3:23: time: invalid duration "soon"',
    ],
    ['an open string', 'loki.write "x {\n}\n', '1:12: string literal not terminated'],
    ['a stray attribute', 'url = 1\n', '1:1: unrecognized attribute url'],
    [
      'a circle',
      'loki.relabel "a" {\n forward_to = [loki.relabel.a.receiver]\n}\n',
      '1:1: cannot reference self',
    ],
  ];
  for (const [what, config, expected] of wrong) {
    it(`finds ${what}`, () => {
      assert.equal(check(config)[0], `x.alloy:${expected}`);
    });
  }

  it('takes every form of the language', () => {
    const config = `// A comment, then one /* of the other */ kind.
/* over
   lines */ logging { level = "info" } // trailing
loki.process "p" {
  forward_to = [loki.write.w.receiver,] /* here too */
  stage.regex { expression = ${'`^(?P<a>\\d+)$`'} }
  stage.match {
    selector = "{job=\\"x\\"}"
    stage.drop { older_than = "1" + string.format("%dh", (2 + 3) * 4 ^ 2 % 7) }
  }
}
loki.write "w" {
  endpoint {
    url = "http://" + sys.env("NOBODY") + [constants.hostname, "x"][0] + {"a b" = "c",}["a b"]
    retry_on_http_429 = !(-1 < 2 && 1.5e3 >= .5 || null == true)
  }
}
`;
    assert.deepEqual(check(config), []);
  });
});

describe('the stand-in when it runs', { skip: noRecordings }, () => {
  it('reloads from the seed into each case with the recorded answers, series and healths', async (context) => {
    const { write, start } = await lab(context);
    write(recording('seed').config);
    const alloy = await start();
    const failures = 'alloy_config_load_failures_total';
    const before = parseMetrics(recording('seed').metrics_after_reload.join('\n')).get(failures)!;
    for (const name of CASES) {
      const recorded = recording(name);
      write(recording('seed').config);
      assert.equal((await alloy.reload()).status, 200, `${name}: the seed comes back`);
      write(recorded.config);

      const { status, body } = await alloy.reload();
      assert.deepEqual(
        { status, body },
        { status: recorded.reload.status, body: recorded.reload.body },
        name,
      );
      for (const [path, expected] of [
        ['/-/ready', recorded.ready],
        ['/-/healthy', recorded.healthy],
      ] as const) {
        const answer = await alloy.ask(path);
        assert.deepEqual(answer, { status: expected.status, body: expected.body }, `${name} ${path}`);
      }

      const theirs = parseMetrics(recorded.metrics_after_reload.join('\n'));
      const mine = await alloy.metrics();
      const listed = [...mine.keys()].filter((series) => RECORDED_FAMILIES.test(series));
      assert.deepEqual(shape(listed), shape(theirs.keys()), `${name}: series`);
      for (const [series, value] of theirs) {
        if (/running_components|last_load_successful/.test(series))
          assert.equal(mine.get(series), value, series);
        // The configs with addresses were changed; the others must have the recorded hash.
        if (name.startsWith('bad-') && series.includes('sha256'))
          assert.equal(mine.get(series), value, series);
      }
      assert.equal(mine.get(failures), theirs.get(failures)! - before, `${name}: failures`);

      const components = JSON.parse((await alloy.ask('/api/v0/web/components')).body) as Record<
        string,
        unknown
      >[];
      assert.deepEqual(
        components.map(comparable).sort(byId),
        recorded.components.map(comparable).sort(byId),
        name,
      );
    }
  });

  it('refuses to start with a config that does not validate, and shows why', async (context) => {
    const { dir } = await lab(context);
    for (const name of ['bad-syntax', 'bad-ref', 'bad-attr']) {
      writeFileSync(join(dir, 'live.alloy'), recording(name).config);
      const port = await freePort();
      const args = ['run', `--server.http.listen-addr=127.0.0.1:${port}`, 'live.alloy'];
      const { exit, stderr } = await runAlloy(args, dir, STANDIN);
      assert.equal(exit, 1, name);
      const diagnostic = recording(name).validate.stderr.split('\n')[0]!.replace(name, 'live');
      assert.ok(stderr.includes(`${diagnostic}\n`), stderr);
      assert.match(
        stderr,
        /Error: could not perform the initial load successfully\n\d{4}.*finished with error/,
      );
    }
  });

  it('validates a scrape with a timeout above its interval, and refuses to load or to start with it', async (context) => {
    const { write, start, dir } = await lab(context);
    write('logging { level = "info" }\n');
    const alloy = await start();
    const scrape = 'prometheus.scrape "x" {\n targets = []\n forward_to = []\n scrape_interval = "2s"\n}\n';
    write(scrape);
    assert.equal((await runAlloy(['validate', 'live.alloy'], dir, STANDIN)).exit, 0);
    const why = 'scrape_timeout (10s) greater than scrape_interval (2s) for scrape config with job name ""';
    assert.deepEqual(await alloy.reload(), {
      status: 400,
      body: `error during the initial load: live.alloy:1:1: Failed to build component: decoding configuration: ${why}\n`,
    });
    assert.deepEqual(await alloy.ask('/-/healthy'), {
      status: 500,
      body: 'unhealthy components: prometheus.scrape\n',
    });
    await alloy.stop();
    await assert.rejects(start(), /could not perform the initial load successfully/);
  });

  it('answers 401 to whom lacks the password of its http block, and opens again with a SIGHUP', async (context) => {
    const { write, start, dir } = await lab(context);
    const open = 'logging { level = "info" }\n';
    write(open);
    const alloy = await start();
    const auth = (filter: string): string =>
      `${open}http { auth { basic { username = "ops"\n password = "pw" }\n filter { ${filter} } } }\n`;
    const paths = ['/-/ready', '/-/healthy', '/metrics', '/api/v0/web/components', '/-/reload'];
    const statuses = () => Promise.all(paths.map(async (path) => (await alloy.ask(path)).status));
    const everywhere = auth('paths = ["/"]\n authenticate_matching_paths = true');
    writeFileSync(join(dir, 'live.alloy'), everywhere);
    assert.deepEqual(await alloy.reload(), { status: 200, body: 'config reloaded\n' });
    assert.deepEqual(await statuses(), [401, 401, 401, 401, 401]);
    const response = await fetch(`${alloy.url}/metrics`);
    assert.equal(response.headers.get('www-authenticate'), 'Basic realm="Restricted"');
    assert.equal(await response.text(), '');
    const authorization = `Basic ${Buffer.from('ops:pw').toString('base64')}`;
    assert.equal((await fetch(`${alloy.url}/metrics`, { headers: { authorization } })).status, 200);

    const left =
      'paths = ["/-/", "/metrics", "/api/v0/web/components"]\n authenticate_matching_paths = false';
    writeFileSync(join(dir, 'live.alloy'), auth(left));
    alloy.child.kill('SIGHUP');
    await until('its API is open', statuses, (seen) => seen.every((status) => status === 200));
    assert.equal((await alloy.ask('/')).status, 401);
  });

  it('reloads on SIGHUP and ends on SIGTERM with 0', async (context) => {
    const { write, start } = await lab(context);
    write(recording('seed').config);
    const alloy = await start();
    write('');
    alloy.child.kill('SIGHUP');
    const components = (): Promise<string> => alloy.ask('/api/v0/web/components').then(({ body }) => body);
    await until('the empty config is loaded', components, (body) => body === '[]');
    assert.equal(await alloy.stop(), 0);
  });

  it('keeps delivering to the old endpoint when a full config has one bad attribute', async (context) => {
    const { write, start } = await lab(context);
    const seed = quick(recording('seed').config);
    write(seed);
    const alloy = await start();
    write(seed.replace('url = "http://127.0.0.1:9090', 'uri = "http://127.0.0.1:9090'));
    assert.equal((await alloy.reload()).status, 400);
    assert.equal((await alloy.ask('/-/healthy')).body, 'unhealthy components: prometheus.remote_write\n');
    const sent = await alloy.total(`${WRITE}samples_total`);
    await until(
      'more is sent',
      () => alloy.total(`${WRITE}samples_total`),
      (now) => now > sent,
    );
    write(seed);
    assert.equal((await alloy.reload()).status, 200);
    assert.equal((await alloy.ask('/-/healthy')).status, 200);
  });

  it('blocks a reload that replaces an unreachable endpoint until the flush deadline', async (context) => {
    const { write, start } = await lab(context);
    write(quick(recording('wrong-port').config));
    const alloy = await start({ HOMEOSTAT_STANDIN_FLUSH_MS: '600' });
    await until(
      'a batch is retried',
      () => alloy.total(`${WRITE}samples_retried_total`),
      (count) => count > 0,
    );
    write(quick(recording('seed').config));
    const started = performance.now();
    const reload = alloy.reload();
    assert.equal((await alloy.ask('/-/ready')).status, 200);
    assert.equal((await reload).status, 200);
    assert.ok(performance.now() - started >= 550, 'the reload waited for the queue');
    await until(
      'it delivers',
      () => alloy.total(`${WRITE}queue_highest_sent_timestamp_seconds`),
      (at) => at > 0,
    );
  });
});

/** What of a component can be compared: not its time, nor the order of sets that Go iterates as it likes. */
function comparable(component: Record<string, unknown>): Record<string, unknown> {
  const { health, referencesTo, ...rest } = component;
  const { state, message } = health as Record<string, string>;
  return { ...rest, health: { state, message }, referencesTo: [...(referencesTo as string[])].sort() };
}

function byId(one: Record<string, unknown>, other: Record<string, unknown>): number {
  return String(one['localID']).localeCompare(String(other['localID']));
}

describe('the counters of the stand-in', { skip: noRecordings, concurrency: true }, () => {
  const FAMILIES = {
    samples_in: `${WRITE}samples_in_total`,
    appended: 'prometheus_remote_write_wal_samples_appended_total',
    highest_sent: `${WRITE}queue_highest_sent_timestamp_seconds`,
    samples: `${WRITE}samples_total`,
    failed: `${WRITE}samples_failed_total`,
    retried: `${WRITE}samples_retried_total`,
  };
  type Family = keyof typeof FAMILIES;
  /** "A config can load, be healthy and deliver nothing". */
  const RISING: Record<string, Family[]> = {
    seed: ['samples_in', 'appended', 'highest_sent', 'samples'],
    'drop-all': [],
    'wrong-path': ['samples_in', 'appended', 'highest_sent', 'samples', 'failed'],
    'wrong-port': ['samples_in', 'appended', 'samples', 'retried'],
  };

  for (const [name, rising] of Object.entries(RISING)) {
    it(`tell ${name}`, async (context) => {
      const { write, start } = await lab(context);
      write(quick(recording('seed').config));
      const alloy = await start();
      const scraped = (): Promise<number> => alloy.total('prometheus_forwarded_samples_total');
      await until(
        'the seed delivers',
        () => alloy.total(FAMILIES.highest_sent),
        (at) => at > 0,
      );
      write(quick(recording(name).config));
      assert.equal((await alloy.reload()).status, 200);
      assert.equal((await alloy.ask('/-/healthy')).status, 200);

      const read = async (): Promise<Record<Family, number>> => {
        const page = await alloy.metrics();
        const sum = (family: string): number =>
          [...page].reduce((all, [key, value]) => (key.split('{')[0] === family ? all + value : all), 0);
        return Object.fromEntries(
          Object.entries(FAMILIES).map(([key, family]) => [key, sum(family)]),
        ) as Record<Family, number>;
      };
      if (name === 'drop-all') {
        // What was queued before the reload is still sent.
        await until(
          'the queue is empty',
          () => alloy.total(`${WRITE}samples_pending`),
          (left) => left === 0,
        );
      }
      const first = await read();
      const rose = (now: Record<Family, number>): Family[] =>
        (Object.keys(FAMILIES) as Family[]).filter((family) => now[family] > first[family]);
      await until('what should rise rises', read, (now) =>
        rising.every((family) => rose(now).includes(family)),
      );
      const scrapes = await scraped();
      await until('it is still scraping', scraped, (now) => now > scrapes * 1.1);
      assert.deepEqual(rose(await read()), rising);
    });
  }
});

describe('what the stand-in sends', { skip: noRecordings, concurrency: true }, () => {
  it('is a remote-write request with the host, job and instance of the recorded relabelling', async (context) => {
    const { write, start, sink } = await lab(context);
    write(quick(recording('seed').config));
    await start();
    const request = await until(
      'a request',
      async () => sink.bodies[0],
      (found) => found !== undefined,
    );
    const series = readWriteRequest(unsnappy(request!.body));
    const uname = series.find(({ labels }) => labels['__name__'] === 'node_uname_info');
    assert.equal(uname?.value, 1);
    assert.equal(uname?.labels['host'], hostname());
    assert.equal(uname?.labels['job'], 'integrations/unix');
    assert.equal(uname?.labels['instance'], hostname());
    for (const name of ['up', 'node_load1', 'node_memory_MemTotal_bytes', 'node_cpu_seconds_total']) {
      assert.ok(
        series.some(({ labels }) => labels['__name__'] === name),
        name,
      );
    }
    assert.ok(Math.abs(uname!.timestamp - Date.now()) < 60_000);
  });

  it('is accepted by a real Prometheus', async (context) => {
    const binary = process.env['PROMETHEUS_BIN'] || 'prometheus';
    const { write, start, dir } = await lab(context);
    const port = await freePort();
    writeFileSync(join(dir, 'prometheus.yml'), '');
    const args = [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'tsdb')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--web.enable-remote-write-receiver',
    ];
    const prometheus = spawn(binary, args, { stdio: 'ignore' });
    const present = await once(prometheus, 'spawn').then(
      () => true,
      () => false,
    );
    if (!present) {
      context.skip('there is no prometheus: apt-get install prometheus, or set PROMETHEUS_BIN');
      return;
    }
    context.after(() => prometheus.kill('SIGKILL'));
    write(quick(recording('seed').config).replace('127.0.0.1:9090', `127.0.0.1:${port}`));
    const alloy = await start();
    const query = `http://127.0.0.1:${port}/api/v1/query?query=node_uname_info`;
    const ask = (): Promise<string> =>
      fetch(query).then(
        (response) => response.text(),
        () => '',
      );
    const answer = await until('the series is there', ask, (text) => text.includes('"metric"'), 20_000);
    assert.match(answer, new RegExp(`"host":"${hostname()}"`));
    assert.equal(await alloy.total(`${WRITE}samples_failed_total`), 0);
  });

  /** A journal of one entry, and what the stand-in pushes of it. */
  async function journalOf({ write, start, dir, sink }: Awaited<ReturnType<typeof lab>>, config: string) {
    const journalctl = join(dir, 'journalctl');
    const entry = `{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795381340000000","MESSAGE":"hello","_PID":"1"}`;
    writeFileSync(journalctl, `#!/bin/sh\necho "$@" >> ${dir}/calls\necho '${entry}'\nexec cat\n`, {
      mode: 0o755,
    });
    write(config);
    const env = { HOMEOSTAT_STANDIN_JOURNALCTL: journalctl };
    const alloy = await start(env);
    const pushed = async (): Promise<Buffer | undefined> =>
      sink.bodies.find(({ path }) => path.startsWith('/loki'))?.body;
    const body = await until('the entry is pushed', pushed, (found) => found !== undefined);
    const { streams } = JSON.parse(body!.toString()) as { streams: unknown[] };
    return { alloy, env, streams };
  }

  const values = [['1795381340000000000', 'hello']];

  it('is the journal with its own name as job, and after a restart only what is new', async (context) => {
    const here = await lab(context);
    const { alloy, env, streams } = await journalOf(here, recording('seed').config);
    // The config says job = "journal"; behaviour.md has what arrives.
    assert.deepEqual(streams, [{ stream: { host: hostname(), job: 'loki.source.journal.journal' }, values }]);
    await alloy.stop();
    await here.start(env);
    const calls = async (): Promise<string[]> =>
      readFileSync(join(here.dir, 'calls'), 'utf8').trim().split('\n');
    const [first, second] = await until('it follows again', calls, (lines) => lines.length === 2);
    assert.match(first!, /--follow .*--since=@\d+$/);
    assert.match(second!, /--after-cursor=s=1$/);
  });

  for (const name of ['config.alloy', 'container.alloy']) {
    it(`is the journal of the shipped ${name} with the label by which manifests ask for it`, async (context) => {
      const here = await lab(context);
      const shipped = readFileSync(new URL(`../../../manifests/alloy/${name}`, import.meta.url), 'utf8');
      const config = shipped.replace(/"http:\/\/\$\{vars\.central\}:\d+/g, `"http://127.0.0.1:${here.port}`);
      const { streams } = await journalOf(here, config);
      assert.deepEqual(streams, [{ stream: { host: hostname(), job: 'journal' }, values }]);
    });
  }

  it('are log lines, counted as recorded: good, Loki stopped, wrong path', async (context) => {
    const { write, start, dir, sink, port, nobody } = await lab(context);
    const file = join(dir, 'lab.log');
    writeFileSync(file, 'one\ntwo\n');
    const config = (url: string): string => `
      loki.source.file "f" {
        targets    = [{__path__ = "${file}", job = "lab"}]
        forward_to = [loki.write.central.receiver]
        file_watch { min_poll_frequency = "20ms" }
      }
      loki.write "central" {
        endpoint {
          url = "${url}"
          batch_wait = "10ms"
          min_backoff_period = "10ms"
        }
        external_labels = { host = constants.hostname }
      }`;
    write(config(`http://127.0.0.1:${port}/loki/api/v1/push`));
    const alloy = await start();
    const sent = 'loki_write_sent_entries_total';
    const dropped = 'loki_write_dropped_entries_total';
    await until(
      'both lines are sent',
      () => alloy.total(sent),
      (count) => count === 2,
    );
    assert.equal(await alloy.total('loki_source_file_read_lines_total'), 2);
    const push = JSON.parse(sink.bodies[0]!.body.toString()) as {
      streams: { stream: object; values: string[][] }[];
    };
    assert.deepEqual(push.streams[0]!.stream, { filename: file, host: hostname(), job: 'lab' });
    assert.deepEqual(
      push.streams[0]!.values.map(([, line]) => line),
      ['one', 'two'],
    );

    write(config(`http://127.0.0.1:${nobody}/loki/api/v1/push`));
    await alloy.reload();
    appendFileSync(file, 'three\n');
    await until(
      'it is retried',
      () => alloy.total('loki_write_batch_retries_total'),
      (count) => count > 1,
    );
    assert.equal(await alloy.total('loki_source_file_read_lines_total'), 3);
    assert.deepEqual([await alloy.total(sent), await alloy.total(dropped)], [2, 0]);

    write(config(`http://127.0.0.1:${port}/loki/api/v1/nope`));
    await alloy.reload();
    appendFileSync(file, 'four\n');
    await until(
      'it is dropped',
      () => alloy.total(dropped),
      (count) => count === 1,
    );
    const refused = [...(await alloy.metrics())].filter(
      ([key, count]) => key.startsWith(dropped) && count > 0,
    );
    assert.match(refused.map(([key]) => key).join(), new RegExp(`:${port}",reason="ingester_error"`));
    assert.equal(await alloy.total(sent), 2);
    assert.equal((await alloy.ask('/-/healthy')).status, 200);

    write(config(`http://127.0.0.1:${port}/loki/api/v1/push`));
    await alloy.reload();
    appendFileSync(file, 'five\n');
    await until(
      'it is sent',
      () => alloy.total(sent),
      (count) => count === 3,
    );
    const families = (series: Iterable<string>): string[] =>
      [...new Set([...series].map((key) => key.split('{')[0]!))].sort();
    const mine = [...(await alloy.metrics()).keys()].filter((key) => key.startsWith('loki_'));
    assert.deepEqual(
      families(mine),
      families(parseMetrics(recordedText('logs-wrong-path.metrics.txt')).keys()),
    );
  });
});

/** Snappy's block format, copies included: the test reads what any encoder may write. */
function unsnappy(block: Buffer): Buffer {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = block[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  const length = varint();
  const out: Buffer[] = [];
  while (at < block.length) {
    const tag = block[at++]!;
    assert.equal(tag & 3, 0, 'a literal');
    const extra = Math.max(0, (tag >> 2) - 59);
    const size = extra > 0 ? block.readUIntLE(at, extra) + 1 : (tag >> 2) + 1;
    out.push(block.subarray(at + extra, at + extra + size));
    at += extra + size;
  }
  const whole = Buffer.concat(out);
  assert.equal(whole.length, length);
  return whole;
}

interface Series {
  labels: Record<string, string>;
  value: number;
  timestamp: number;
}

function readWriteRequest(message: Buffer): Series[] {
  return fields(message).map(({ content }) => {
    const series: Series = { labels: {}, value: Number.NaN, timestamp: 0 };
    for (const { number, content: inner } of fields(content)) {
      if (number === 1) {
        const [name, value] = fields(inner).map((part) => part.content.toString());
        series.labels[name!] = value!;
      } else {
        for (const part of fields(inner)) {
          if (part.number === 1) series.value = part.content.readDoubleLE();
          else series.timestamp = Number(part.varint);
        }
      }
    }
    return series;
  });
}

function fields(message: Buffer): { number: number; content: Buffer; varint: bigint }[] {
  const found: { number: number; content: Buffer; varint: bigint }[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(message[at++]!);
      value |= (byte & 0x7fn) << shift;
      if (byte < 0x80n) return value;
    }
  };
  while (at < message.length) {
    const tag = Number(varint());
    const number = tag >> 3;
    const type = tag & 7;
    const value = type === 1 ? 0n : varint();
    const size = type === 1 ? 8 : type === 2 ? Number(value) : 0;
    found.push({ number, content: message.subarray(at, at + size), varint: value });
    at += size;
  }
  return found;
}
