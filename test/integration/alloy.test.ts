// A whole pair: Service runs Alloy as a child of the agent, AlloyConfig keeps what it runs. With the Alloy that
// ALLOY_BIN names, or else the stand-in, which says so in the test's name.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { createSupervised } from '../../agent/providers/supervised.ts';
import type { Resource } from '../../api/bundle.ts';
import { sha256 } from '../../api/json.ts';
import { alloyConfig } from '../../kinds/alloy-config/index.ts';
import { service } from '../../kinds/service/index.ts';
import { freePort } from '../support/alloy/harness.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';

const real = process.env['ALLOY_BIN'];
const ALLOY = real ?? path.join(import.meta.dirname, '../support/alloy/alloy');
const WHICH = real === undefined ? 'stand-in: alloy' : 'real Alloy';
const CONFIG = 'AlloyConfig/alloy';
const SERVICE = 'Service/alloy';

/** Validate takes it, and Alloy ends when it loads it at its start. */
const endsAtLoad = (good: string): string =>
  good.replace('scrape_interval = "1s"', 'scrape_interval = sys.env("HOMEOSTAT_NO_SUCH_VARIABLE")');

const config = (interval: string) => `prometheus.exporter.unix "host" {
  set_collectors = ["uname", "loadavg"]
}

prometheus.scrape "host" {
  targets         = prometheus.exporter.unix.host.targets
  forward_to      = [prometheus.remote_write.central.receiver]
  scrape_interval = "${interval}"
  scrape_timeout  = "1s"
}

prometheus.remote_write "central" {
  endpoint {
    url = "http://127.0.0.1:9/api/v1/write"
  }
}
`;

async function setting(t: TestContext) {
  const directory = temporaryDirectory(t);
  const file = path.join(directory, 'config.alloy');
  const address = `127.0.0.1:${await freePort()}`;
  const files = createFiles();
  const http = createHttp();
  const processes = createProcesses();
  const quiet = { info: () => {}, warn: () => {} };
  const supervised = createSupervised({
    stateDir: path.join(directory, 'state'),
    clock: systemClock,
    log: quiet,
  });
  const line = new Timeline(t, {
    directory: path.join(directory, 'agent'),
    kinds: new Map([alloyConfig, service].map((kind) => [kind.kind, kind])),
    ports: { files, http, processes, supervised, units: supervised },
  });
  t.after(async () => {
    await line.stop();
    await Promise.all([supervised.close(), http.close(), processes.close(), files.close()]);
  });
  const both = (content: string, spec: object = {}, more: Partial<Resource> = {}) =>
    line.assign(
      resource('AlloyConfig', 'alloy', {
        path: file,
        content,
        address,
        binary: ALLOY,
        manager: 'supervised',
        unit: 'alloy.service',
      }),
      resource(
        'Service',
        'alloy',
        {
          unit: 'alloy.service',
          manager: 'supervised',
          command: [
            ALLOY,
            'run',
            `--server.http.listen-addr=${address}`,
            `--storage.path=${path.join(directory, 'data')}`,
            file,
          ],
          // The queue of an endpoint that does not answer blocks a reload; not for a minute here.
          env: { HOMEOSTAT_STANDIN_FLUSH_MS: '200', HOMEOSTAT_NODE: process.execPath },
          ...spec,
        },
        { dependsOn: [{ ref: CONFIG, until: 'Applied' }], ...more },
      ),
    );
  return { line, both, file, supervised, address, http };
}

async function loaded(address: string, http: ReturnType<typeof createHttp>): Promise<string> {
  const { body } = await http.request(`http://${address}/metrics`, { timeoutMs: 1000 });
  return /alloy_config_hash\{[^}]*sha256="([^"]+)"/.exec(body)?.[1] ?? '';
}

