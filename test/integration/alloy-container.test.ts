// The droplet's pair on a real engine: Container runs Alloy, AlloyConfig keeps what it runs, and validates with the
// image. With the Alloy that ALLOY_BIN names, or else the stand-in, which says so in the tests' names.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createDocker } from '../../agent/providers/docker.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { createMounts } from '../../agent/providers/mounts.ts';
import type { Resource } from '../../api/bundle.ts';
import { sha256 } from '../../api/json.ts';
import { freePort } from '../support/alloy/harness.ts';
import { alloyImage } from '../support/alloy/image.ts';
import { DOCKER, require } from '../support/capabilities.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
import { manifestsFor } from '../support/manifests.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';

const WHICH = process.env['ALLOY_BIN'] === undefined ? 'stand-in: alloy' : 'real Alloy';
/** The one that manifests/ name; here it is what alloyImage() made. */
const IMAGE = 'grafana/alloy:v1.18.0';
const [CONFIG, CONTAINER] = ['AlloyConfig/alloy', 'Container/alloy'];
const OPTIONS = { timeout: 240_000 };
let engine: TestEngine;

before(async () => {
  if (DOCKER.missing() !== undefined) return;
  engine = await startDockerd();
  await alloyImage(engine, IMAGE);
});
after(() => engine?.stop());

const text = (interval: string) => `prometheus.exporter.unix "host" {
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

async function begin(t: TestContext, root?: string) {
  const directory = path.join(temporaryDirectory(t), 'etc-alloy');
  const file = path.join(directory, 'config.alloy');
  const address = `127.0.0.1:${await freePort()}`;
  const docker = createDocker(engine.address);
  const sandbox = root === undefined ? {} : { root };
  const [files, http, mounts] = [createFiles(sandbox), createHttp(), createMounts(sandbox)];
  const line = new Timeline(t, {
    ports: { files, http, docker, mounts, clock: systemClock },
    withinMs: 60_000,
  });
  t.after(async () => {
    await line.stop();
    await Promise.all([files.close(), http.close(), docker.close()]);
    const left = await engine.docker('ps', '--all', '--quiet');
    if (left !== '') await engine.docker('rm', '-f', ...left.split('\n'));
  });
  const both = (content: string, more: object = {}, container: object = { name: 'alloy', image: IMAGE }) =>
    line.assign(
      resource('AlloyConfig', 'alloy', {
        path: file,
        content,
        address,
        container,
      }),
      resource(
        'Container',
        'alloy',
        {
          name: 'alloy',
          image: IMAGE,
          pull: 'never',
          network: 'host',
          hostname: 'droplet',
          command: [
            'run',
            `--server.http.listen-addr=${address}`,
            '--storage.path=/var/lib/alloy/data',
            file,
          ],
          env: { HOMEOSTAT_STANDIN_FLUSH_MS: '200' },
          mounts: [
            { type: 'bind', source: directory, target: directory, readOnly: true },
            { type: 'bind', source: '/proc', target: '/host/proc', readOnly: true },
            { type: 'bind', source: '/', target: '/host/root', readOnly: true, propagation: 'rslave' },
            { type: 'volume', source: 'alloy-data', target: '/var/lib/alloy/data' },
          ],
          ...more,
        },
        { dependsOn: [{ ref: CONFIG, until: 'Applied' }] },
      ),
    );
  const runs = async (content: string) => {
    const { body } = await http.request(`http://${address}/metrics`, { timeoutMs: 5000 });
    assert.match(body, new RegExp(`alloy_config_hash\\{[^}]*sha256="${sha256(content)}"`));
  };
  const ready = (key: string) =>
    eventually(() => {
      const condition = line.condition(key, 'Ready');
      assert.equal(condition?.status, 'True', `${key}: ${condition?.reason}: ${condition?.message}`);
    }, 60_000);
  return { line: line.start(), both, runs, ready, file, address };
}

const containers = () => engine.docker('ps', '--all', '--format', '{{.Names}}');

test(
  `a config and the container that runs it come up from nothing, and are kept (${WHICH})`,
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { both, runs, ready, file } = await begin(t);
    const good = text('1s');
    both(good);
    await ready(CONTAINER);
    await ready(CONFIG);
    await runs(good);
    assert.equal(await engine.docker('exec', 'alloy', 'cat', '/proc/sys/kernel/hostname'), 'droplet');
    assert.equal(await containers(), 'alloy', 'what validated is gone');

    // Replaced in one step on the host, and seen in the container.
    fs.writeFileSync(`${file}.new`, '// by hand\n');
    fs.renameSync(`${file}.new`, file);
    await eventually(() => assert.equal(fs.readFileSync(file, 'utf8'), good), 60_000);
    assert.equal(await engine.docker('exec', 'alloy', 'cat', file), good.trim());
    await eventually(() => runs(good), 60_000);

    await engine.docker('rm', '-f', 'alloy');
    await eventually(
      async () => assert.equal(await engine.docker('inspect', '-f', '{{.State.Running}}', 'alloy'), 'true'),
      60_000,
    );
    await eventually(() => runs(good), 60_000);
    const newer = text('2s');
    both(newer);
    await eventually(() => runs(newer), 60_000);
    await ready(CONFIG);
  },
);

