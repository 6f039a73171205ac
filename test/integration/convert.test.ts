// `homeostat convert promtail` as a user types it, with the real Alloy where ALLOY_BIN names one, otherwise with the
// stand-in (test/support/alloy), which converts what the recording and promtail's documentation tell of.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { alloyBinary, recordedText } from '../support/alloy/harness.ts';
import { RECORDINGS, require } from '../support/capabilities.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const program = path.join(path.dirname(path.dirname(import.meta.dirname)), 'cli', 'homeostat.ts');
const CONFIG = `server: {http_listen_port: 9080}
clients:
  - url: http://loki:3100/loki/api/v1/push
    basic_auth: {username: me, password: "hunter2 \\" x"}
  - url: http://me:hunter2@mirror:3100/loki/api/v1/push
scrape_configs:
  - job_name: journal
    journal: {max_age: 12h, labels: {job: journal}}
    relabel_configs:
      - {source_labels: [__journal__systemd_unit], target_label: unit, replacement: "$\{vars.mine}-$1-$$\{x}"}
  - job_name: app
    pipeline_stages:
      - docker: {}
      - json: {expressions: {level: lvl}}
      - labels: {level: }
      - drop: {expression: debug, older_than: 24h, longer_than: 8KB}
      - match: {selector: '{job="x"}', stages: [{regex: {expression: '^(?P<a>\\d+)$'}}]}
      - timestamp: {source: ts, format: RFC3339}
      - output: {source: msg}
    static_configs: [{targets: [localhost], labels: {job: app, __path__: /var/log/app/*.log}}]
`;

function begin(t: TestContext, promtail?: string) {
  const directory = temporaryDirectory(t);
  if (promtail !== undefined) fs.writeFileSync(path.join(directory, 'promtail.yaml'), promtail);
  const homeostat = (args: string[], env: NodeJS.ProcessEnv = {}) => {
    const all = { ...process.env, NO_COLOR: '1', ALLOY_BIN: alloyBinary(), HOMEOSTAT_NODE: process.execPath };
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
      cwd: directory,
      encoding: 'utf8',
      timeout: 120_000,
      env: { ...all, ...env },
    });
    return { status, stdout, stderr };
  };
  const read = (file: string) => fs.readFileSync(path.join(directory, file), 'utf8');
  return {
    directory,
    homeostat,
    read,
    convert: (...args: string[]) => homeostat(['convert', 'promtail', ...args]),
  };
}

test('a promtail config becomes a config of Alloy and a document that validates once it has a host', (t) => {
  if (!require(t, RECORDINGS)) return;
  const recorded = JSON.parse(recordedText('convert-promtail.json')) as {
    source: string;
    good: { stdout: string };
  };
  const { directory, homeostat, read, convert } = begin(t, recorded.source);
  const { status, stdout, stderr } = convert('promtail.yaml', '--out', 'm');
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /^wrote m\/config\.alloy and m\/alloy\.yaml$/m);
  assert.match(
    stdout,
    /not carried over:\n {2}\(Warning\) .*\n {2}\(Warning\) .*\n {2}\(Info\) .* port 9080/,
  );
  assert.match(stdout, /put its hosts into m\/alloy\.yaml/);
  assert.equal(read('m/config.alloy'), recorded.good.stdout);
  assert.match(homeostat(['validate', 'm']).stderr, /alloy\.yaml:\d+:\d+: there is no Host\/my-host/);

  const host = 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {}\n';
  fs.writeFileSync(path.join(directory, 'm/hosts.yaml'), host);
  fs.writeFileSync(path.join(directory, 'm/alloy.yaml'), read('m/alloy.yaml').replace('my-host', 'pi'));
  assert.equal(homeostat(['validate', 'm']).status, 0);
  assert.match(
    convert('promtail.yaml', '--out', 'm').stderr,
    /m\/config\.alloy, m\/alloy\.yaml is there already; nothing/,
  );
});

