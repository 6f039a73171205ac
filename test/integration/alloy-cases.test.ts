// Inputs that AlloyConfig failed at once (cases 01 to 03): several files, flags, and an API that wants a password
// or TLS. With the Alloy that ALLOY_BIN names, or else the stand-in.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { load } from 'js-yaml';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { createSupervised } from '../../agent/providers/supervised.ts';
import { sha256 } from '../../api/json.ts';
import { alloyConfig } from '../../kinds/alloy-config/index.ts';
import type { HttpResponse } from '../../kinds/ports.ts';
import { service } from '../../kinds/service/index.ts';
import { freePort } from '../support/alloy/harness.ts';
import { RECORDINGS, require, SHARED_DATA } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';

const ALLOY = process.env['ALLOY_BIN'] ?? path.join(import.meta.dirname, '../support/alloy/alloy');
const CASES = path.join(SHARED_DATA, '../cases');
const CONFIG = 'AlloyConfig/alloy';
const SERVICE = 'Service/alloy';
const WITHIN_MS = 60_000;
const OURS = 'prometheus.exporter.self "a" { }\n';

function inCase(name: string, file: string): string {
  return fs.readFileSync(path.join(CASES, name, file), 'utf8');
}

function contentOf(name: string): string {
  const { spec } = load(inCase(name, 'manifests/doc.yaml')) as { spec: { content: string } };
  return spec.content;
}

interface Commit {
  readonly spec: object;
  readonly flags?: readonly string[];
  readonly env?: Record<string, string>;
}

/** A Service that runs Alloy on `target`, below a directory of the test's, and an AlloyConfig that it comes after. */
async function setting(t: TestContext, target: string, secrets: Record<string, string> = {}) {
  const directory = temporaryDirectory(t);
  const etc = path.join(directory, 'alloy');
  fs.mkdirSync(etc);
  const address = `127.0.0.1:${await freePort()}`;
  const files = createFiles();
  const http = createHttp();
  const processes = createProcesses();
  const log = { info: () => {}, warn: () => {} };
  const stateDir = path.join(directory, 'state');
  const supervised = createSupervised({ stateDir, clock: systemClock, log });
  const line = new Timeline(t, {
    directory: path.join(directory, 'agent'),
    kinds: new Map([alloyConfig, service].map((kind) => [kind.kind, kind])),
    ports: { files, http, processes, supervised, units: supervised },
    withinMs: WITHIN_MS,
    env: secrets,
  }).start();
  t.after(async () => {
    await line.stop();
    await Promise.all([supervised.close(), http.close(), processes.close(), files.close()]);
  });
  const commit = ({ spec, flags = [], env = {} }: Commit): void => {
    const runner = { address, binary: ALLOY, manager: 'supervised', unit: 'alloy.service' };
    const listen = `--server.http.listen-addr=${address}`;
    const storage = `--storage.path=${path.join(directory, 'data')}`;
    line.assign(
      resource('AlloyConfig', 'alloy', { path: path.join(etc, 'config.alloy'), ...runner, ...spec }),
      resource(
        'Service',
        'alloy',
        {
          unit: 'alloy.service',
          manager: 'supervised',
          command: [ALLOY, 'run', listen, storage, ...flags, path.join(etc, target)],
          env: { HOMEOSTAT_STANDIN_FLUSH_MS: '200', HOMEOSTAT_NODE: process.execPath, ...env },
        },
        { dependsOn: [{ ref: CONFIG, until: 'Applied' }] },
      ),
    );
  };
  const isReady = () =>
    eventually(() => {
      const ready = line.condition(CONFIG, 'Ready');
      assert.equal(ready?.status, 'True', `${ready?.reason}: ${ready?.message}`);
      assert.equal(line.status(CONFIG).runningDigest, line.status(CONFIG).desiredDigest);
    }, WITHIN_MS);
  const message = () => line.condition(CONFIG, 'Ready')!.message;
  const ask = (asked: string, options = {}, origin = `http://${address}`): Promise<HttpResponse> =>
    http.request(`${origin}${asked}`, { timeoutMs: 5000, ...options });
  const loaded = async () =>
    /alloy_config_hash\{[^}]*sha256="([^"]+)"/.exec((await ask('/metrics')).body)?.[1];
  return { line, etc, address, commit, isReady, message, ask, loaded };
}

