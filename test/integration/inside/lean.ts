// manifests/ as a host gets them, before and after the label telemetry is edited, with real systemd, apt and dpkg. Runs
// inside a booted host (../lean.test.ts).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createFiles } from '../../../agent/providers/files.ts';
import { createHttp } from '../../../agent/providers/http.ts';
import { createProcesses } from '../../../agent/providers/processes.ts';
import { createSystemd } from '../../../agent/providers/systemd.ts';
import { Payload } from '../../../api/bundle.ts';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { targetsOf } from '../../../controller/pipeline/targets.ts';
import { readDirectory } from '../../../controller/source/directory.ts';
import { kinds } from '../../../kinds/index.ts';
import { AptArchive, type TestPackage } from '../../support/apt-archive.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { Timeline } from '../../support/timeline.ts';

const root = path.dirname(path.dirname(path.dirname(import.meta.dirname)));
const ADDRESS = process.env['HOST_ADDRESS'] ?? '';
const KINDS = ['AptRepository', 'Package', 'File', 'Service', 'AlloyConfig'];
const WAIT_MS = 120_000;
const run = promisify(execFile);

/** A package with a program, its unit and a config, as the real one's: what it starts at once, it starts at once. */
function packaged(name: string, program: string, command: string, starts: boolean): TestPackage {
  const start = `systemctl daemon-reload; systemctl enable ${name}; systemctl start ${name} || true`;
  const stop = `[ "$1" = remove ] && systemctl disable --now ${name}; true`;
  return {
    name,
    version: '1.0',
    files: {
      [`/usr/bin/${name}`]: `#!/bin/sh\nexec env HOMEOSTAT_NODE=${process.execPath} HOMEOSTAT_STANDIN_FLUSH_MS=100 ${program} "$@"\n`,
      [`/lib/systemd/system/${name}.service`]: `[Service]\nExecStart=/usr/bin/${name} ${command}\nRestart=on-failure\n[Install]\nWantedBy=multi-user.target\n`,
      [`/etc/${name}/packaged.conf`]: '# from the package\n',
    },
    conffiles: [`/etc/${name}/packaged.conf`],
    scripts: {
      postinst: `chmod 755 /usr/bin/${name}\n${starts ? start : 'systemctl daemon-reload'}`,
      prerm: stop,
    },
  };
}

const ALLOY = packaged(
  'alloy',
  process.env['ALLOY_BIN'] ?? path.join(root, 'test/support/alloy/alloy'),
  'run --server.http.listen-addr=127.0.0.1:12345 --storage.path=/var/lib/alloy /etc/alloy/config.alloy',
  true,
);
const FLUENT_BIT = packaged(
  'fluent-bit',
  process.env['FLUENT_BIT_BIN'] ??
    `${process.execPath} ${path.join(root, 'test/support/fluent-bit/fluent-bit.ts')}`,
  '-c /etc/fluent-bit/fluent-bit.conf',
  false,
);

/** What Loki was sent. The host's network is its own, so the port is Loki's. */
async function startSink(t: TestContext) {
  const streams: { stream: Record<string, string>; values: [string, string][] }[] = [];
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    if (request.headers['content-type'] === 'application/json')
      streams.push(...(JSON.parse(Buffer.concat(chunks).toString()) as { streams: typeof streams }).streams);
    response.writeHead(204).end();
  }).listen(3100, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return streams;
}