test('pipelines come along, text that looks like a variable stays, and secrets go to no file', (t) => {
  const { directory, homeostat, read, convert } = begin(t, CONFIG);
  const { status, stdout, stderr } = convert('promtail.yaml', '--out', 'm', '--host', 'pi', '--name', 'logs');
  assert.equal(status, 0, stdout + stderr);
  assert.doesNotMatch(stdout + stderr + read('m/config.alloy') + read('m/logs.yaml'), /hunter2/);
  assert.match(stdout, /password of loki\.write default: \/etc\/alloy\/secrets\/loki-write-default-password/);
  assert.match(stdout, /user and password in the url of loki\.write default_2/);
  const config = read('m/config.alloy');
  assert.match(config, /password_file = "\/etc\/alloy\/secrets\/loki-write-default-password"/);
  assert.match(config, /url = "http:\/\/mirror:3100\/loki\/api\/v1\/push"/);
  for (const stage of ['docker', 'json', 'labels', 'drop', 'match', 'regex', 'timestamp', 'output'])
    assert.match(config, new RegExp(`stage\\.${stage} `));
  assert.match(config, /older_than += "24h0m0s"\n\t+longer_than += "8KiB"/);

  const host = 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {}\n';
  fs.writeFileSync(path.join(directory, 'm/hosts.yaml'), host);
  const rendered = homeostat(['render', 'pi', '--dir', 'm', '-o', 'json']);
  const { resources } = JSON.parse(rendered.stdout) as { resources: { spec: { content: string } }[] };
  assert.ok(resources[0]?.spec.content.includes('replacement   = "${vars.mine}-$1-$${x}"'), rendered.stdout);
});

test('what is no promtail config is told with its line, and nothing is written', (t) => {
  const { directory, convert } = begin(t, 'clients: []\nscrape_configs:\n  - {\n');
  const wrong = convert('promtail.yaml', '--out', 'm');
  assert.equal(wrong.status, 1);
  assert.match(
    wrong.stderr,
    /promtail\.yaml is no promtail config; nothing was written:\npromtail\.yaml:\d: \S/,
  );
  fs.writeFileSync(path.join(directory, 'promtail.yaml'), 'clients: []\nnot_a_thing: 1\n');
  assert.match(
    convert('promtail.yaml', '--out', 'm').stderr,
    /^promtail\.yaml:2: field not_a_thing not found/m,
  );
  assert.match(convert('nowhere.yaml').stderr, /<file>: 'nowhere\.yaml' is invalid\. There is no such file/);
  assert.match(convert('.').stderr, /<file>: '\.' is invalid\. It is a directory: name the file/);
  assert.match(
    convert('promtail.yaml', '--name', 'My Alloy').stderr,
    /--name.*'My Alloy' is invalid\. A name has lower/,
  );
  assert.equal(fs.existsSync(path.join(directory, 'm')), false);
});

test('what Alloy has no counterpart for stops it, and --bypass-errors writes the rest and says so', (t) => {
  const odd = 'clients: [{url: "http://loki/x"}]\nwal: {enabled: true}\ntracing: {enabled: false}\n';
  const { directory, read, convert } = begin(t, odd);
  const refused = convert('promtail.yaml', '--out', 'm');
  assert.equal(refused.status, 1);
  assert.match(
    refused.stderr,
    /can't convert all of promtail\.yaml; nothing was written:\n\(Error\) .*WAL.*\n--bypass-errors/,
  );
  assert.equal(fs.existsSync(path.join(directory, 'm')), false);
  const forced = convert('promtail.yaml', '--out', 'm', '--bypass-errors');
  assert.equal(forced.status, 2, forced.stderr);
  assert.match(forced.stdout, /not carried over:\n {2}\(Error\) .*WAL/);
  assert.match(read('m/config.alloy'), /http:\/\/loki\/x/);
});

