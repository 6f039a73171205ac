// `homeostat import host` with a real systemd and dpkg. Runs inside a booted host (../import-host.test.ts).
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { ALLOW_EVERYTHING } from '../../../agent/config.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const root = path.dirname(path.dirname(path.dirname(import.meta.dirname)));
const ALLOY = path.join(root, 'test/support/alloy/alloy');
const systemctl = (...args: string[]): string => execFileSync('systemctl', args, { encoding: 'utf8' });
const TEXT = `// \${vars.of_ours} and \${1} are no variables here.
prometheus.exporter.unix "host" {
  set_collectors = ["uname"]
}
`;

before(async () => {
  fs.mkdirSync('/etc/alloy', { recursive: true });
  fs.writeFileSync('/etc/alloy/config.alloy', TEXT);
  fs.writeFileSync(
    '/lib/systemd/system/alloy.service',
    `[Service]
Environment=HOMEOSTAT_NODE=${process.execPath}
ExecStart=${ALLOY} run --server.http.listen-addr=127.0.0.1:12399 --storage.path=/var/lib/alloy /etc/alloy/config.alloy
[Install]
WantedBy=multi-user.target
`,
  );
  fs.mkdirSync('/etc/systemd/system/alloy.service.d', { recursive: true });
  fs.writeFileSync('/etc/systemd/system/alloy.service.d/10-memory.conf', '[Service]\nMemoryMax=700M\n');
  systemctl('daemon-reload');
  systemctl('enable', '--now', 'alloy.service');
  await eventually(async () => {
    assert.equal((await fetch('http://127.0.0.1:12399/-/ready')).status, 200);
  }, 30_000);
});

/** What an import must not touch: every file of /etc with its times, and what runs. */
function fingerprint(): string {
  const files = fs.readdirSync('/etc', { recursive: true, encoding: 'utf8' }).sort();
  const stats = files.map((file) => {
    const stat = fs.lstatSync(path.join('/etc', file), { throwIfNoEntry: false });
    return stat === undefined ? file : `${file} ${stat.ino} ${stat.mode} ${stat.mtimeMs}`;
  });
  return `${stats.join('\n')}\n${systemctl('show', 'alloy.service', '--property=InvocationID,UnitFileState')}`;
}

test('what is imported validates, and plans no change; the host is as it was', (t) => {
  const directory = temporaryDirectory(t);
  const config = path.join(directory, 'agent.json');
  fs.writeFileSync(
    config,
    JSON.stringify({ host: 'pi', stateDir: path.join(directory, 'state'), allow: ALLOW_EVERYTHING }),
  );
  const homeostat = (...args: string[]) =>
    spawnSync(process.execPath, [path.join(root, 'cli/homeostat.ts'), ...args], {
      cwd: directory,
      encoding: 'utf8',
      timeout: 120_000,
      env: { ...process.env, NO_COLOR: '1', PATH: `${path.dirname(ALLOY)}:${process.env['PATH']}` },
    });
  const before = fingerprint();
  const imported = homeostat('import', 'host', '--host', 'pi', '--out', 'm', '--unit', 'cron.service');
  const said = imported.stdout + imported.stderr;
  assert.equal(imported.status, 0, said);
  for (const key of [
    'Host/pi',
    'AlloyConfig/alloy-pi',
    'Service/alloy-pi',
    'Service/prometheus-node-exporter-pi',
  ])
    assert.match(said, new RegExp(`^wrote m: .*${key}`, 'm'));
  const read = (file: string): string => fs.readFileSync(path.join(directory, 'm/pi', file), 'utf8');
  assert.match(read('alloy.yaml'), /^ {2}address: 127\.0\.0\.1:12399$/m);
  assert.match(read('services.yaml'), /10-memory\.conf:\n +contentFrom: alloy\.service\.d\/10-memory\.conf/);

  assert.match(homeostat('validate', 'm').stdout, /^valid: /m);
  const planned = homeostat('plan', '--dir', 'm', '--host', 'pi', '--config', config);
  assert.match(planned.stdout, /^0 to change, \d+ in sync$/m, planned.stdout + planned.stderr);
  assert.equal(planned.status, 0);
  assert.equal(fingerprint(), before);

  assert.match(
    homeostat('import', 'host', '--host', 'pi', '--out', 'm').stderr,
    /is there already; nothing was written/,
  );
});

test('what the host itself would be changed by goes in as a comment, with the reason', (t) => {
  const directory = temporaryDirectory(t);
  // Edited, and not loaded: Alloy runs something else than its file says.
  fs.writeFileSync('/etc/alloy/config.alloy', `${TEXT}// edited\n`);
  const imported = spawnSync(
    process.execPath,
    [path.join(root, 'cli/homeostat.ts'), 'import', 'host', '--host', 'pi', '--out', 'm'],
    { cwd: directory, encoding: 'utf8', timeout: 120_000, env: { ...process.env, NO_COLOR: '1' } },
  );
  assert.match(
    imported.stdout,
    /not taken over, in pi\/alloy\.yaml as a comment: AlloyConfig\/alloy-pi: it would change/,
  );
  assert.match(fs.readFileSync(path.join(directory, 'm/pi/alloy.yaml'), 'utf8'), /^# {3}loaded: /m);
});