test('01: one file of a directory is validated and loaded with its neighbours, which are left alone', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, RECORDINGS)) return;
  const name = '01-alloy-config-in-several-files';
  const { line, etc, commit, isReady, message, ask, loaded } = await setting(t, '');
  const outputs = inCase(name, 'outputs.alloy').replace('9090', '9');
  const at = (file: string) => path.join(etc, file);
  fs.writeFileSync(at('outputs.alloy'), outputs);
  const main = contentOf(name);
  const spec = { path: at('main.alloy'), content: main };
  // Nothing runs yet that could be asked what it loads.
  commit({ spec: { ...spec, directory: true } });
  await isReady();
  commit({ spec });
  await isReady();
  assert.equal(await loaded(), sha256(main + outputs));

  commit({ spec: { ...spec, content: main.replace('forward_to', 'forward') } });
  await line.expect(CONFIG, 'False', 'Invalid');
  assert.match(message(), new RegExp(`^${at('main.alloy')}:3:3: |^${at('main.alloy')}:5:3: `));
  assert.equal(fs.readFileSync(at('main.alloy'), 'utf8'), main);
  assert.equal(fs.readFileSync(at('outputs.alloy'), 'utf8'), outputs);
  commit({ spec });
  await isReady();

  // Somebody's mistake next door: it is not loaded, and it is not ours.
  fs.writeFileSync(at('outputs.alloy'), outputs.replace('url', 'uri'));
  await line.expect(CONFIG, 'False', 'NeighbourRefused');
  assert.match(message(), /this document does not own: .*outputs\.alloy:3:5/);
  assert.equal(await loaded(), sha256(main + outputs));
  assert.equal((await ask('/-/healthy')).status, 200);
  assert.equal(line.status(CONFIG).conditions.find(({ type }) => type === 'Applied')?.status, 'True');

  const other = `// another endpoint\n${outputs}`;
  fs.writeFileSync(at('outputs.alloy'), other);
  await eventually(async () => assert.equal(await loaded(), sha256(main + other)), WITHIN_MS);
  await isReady();
  assert.deepEqual(fs.readdirSync(etc).sort(), ['main.alloy', 'outputs.alloy']);
});

test('several files of a document change together, and go one by one', { timeout: 180_000 }, async (t) => {
  const { line, etc, commit, isReady, message, loaded } = await setting(t, '');
  const at = (file: string) => path.join(etc, file);
  fs.writeFileSync(at('b.alloy'), '// as the user had it\n');
  const write = 'prometheus.remote_write "w" {\n  endpoint {\n    url = "http://127.0.0.1:9/w"\n  }\n}\n';
  const scrape = `${OURS}prometheus.scrape "a" {\n  targets = prometheus.exporter.self.a.targets\n  forward_to = [prometheus.remote_write.w.receiver]\n}\n`;
  const files = (contents: Record<string, string>) => ({
    path: etc,
    files: Object.fromEntries(Object.entries(contents).map(([name, content]) => [name, { content }])),
  });
  commit({ spec: files({ 'a.alloy': scrape, 'b.alloy': write }) });
  await isReady();
  assert.equal(await loaded(), sha256(scrape + write));

  fs.unlinkSync(at('b.alloy'));
  await eventually(() => assert.equal(fs.readFileSync(at('b.alloy'), 'utf8'), write), WITHIN_MS);
  await isReady();

  // What leaves one file and comes into another is right as a whole only.
  commit({ spec: files({ 'a.alloy': `${scrape}${write}`, 'c.alloy': '// nothing yet\n' }) });
  await isReady();
  assert.deepEqual(fs.readdirSync(etc).sort(), ['a.alloy', 'c.alloy']);
  assert.equal(await loaded(), sha256(`${scrape}${write}// nothing yet\n`));

  commit({ spec: files({ 'a.alloy': scrape, 'c.alloy': '// without what a needs\n' }) });
  await line.expect(CONFIG, 'False', 'Invalid');
  assert.match(message(), /a\.alloy:4:\d+: component "prometheus\.remote_write\.w\.receiver" does not exist/);

  line.assign();
  await line.expectGone(CONFIG);
  assert.deepEqual(fs.readdirSync(etc), ['b.alloy'], 'what was created went');
  assert.equal(fs.readFileSync(at('b.alloy'), 'utf8'), '// as the user had it\n');
});