test('without an Alloy it says how to name one', (t) => {
  const { homeostat, directory } = begin(t, CONFIG);
  const nothing = { ALLOY_BIN: undefined, PATH: directory };
  const { status, stderr } = homeostat(['convert', 'promtail', 'promtail.yaml'], nothing);
  assert.equal(status, 1);
  assert.match(stderr, /there is no program alloy: .*--alloy \/path\/to\/alloy or ALLOY_BIN/);
});

const EXPANDED = `clients:
  - url: \${LOKI_URL:-http://100.64.0.4:3100/loki/api/v1/push}
    tenant_id: \${LOKI_TENANT}
    batchwait: \${WAIT:-3s}
    external_labels: {host: "\${HOSTNAME}"}
  - url: http://\${MIRROR}:\${MIRROR_PORT}/push
scrape_configs:
  - job_name: journal
    journal: {max_age: 12h, labels: {job: journal, env: "\${DEPLOY_ENV:-prod}-1"}}
    relabel_configs:
      - {source_labels: [__journal__systemd_unit], regex: '(.+)\\.service', replacement: '$$\{1}', target_label: unit}
  - job_name: app # \${IN_A_COMMENT}
    static_configs: [{targets: [localhost], labels: {job: app, __path__: "\${APP_LOGS}/*.log"}}]
`;

test('what promtail takes from its environment, Alloy takes from its own', (t) => {
  const { read, convert } = begin(t, EXPANDED);
  const { status, stdout, stderr } = convert('promtail.yaml', '--out', 'm', '--host', 'pi');
  assert.equal(status, 0, stdout + stderr);
  const config = read('m/config.alloy');
  for (const line of [
    'url = coalesce(sys.env("LOKI_URL"), "http://100.64.0.4:3100/loki/api/v1/push")',
    'tenant_id = sys.env("LOKI_TENANT")',
    'host = sys.env("HOSTNAME")',
    'url = "http://" + sys.env("MIRROR") + ":" + sys.env("MIRROR_PORT") + "/push"',
    'env = coalesce(sys.env("DEPLOY_ENV"), "prod") + "-1"',
    '__path__ = sys.env("APP_LOGS") + "/*.log"',
    'replacement = "${1}"',
    'batch_wait = "3s"',
  ]) {
    assert.ok(config.replaceAll(/ +/g, ' ').includes(line), `${line} in ${config}`);
  }
  assert.doesNotMatch(config + stdout, /homeostat-env|\.invalid|6410\d/);
  assert.match(stdout, /\$\{WAIT:-3s\} stands where Alloy takes no variable; its default is written/);
  assert.match(stdout, /\/etc\/default\/alloy/);
});

test('a variable that stands where nothing fits it is named with its line', (t) => {
  const { convert } = begin(t, 'clients:\n  - url: http://loki/x\n    batchwait: ${WAIT}\n');
  const { status, stderr } = convert('promtail.yaml', '--out', 'm');
  assert.equal(status, 1);
  assert.match(stderr, /\$\{WAIT\}/);
});

test('the label job of a journal arrives as promtail sent it', (t) => {
  const { read, convert } = begin(t, CONFIG);
  assert.equal(convert('promtail.yaml', '--out', 'm', '--host', 'pi').status, 0);
  assert.match(
    read('m/config.alloy'),
    /discovery\.relabel "journal" \{\n\ttargets = \[\]\n\n\trule \{\n\t\ttarget_label = "job"\n\t\treplacement {2}= "journal"\n\t\}\n\n\trule \{/,
  );
  const plain =
    'clients: [{url: "http://loki/x"}]\nscrape_configs:\n  - {job_name: j, journal: {labels: {job: a$b}}}\n';
  const other = begin(t, plain);
  assert.equal(other.convert('promtail.yaml', '--out', 'm', '--host', 'pi').status, 0);
  const config = other.read('m/config.alloy');
  assert.match(config, /loki\.relabel "j_job" \{[^}]*replacement {2}= "a\$\$+b"/);
  assert.match(config, /relabel_rules = loki\.relabel\.j_job\.rules/);
});