test(`a config and the Alloy that runs it come up from nothing, and are kept (${WHICH})`, {
  timeout: 120_000,
}, async (t) => {
  const { line, both, file, supervised, address, http } = await setting(t);
  const good = config('1s');
  line.start();
  both(good);
  await line.expect(SERVICE, 'True');
  await eventually(() => assert.equal(line.condition(CONFIG, 'Ready')?.status, 'True'), 30_000);
  const hash = await loaded(address, http);

  fs.writeFileSync(file, '// edited by hand\n');
  await eventually(() => assert.equal(fs.readFileSync(file, 'utf8'), good));
  await eventually(() => assert.equal(line.status(CONFIG).healedTotal, 1));
  assert.equal(await loaded(address, http), hash);

  // Edited and loaded before anybody could mend it: what runs is mended too.
  await line.agent.suspend(CONFIG, 60_000, 'the test edits');
  fs.writeFileSync(file, config('7s'));
  await http.request(`http://${address}/-/reload`, { method: 'POST', timeoutMs: 30_000 });
  assert.notEqual(await loaded(address, http), hash);
  line.agent.resume(CONFIG);
  await eventually(async () => assert.equal(await loaded(address, http), hash), 30_000);

  const before = await supervised.show('alloy.service');
  process.kill(before.mainPID, 'SIGKILL');
  await eventually(async () => {
    const now = await supervised.show('alloy.service');
    assert.equal(now.activeState, 'active');
    assert.notEqual(now.invocationID, before.invocationID);
  });
  await eventually(async () => assert.equal(await loaded(address, http), hash), 30_000);
  await line.expect(SERVICE, 'True');
});

test(`what validate or the reload refuses leaves the confirmed config running (${WHICH})`, {
  timeout: 120_000,
}, async (t) => {
  const { line, both, file, address, http } = await setting(t);
  const good = config('1s');
  line.start();
  both(good);
  await eventually(() => assert.equal(line.condition(CONFIG, 'Ready')?.status, 'True'), 30_000);
  const hash = await loaded(address, http);

  both(good.replace('url =', 'uri ='));
  await line.expect(CONFIG, 'False', 'Invalid');
  assert.match(
    line.condition(CONFIG, 'Ready')!.message,
    /config\.alloy:\d+:\d+: unrecognized attribute name "uri"/,
  );
  assert.equal(fs.readFileSync(file, 'utf8'), good);

  // Valid, and fails when it is evaluated: only the reload finds out.
  both(endsAtLoad(good));
  await eventually(() => {
    const ready = line.condition(CONFIG, 'Ready');
    assert.equal(ready?.status, 'False');
    assert.match(ready?.reason ?? '', /RolledBack|Invalid/);
    assert.notEqual(line.status(CONFIG).desiredDigest, line.status(CONFIG).runningDigest);
  }, 60_000);
  assert.equal(fs.readFileSync(file, 'utf8'), good);
  assert.equal(await loaded(address, http), hash);
  const healthy = await http.request(`http://${address}/-/healthy`, { timeoutMs: 1000 });
  assert.equal(healthy.status, 200, healthy.body);
});

for (const begins of ['on a new host', 'where a config was confirmed before']) {
  test(`a config that ends Alloy at its load, ${begins}: a commit that mends it alone has both Ready (${WHICH})`, {
    timeout: 120_000,
  }, async (t) => {
    const { line, both, address, http } = await setting(t);
    const good = config('1s');
    const commit = (content: string) => both(content, { restartOn: [CONFIG] });
    const isReady = async (wanted: string) => {
      await eventually(() => {
        for (const key of [CONFIG, SERVICE]) {
          const ready = line.condition(key, 'Ready');
          assert.equal(ready?.status, 'True', `${key}: ${ready?.reason}: ${ready?.message}`);
          assert.equal(line.status(key).runningDigest, line.status(key).desiredDigest);
        }
      }, 60_000);
      assert.equal(await loaded(address, http), sha256(wanted));
    };
    line.start();
    if (begins !== 'on a new host') {
      commit(good);
      await isReady(good);
    }
    commit(endsAtLoad(good));
    await eventually(() => assert.equal(line.condition(CONFIG, 'Ready')?.reason, 'RolledBack'), 60_000);
    // In Alloy's own words, and with its place, also where it was the first that Alloy ever loaded.
    assert.match(line.condition(CONFIG, 'Ready')!.message, /config\.alloy:\d+:\d+: /);
    const mended = config('2s');
    commit(mended);
    await isReady(mended);
  });
}