test('02: a config is validated with the flags of the Alloy that runs, and what the document says otherwise is reported', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, RECORDINGS)) return;
  const { line, commit, isReady, message, loaded } = await setting(t, 'config.alloy');
  const flags = ['--stability.level=experimental', '--feature.community-components.enabled=true'];
  const content = contentOf('02-alloy-community-component');
  commit({ spec: { content: OURS }, flags });
  await isReady();
  commit({ spec: { content }, flags });
  await isReady();
  assert.equal(await loaded(), sha256(content));

  // Alloy allows more than the document says: that runs, and is not passed over.
  commit({ spec: { content: OURS, stability: 'public-preview' }, flags });
  await line.expect(CONFIG, 'False', 'FlagsDiffer');
  assert.match(message(), /--stability\.level=experimental, and the document says stability: public-preview/);
  assert.equal(await loaded(), sha256(OURS));

  commit({ spec: { content, communityComponents: false }, flags });
  await line.expect(CONFIG, 'False', 'Invalid');
  assert.match(message(), /config\.alloy:2:1: the component "otelcol\.exporter\.datadog" is a community/);
});

test('02: a config that needs other flags is loaded by the Alloy that is started with them', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, RECORDINGS)) return;
  const { line, commit, isReady, message, loaded } = await setting(t, 'config.alloy');
  const content = contentOf('02-alloy-community-component');
  commit({ spec: { content: OURS } });
  await isReady();
  commit({ spec: { content } });
  await line.expect(CONFIG, 'False', 'Invalid');
  const wanted = { content, stability: 'experimental', communityComponents: true };
  commit({ spec: wanted });
  await eventually(() => assert.equal(line.condition(CONFIG, 'Ready')?.reason, 'FlagsDiffer'), WITHIN_MS);
  assert.match(message(), /communityComponents: true.*Restart it with what the document says/);
  assert.equal(await loaded(), sha256(OURS), 'it was not reloaded with what it would refuse');
  const flags = ['--stability.level=experimental', '--feature.community-components.enabled'];
  commit({ spec: wanted, flags });
  await isReady();
  assert.equal(await loaded(), sha256(content));
  await line.expect(SERVICE, 'True');
});

test('03: a config that wants a password is refused before it is written, and the next commit gets in', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, RECORDINGS)) return;
  const name = '03-alloy-http-auth-locks-us-out';
  const { line, etc, commit, isReady, message, loaded } = await setting(t, 'config.alloy');
  const [first, second] = [inCase(name, 'step1.alloy'), contentOf(name)];
  commit({ spec: { content: first } });
  await isReady();
  commit({ spec: { content: second } });
  await line.expect(CONFIG, 'False', 'LockedOut');
  assert.match(message(), /config\.alloy:3:3: http \{ auth \} wants a password .*spec\.http\.basicAuth/);
  assert.equal(fs.readFileSync(path.join(etc, 'config.alloy'), 'utf8'), first);
  assert.equal(await loaded(), sha256(first));
  const third = `${first}// third\n`;
  commit({ spec: { content: third } });
  await isReady();
  assert.equal(await loaded(), sha256(third));
});