async function begin(t: TestContext) {
  const directory = temporaryDirectory(t);
  fs.chmodSync(directory, 0o755);
  const archive = new AptArchive(directory);
  archive.publish([ALLOY, FLUENT_BIT]);
  fs.writeFileSync(path.join(archive.directory, 'key.asc'), archive.key.armoured);
  const url = await archive.serve();
  const manifests = path.join(directory, 'manifests');
  fs.cpSync(path.join(root, 'manifests'), manifests, { recursive: true });
  fs.rmSync(path.join(manifests, 'grafana'), { recursive: true, force: true });
  const edit = (file: string, change: (text: string) => string): void => {
    const full = path.join(manifests, file);
    const before = fs.readFileSync(full, 'utf8');
    const after = change(before);
    assert.notEqual(after, before, `${file} was not edited`);
    fs.writeFileSync(full, after);
  };
  const key = `url: ${url}/key.asc\n    fingerprint: ${archive.key.fingerprint}`;
  edit('lean/fluent-bit.yaml', (text) =>
    text
      .replace(/uris: .*/, `uris: ["${url}"]`)
      .replace(/suites: .*/, 'suites: [stable]')
      .replace(/url: https.*\n.*fingerprint: .*/, key),
  );
  edit('fleet.yaml', (text) => text.replace(/central: [\d.]+/, 'central: 127.0.0.1'));
  edit('hosts/raspberry-pi.yaml', (text) =>
    text.replace(/address: .*/, `address: ${ADDRESS}`).replace('# mode: enforce', 'mode: enforce'),
  );
  edit('alloy/apt.yaml', (text) =>
    text.replace(/uris: .*/, `uris: ["${url}"]`).replace(/url: https.*\n.*fingerprint: .*/, key),
  );

  const [files, units, http, processes] = [createFiles(), createSystemd(), createHttp(), createProcesses()];
  const line = new Timeline(t, {
    kinds: new Map([...kinds].filter(([kind]) => KINDS.includes(kind))),
    ports: { files, units, http, processes, clock: systemClock },
  });
  t.after(async () => {
    await line.stop();
    await Promise.all([archive.close(), files.close(), units.close(), http.close(), processes.close()]);
    await run('dpkg', ['--force-all', '--purge', 'alloy', 'fluent-bit']).catch(() => undefined);
    for (const file of ['/etc/apt/sources.list.d', '/etc/apt/keyrings', '/etc/alloy', '/etc/fluent-bit'])
      fs.rmSync(file, { recursive: true, force: true });
  });

  /** What the host gets with the label as it is in git now; and whom Prometheus is told to scrape. */
  const commit = async (telemetry: string | undefined) => {
    edit('hosts/raspberry-pi.yaml', (text) =>
      text.replace(
        /labels: .*/,
        `labels: { alloy: apt${telemetry === undefined ? '' : `, telemetry: ${telemetry}`} } # ${telemetry}`,
      ),
    );
    const { revision, diagnostics } = await compile(readDirectory(manifests), kinds);
    assert.deepEqual(diagnostics.map(formatDiagnostic), []);
    const payload = Payload.parse(JSON.parse(revision!.hosts.get('raspberry-pi')!.payloadText));
    line.host = payload.host;
    line.assign(...payload.resources.filter(({ kind }) => KINDS.includes(kind)));
    return targetsOf(
      revision!.fleet,
      'node-exporter',
      [...revision!.hosts.values()].map((h) => h.document),
    );
  };
  return { line: line.start(), commit, units, archive };
}