test(
  `what the image’s Alloy refuses is never written, and is reported under the config’s own name (${WHICH})`,
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, both, runs, ready, file } = await begin(t);
    const good = text('1s');
    both(good);
    await ready(CONFIG);
    // With the image that the container has, whatever that is.
    both(good.replace('url =', 'uri ='), {}, { name: 'alloy' });
    await eventually(() => assert.equal(line.condition(CONFIG, 'Ready')?.reason, 'Invalid'), 60_000);
    assert.match(
      line.condition(CONFIG, 'Ready')!.message,
      /^\/\S+\/config\.alloy:\d+:\d+: unrecognized attribute name "uri"/,
    );
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['config.alloy']);
    await runs(good);
    assert.equal(await containers(), 'alloy');
  },
);

test(
  `a config that shuts us out is rolled back by a signal to the container (${WHICH})`,
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, both, runs, ready } = await begin(t);
    const good = text('1s');
    both(good);
    await ready(CONTAINER);
    await ready(CONFIG);
    const started = await engine.docker('inspect', '-f', '{{.State.StartedAt}}', 'alloy');
    // Which paths it closes is only known once it is evaluated.
    const filter = 'filter { paths = array.concat(["/"]) }';
    both(`http {\nauth {\nbasic {\nusername = "ops"\npassword = "x"\n}\n${filter}\n}\n}\n${good}`);
    await eventually(() => assert.equal(line.condition(CONFIG, 'Ready')?.reason, 'RolledBack'), 60_000);
    assert.match(line.condition(CONFIG, 'Ready')!.message, /^LockedOut: /);
    await runs(good);
    assert.equal(await engine.docker('inspect', '-f', '{{.State.StartedAt}}', 'alloy'), started);
  },
);

test(
  `a container that was left by a killed agent is removed by the next validation (${WHICH})`,
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { both, ready } = await begin(t);
    const label = `dev.homeostat.run=${CONFIG}`;
    await engine.docker(
      'create',
      '--network=none',
      '--label',
      label,
      '--name=left-over',
      IMAGE,
      'validate',
      '/x',
    );
    both(text('1s'));
    await ready(CONFIG);
    assert.equal(await containers(), 'alloy');
  },
);

test(
  `a container whose Alloy does not start is rolled back, and the config runs on (${WHICH})`,
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, both, runs, ready } = await begin(t);
    const good = text('1s');
    both(good);
    await ready(CONTAINER);
    await ready(CONFIG);
    // An Alloy that does not start with what it was told leaves the container, and so the config, as they were.
    both(good, { command: ['run', '--no-such-flag'] });
    await eventually(() => {
      const condition = line.condition(CONTAINER, 'Ready');
      assert.equal(condition?.reason, 'RolledBack', condition?.message ?? 'no condition');
      assert.match(condition?.message ?? '', /no-such-flag/);
    }, 60_000);
    await eventually(() => runs(good), 60_000);
  },
);

test(
  `row 5: the droplet’s documents, as it gets them, run Alloy with all it must see (${WHICH})`,
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    // The host's files are those of a sandbox; its processes and devices are this machine's.
    const root = temporaryDirectory(t);
    for (const directory of ['etc', 'run/log/journal', 'var/log/journal']) {
      fs.mkdirSync(path.join(root, directory), { recursive: true });
    }
    fs.writeFileSync(path.join(root, 'etc/machine-id'), '0123456789abcdef0123456789abcdef\n');
    for (const tree of ['proc', 'sys']) fs.symlinkSync(`/${tree}`, path.join(root, tree));
    const { line, ready, address } = await begin(t, root);

    const resources = await manifestsFor('digitalocean');
    const chosen = resources.filter(({ name }) => name === 'alloy' || name === 'alloy-container');
    assert.deepEqual(chosen.map(({ kind }) => kind).sort(), ['AlloyConfig', 'Container']);
    const documents = (change: (text: string) => string): Resource[] =>
      chosen.map((document) => {
        const here = JSON.stringify(document.spec)
          .replaceAll('127.0.0.1:12345', address)
          .replaceAll(/100\.64\.0\.4:\d+/g, '127.0.0.1:9');
        const spec = JSON.parse(change(here)) as Record<string, unknown>;
        return { ...document, spec: document.kind === 'AlloyConfig' ? { ...spec, address } : spec };
      });
    line.assign(...documents((text) => text));
    await ready('Container/alloy');
    await ready('AlloyConfig/alloy-container');

    const sees = (command: string) => engine.docker('exec', 'alloy', 'sh', '-c', command);
    assert.match(await sees('cat /host/proc/1/comm /etc/machine-id'), /\n0123456789abcdef/);
    assert.match(
      await sees('ls -d /host/root/var/log/journal /run/log/journal /var/log/journal /host/sys/kernel'),
      /sys/,
    );
    assert.equal(await sees('cat /proc/sys/kernel/hostname'), 'digitalocean');
    assert.match(await sees('touch /etc/alloy/x /host/root/x 2>&1; true'), /Read-only[\s\S]*Read-only/);
    const format = '{{.HostConfig.NetworkMode}} {{.HostConfig.RestartPolicy.Name}} {{.Config.Image}}';
    assert.equal(await engine.docker('inspect', '-f', format, 'alloy'), `host always ${IMAGE}`);
    assert.match(await engine.docker('volume', 'ls', '--quiet'), /^alloy-data$/m);

    const before = await engine.docker('inspect', '-f', '{{.Id}}', 'alloy');
    line.assign(...documents((text) => text.replace('/var/lib/alloy/data"', '/var/lib/alloy/data/"')));
    await eventually(async () => {
      assert.notEqual(await engine.docker('inspect', '-f', '{{.Id}}', 'alloy'), before);
      assert.equal(await containers(), 'alloy');
    }, 60_000);
    await ready('Container/alloy');
  },
);