test('03: with the password of the config it gets in, and with another one it is rolled back without the API', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, RECORDINGS)) return;
  const name = '03-alloy-http-auth-locks-us-out';
  const secrets = { RIGHT: 'not-a-real-password', WRONG: 'not-that-one' };
  const { line, etc, commit, isReady, message, ask, loaded } = await setting(t, 'config.alloy', secrets);
  const [first, second] = [inCase(name, 'step1.alloy'), contentOf(name)];
  const env = { INTERFACE_PASSWORD: secrets.RIGHT };
  const as = (content: string, secret: string) => {
    const basicAuth = { username: 'ops', password: { secretFrom: { env: secret } } };
    return { spec: { content, http: { basicAuth } }, env };
  };
  commit({ spec: { content: first }, env });
  await isReady();

  // Written out, the password is compared before anything is written.
  commit(as(second, 'WRONG'));
  await line.expect(CONFIG, 'False', 'LockedOut');
  assert.match(message(), /with another password than spec\.http\.basicAuth has/);
  assert.doesNotMatch(message(), /not-a-real-password/);

  // From a variable, only Alloy knows it.
  const hidden = second.replace('"not-a-real-password"', 'sys.env("INTERFACE_PASSWORD")');
  commit(as(hidden, 'WRONG'));
  await line.expect(CONFIG, 'False', 'RolledBack');
  assert.match(message(), /^LockedOut: .*answers 401/);
  assert.equal(fs.readFileSync(path.join(etc, 'config.alloy'), 'utf8'), first);
  await eventually(async () => assert.equal(await loaded(), sha256(first)), WITHIN_MS);

  commit(as(hidden, 'RIGHT'));
  await isReady();
  assert.equal((await ask('/-/ready')).status, 401, 'without the password');

  // Back to no password, with which the old one is not needed any more.
  const third = `${first}// third\n`;
  commit({ spec: { content: third }, env });
  await isReady();
  assert.equal(await loaded(), sha256(third));
});

test('03: an API that speaks TLS is asked with the CA, from its first reload to its last', {
  timeout: 180_000,
}, async (t) => {
  const { line, etc, address, commit, isReady, message, ask, loaded } = await setting(t, 'config.alloy');
  const [cert, key] = ['cert.pem', 'key.pem'].map((file) => path.join(path.dirname(etc), file));
  const subject = ['-subj', '/CN=alloy', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const request = ['req', '-x509', ...curve, '-days', '2', '-keyout', key!, '-out', cert!, ...subject];
  execFileSync('openssl', request, { stdio: 'ignore' });
  const ca = fs.readFileSync(cert!, 'utf8');
  const tls = `http {\n  tls {\n    cert_file = "${cert}"\n    key_file  = "${key}"\n  }\n}\n${OURS}`;
  commit({ spec: { content: OURS } });
  await isReady();
  commit({ spec: { content: tls } });
  await line.expect(CONFIG, 'False', 'LockedOut');
  assert.match(message(), /config\.alloy:2:3: http \{ tls \}.*spec\.http\.tls/);
  commit({ spec: { content: OURS, http: { tls: { ca } } } });
  await eventually(() => assert.match(message(), /has no http \{ tls \} block/), WITHIN_MS);

  // Nobody signed it but itself: without its CA it is not trusted.
  commit({ spec: { content: tls, http: { tls: {} } } });
  await line.expect(CONFIG, 'False', 'RolledBack');
  assert.match(message(), /^LockedOut: .*can’t be asked over TLS/);
  await eventually(async () => assert.equal(await loaded(), sha256(OURS)), WITHIN_MS);

  commit({ spec: { content: tls, http: { tls: { ca } } } });
  await isReady();
  const asked = await ask('/-/ready', { tls: { ca } }, `https://${address}`);
  assert.equal(asked.status, 200);
  assert.equal((await ask('/-/ready')).status, 400);

  commit({ spec: { content: `${OURS}// plain again\n` } });
  await isReady();
  assert.equal(await loaded(), sha256(`${OURS}// plain again\n`));
});
