// AlloyConfig beside an Alloy that the test runs: with the Alloy that ALLOY_BIN names, or else the stand-in, which says so
// in the tests' names. What its API, its reload and SIGHUP really do when a config closes the API or can't be loaded.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { createSupervised } from '../../agent/providers/supervised.ts';
import { sha256 } from '../../api/json.ts';
import { alloyConfig } from '../../kinds/alloy-config/index.ts';
import { alloyBinary, freePort } from '../support/alloy/harness.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';

const WHICH = process.env['ALLOY_BIN'] === undefined ? 'stand-in: alloy' : 'real Alloy';
const CONFIG = 'AlloyConfig/alloy';
const UNIT = 'alloy.service';
const OPTIONS = { timeout: 120_000 };

const OPEN = `prometheus.exporter.self "a" { }

prometheus.scrape "a" {
  targets    = prometheus.exporter.self.a.targets
  forward_to = []
}
`;
const LOCKS = `http {
  auth {
    basic {
      username = "ops"
      password = "not-a-real-password"
    }

    filter {
      paths                       = array.concat(["/"])
      authenticate_matching_paths = true
    }
  }
}

${OPEN}`;

async function setting(t: TestContext) {
  const directory = temporaryDirectory(t);
  const file = path.join(directory, 'config.alloy');
  fs.writeFileSync(file, '// nothing yet\n');
  const address = `127.0.0.1:${await freePort()}`;
  const [files, http, processes] = [createFiles(), createHttp(), createProcesses()];
  const quiet = { info: () => {}, warn: () => {} };
  const supervised = createSupervised({
    stateDir: path.join(directory, 'state'),
    clock: systemClock,
    log: quiet,
  });
  const begin = (): Timeline =>
    new Timeline(t, {
      directory: path.join(directory, 'agent'),
      kinds: new Map([[alloyConfig.kind, alloyConfig]]),
      ports: { files, http, processes, supervised, units: supervised },
      withinMs: 30_000,
    }).start();
  const line = begin();
  t.after(async () => {
    await line.stop();
    await Promise.all([supervised.close(), http.close(), processes.close(), files.close()]);
  });
  const storage = `--storage.path=${path.join(directory, 'data')}`;
  supervised.define(UNIT, {
    command: [alloyBinary(), 'run', `--server.http.listen-addr=${address}`, storage, file],
    env: { HOMEOSTAT_STANDIN_FLUSH_MS: '200', HOMEOSTAT_NODE: process.execPath },
    enabled: true,
  });
  await supervised.run('start', UNIT);
  const ask = (at: string) => http.request(`http://${address}${at}`, { timeoutMs: 5000 });
  await eventually(async () => assert.equal((await ask('/-/ready')).status, 200), 30_000);
  const assign = (content: string, to = line) =>
    to.assign(
      resource('AlloyConfig', 'alloy', {
        path: file,
        content,
        address,
        binary: alloyBinary(),
        manager: 'supervised',
        unit: UNIT,
      }),
    );
  const runs = async (content: string) =>
    assert.match(
      (await ask('/metrics')).body,
      new RegExp(`alloy_config_hash\\{[^}]*sha256="${sha256(content)}"`),
    );
  return { line, begin, assign, runs, ask, file, supervised };
}

test(
  `a config that shuts us out is rolled back by SIGHUP, and the next commit gets in (${WHICH})`,
  OPTIONS,
  async (t) => {
    const { line, assign, runs, ask, file, supervised } = await setting(t);
    assign(OPEN);
    await line.expect(CONFIG, 'True');
    await runs(OPEN);
    const { invocationID } = await supervised.show(UNIT);

    assign(LOCKS);
    await line.expect(CONFIG, 'False', 'RolledBack');
    assert.match(
      line.condition(CONFIG, 'Ready')!.message,
      /^LockedOut: .*answers 401.*authenticate_matching_paths = false/,
    );
    assert.equal(fs.readFileSync(file, 'utf8'), OPEN);
    await runs(OPEN);
    assert.equal((await ask('/-/healthy')).status, 200);
    assert.equal((await supervised.show(UNIT)).invocationID, invocationID, 'reloaded, not restarted');

    const third = OPEN.replaceAll('"a"', '"b"').replace('self.a.', 'self.b.');
    assign(third);
    await eventually(() => runs(third), 30_000);
    await line.expect(CONFIG, 'True');
  },
);

test(`an agent that starts while it is shut out rolls back, too (${WHICH})`, OPTIONS, async (t) => {
  const { line, begin, assign, runs } = await setting(t);
  assign(OPEN);
  await line.expect(CONFIG, 'True');
  assign(LOCKS);
  await line.expect(CONFIG, 'Unknown', 'LockedOut');
  await line.stop();
  const again = begin();
  assign(LOCKS, again);
  await again.expect(CONFIG, 'False', 'RolledBack');
  await runs(OPEN);
});

test(
  `a confirmed config comes back from another one that somebody loaded and that shuts us out (${WHICH})`,
  OPTIONS,
  async (t) => {
    const { line, assign, runs, file, supervised } = await setting(t);
    assign(OPEN);
    await line.expect(CONFIG, 'True');
    await line.agent.suspend(CONFIG, 60_000, 'the test edits');
    fs.writeFileSync(file, LOCKS);
    await supervised.run('reload', UNIT);
    await eventually(() => assert.rejects(runs(OPEN)), 30_000);
    fs.writeFileSync(file, OPEN);
    line.agent.resume(CONFIG);
    await eventually(() => runs(OPEN), 30_000);
    await line.expect(CONFIG, 'True');
  },
);

test(
  `what validates and can’t be loaded is rolled back, and the pipeline is whole again (${WHICH})`,
  OPTIONS,
  async (t) => {
    const { line, assign, runs, ask } = await setting(t);
    assign(OPEN);
    await line.expect(CONFIG, 'True');
    assign(OPEN.replace('forward_to', 'scrape_interval = "2s"\n  forward_to'));
    await line.expect(CONFIG, 'False', 'RolledBack');
    assert.match(
      line.condition(CONFIG, 'Ready')!.message,
      /ReloadRefused: .*scrape_timeout \(10s\) greater than/s,
    );
    await runs(OPEN);
    assert.equal((await ask('/-/healthy')).status, 200);
  },
);