const isOpen = (address: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(port, address, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

async function installed(name: string): Promise<boolean> {
  const { stdout } = await run('dpkg-query', ['--show', '--showformat=${db:Status-Status}', name]).catch(
    () => ({ stdout: '' }),
  );
  return stdout === 'installed';
}

/** Processes whose command line names it, whoever started them. */
async function processesOf(name: string): Promise<string[]> {
  const { stdout } = await run('ps', ['-eo', 'args=']);
  return stdout.split('\n').filter((line) => line.includes(name) && !line.includes('--test'));
}

const soon = <T>(check: () => Promise<T>): Promise<T> => eventually(check, WAIT_MS);

async function expectAlloyAlone({ line, units }: Awaited<ReturnType<typeof begin>>): Promise<void> {
  await soon(async () => {
    assert.equal(
      line.condition('Service/alloy', 'Ready')?.status,
      'True',
      line.condition('Service/alloy', 'Ready')?.message ?? '',
    );
    assert.equal((await fetch('http://127.0.0.1:12345/-/ready')).status, 200);
  });
  await soon(async () => {
    assert.equal(await installed('fluent-bit'), false);
    assert.deepEqual(await processesOf('fluent-bit'), []);
    assert.deepEqual(await processesOf('prometheus-node-exporter'), []);
    assert.equal(await isOpen(ADDRESS, 9100), false);
    assert.equal(fs.existsSync('/etc/fluent-bit/fluent-bit.conf'), false);
    assert.notEqual((await units.show('prometheus-node-exporter.service')).unitFileState, 'enabled');
    await settled(line);
  });
}

/** Everything that was asked for is done, and everything that left is gone. */
async function settled(line: Timeline): Promise<void> {
  const open = line.agent.status().resources.flatMap(({ key, conditions, source }) => {
    const ready = conditions.find(({ type }) => type === 'Ready');
    // The config of an Alloy that can reach nobody is Applied; whether it delivers is not the question here.
    return ready?.status === 'True' || key === 'AlloyConfig/alloy'
      ? []
      : [`${key} ${source} ${ready?.reason} ${ready?.message}`];
  });
  assert.deepEqual(open, []);
}

async function expectLean(
  { line, units }: Awaited<ReturnType<typeof begin>>,
  streams: Awaited<ReturnType<typeof startSink>>,
): Promise<void> {
  await soon(async () => {
    const metrics = await fetch(`http://${ADDRESS}:9100/metrics`).then((answer) => answer.text());
    assert.match(metrics, /^node_uname_info/m);
    assert.equal((await units.show('fluent-bit.service')).activeState, 'active');
    await settled(line);
  });
  assert.equal(await isOpen('127.0.0.1', 9100), false, 'node-exporter listens on the Tailscale address only');
  const words = `a line of the journal, ${Math.random()}`;
  await soon(async () => {
    await run('logger', [words]);
    const found = streams.find(({ values }) => values.some(([, line]) => line === words));
    assert.deepEqual(found?.stream, { job: 'journal', host: 'raspberry-pi' });
  });
  await soon(async () => {
    assert.deepEqual(await processesOf('/etc/alloy/config.alloy'), []);
    assert.equal(await isOpen('127.0.0.1', 12345), false);
    assert.notEqual((await units.show('alloy.service')).unitFileState, 'enabled');
    assert.equal(fs.existsSync('/etc/alloy/config.alloy'), false);
  });
}

test('from Alloy to lean by one label, and back by another', async (t) => {
  const streams = await startSink(t);
  const setting = await begin(t);
  assert.deepEqual(await setting.commit(undefined), []);
  await expectAlloyAlone(setting);
  assert.equal(await installed('alloy'), true);

  assert.deepEqual(await setting.commit('lean'), [
    { targets: [`${ADDRESS}:9100`], labels: { host: 'raspberry-pi' } },
  ]);
  await expectLean(setting, streams);
  await soon(async () => assert.equal(await installed('alloy'), false, 'what homeostat installed is gone'));

  assert.deepEqual(await setting.commit('alloy'), []);
  await expectAlloyAlone(setting);

  // And once more, from a host that keeps what is off, off.
  await setting.commit('lean');
  await expectLean(setting, streams);
  await setting.commit('alloy');
  await expectAlloyAlone(setting);
});

test('an Alloy that was there before homeostat is stopped on a lean host, not put back to run', async (t) => {
  const streams = await startSink(t);
  const setting = await begin(t);
  const scratch = temporaryDirectory(t);
  fs.mkdirSync('/etc/alloy', { recursive: true });
  fs.writeFileSync('/etc/alloy/config.alloy', '// a config of somebody\n');
  await run('dpkg', ['--install', setting.archive.build(ALLOY, scratch)]);
  await soon(async () => assert.equal(await isOpen('127.0.0.1', 12345), true));
  await setting.commit('lean');
  await soon(async () => {
    assert.equal(await isOpen('127.0.0.1', 12345), false);
    assert.equal((await setting.units.show('alloy.service')).unitFileState, 'disabled');
  });
  assert.equal(await installed('alloy'), true, 'it is its owner’s');
  assert.equal(fs.readFileSync('/etc/alloy/config.alloy', 'utf8'), '// a config of somebody\n');
  await soon(async () =>
    assert.equal((await setting.units.show('fluent-bit.service')).activeState, 'active'),
  );
  assert.ok(streams);
  await setting.commit('alloy');
  await expectAlloyAlone(setting);
});
