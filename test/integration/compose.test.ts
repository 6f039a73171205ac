// ComposeProject with a real `docker compose` and a real engine; the services are stand-ins (test/support/compose-stack).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { COMPOSE, require } from '../support/capabilities.ts';
import { beginProject, KEY, WAIT_MS } from '../support/compose-project.ts';
import { composeFile, IMAGE, stackImage } from '../support/compose-stack.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
import type { Timeline } from '../support/timeline.ts';

const FLAG = '--web.enable-remote-write-receiver';

let engine: TestEngine;
before(async () => {
  if (COMPOSE.missing() !== undefined) return;
  engine = await startDockerd();
  await stackImage(engine);
});
after(() => engine?.stop());

const begin = (t: TestContext, files: Readonly<Record<string, string>>) => beginProject(t, engine, files);

async function gone(line: Timeline): Promise<void> {
  await eventually(() => assert.ok(!line.agent.status().resources.some((r) => r.key === KEY)), WAIT_MS);
}

const COMMAND = [
  '--config.file=/etc/prometheus/prometheus.yml',
  '--home=$HOME',
  '--storage.tsdb.retention.time=15d',
];

test('our services join theirs, stay through a plain up, and are all that goes again', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { line, stack, theirs, assign, ready } = await begin(t, { 'docker-compose.yml': composeFile() });
  assign();
  await ready();
  const joined = await stack.containers();
  assert.deepEqual(Object.keys(joined).sort(), ['grafana', 'loki', 'prometheus', 'tailscale-exporter']);
  assert.deepEqual(joined['prometheus']!.command, [...COMMAND, FLAG]);
  assert.equal(joined['prometheus']!.labels['kept.by'], 'hand');
  assert.ok(joined['tailscale-exporter']!.env?.includes(`OAUTH_SECRET=tskey-'it\\s" $HOME #1`));
  for (const name of ['grafana', 'loki']) assert.deepEqual(joined[name], theirs[name], `${name} was touched`);

  await stack.compose('up', '--detach');
  const ids = (of: typeof joined) => Object.fromEntries(Object.entries(of).map(([name, c]) => [name, c.id]));
  assert.deepEqual(ids(await stack.containers()), ids(joined), 'a plain up changes nothing');

  line.assign();
  await gone(line);
  const left = await stack.containers();
  assert.deepEqual(Object.keys(left).sort(), ['grafana', 'loki', 'prometheus']);
  assert.deepEqual(left['prometheus']!.command, COMMAND);
  for (const name of ['grafana', 'loki']) assert.deepEqual(left[name], theirs[name], `${name} was touched`);
  assert.deepEqual(fs.readdirSync(stack.directory), ['docker-compose.yml']);
  assert.equal(stack.read('docker-compose.yml'), composeFile());
});

test('what others do to our part is healed as it happens', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { line, stack, theirs, assign, ready } = await begin(t, { 'compose.yaml': composeFile() });
  assign();
  await ready();
  const override = stack.read('compose.override.yaml');
  const breakages: Record<string, () => unknown> = {
    'docker rm -f of ours': async () =>
      engine.docker('rm', '-f', (await stack.containers())['tailscale-exporter']!.id),
    'docker compose stop of theirs that we extend': () => stack.compose('stop', 'prometheus'),
    'up without our file': () => stack.compose('--file=compose.yaml', 'up', '--detach', 'prometheus'),
    'docker pause': async () => engine.docker('pause', (await stack.containers())['tailscale-exporter']!.id),
    'a docker compose that was killed half-way': () =>
      engine.docker('rename', `${stack.project}-prometheus-1`, `0123456789ab_${stack.project}-prometheus-1`),
    'our file deleted': () => fs.rmSync(path.join(stack.directory, 'compose.override.yaml')),
    'our file edited, and up': async () => {
      stack.write('compose.override.yaml', override.replace('example.ts.net', 'other.ts.net'));
      // The agent heals at the same moment: then one of the two loses.
      await stack.compose('up', '--detach').catch(() => undefined);
    },
    'env file opened to all': () =>
      fs.chmodSync(path.join(stack.directory, 'compose.homeostat.tailscale-exporter.env'), 0o644),
  };
  for (const [name, breakIt] of Object.entries(breakages)) {
    const healed = line.status(KEY).healedTotal;
    await breakIt();
    await eventually(() => assert.ok(line.status(KEY).healedTotal > healed, `${name}: not healed`), WAIT_MS);
    await eventually(async () => {
      const now = await stack.containers();
      assert.ok((await stack.names()).includes(`${stack.project}-prometheus-1`), name);
      assert.equal(now['tailscale-exporter']?.state, 'running', name);
      assert.ok(now['tailscale-exporter'].env?.includes('TAILNET=example.ts.net'), name);
      assert.equal(now['prometheus']?.state, 'running', name);
      assert.deepEqual(now['prometheus'].command, [...COMMAND, FLAG], name);
      assert.equal(stack.read('compose.override.yaml'), override, name);
      const mode = fs.statSync(path.join(stack.directory, 'compose.homeostat.tailscale-exporter.env')).mode;
      assert.equal(mode & 0o777, 0o600, name);
    }, WAIT_MS);
  }
  const now = await stack.containers();
  for (const name of ['grafana', 'loki']) assert.deepEqual(now[name], theirs[name], `${name} was touched`);
  assert.equal(stack.read('compose.yaml'), composeFile());
});

test('after a down by hand our part comes back, and nothing else of the project', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { stack, assign, ready } = await begin(t, { 'compose.yaml': composeFile() });
  assign();
  await ready();
  await stack.compose('down', '--timeout', '1');
  await eventually(async () => {
    const now = await stack.containers();
    assert.deepEqual(
      Object.entries(now)
        .map(([name, { state }]) => `${name} ${state}`)
        .sort(),
      ['prometheus running', 'tailscale-exporter running'],
    );
    assert.deepEqual(now['prometheus']!.command, [...COMMAND, FLAG]);
  }, WAIT_MS);
  await ready();
});

test('our command follows theirs, whatever its form, and variables mean what they meant', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { stack, assign, ready } = await begin(t, {
    'compose.yaml': composeFile(),
    '.env': 'RETENTION=30d\nWORDS=two words\n',
  });
  assign();
  await ready();
  const forms: [written: string, runs: string[]][] = [
    [
      ' --a "$$HOME and more" ${WORDS} --b=${WORDS}',
      ['--a', '$HOME and more', 'two', 'words', '--b=two', 'words'],
    ],
    [
      '\n          - "${WORDS}"\n          - --c=$$$${X}\n          - --last=\'q"\'',
      ['two words', '--c=$${X}', `--last='q"'`],
    ],
    [' >-\n          --folded\n          --in=lines', ['--folded', '--in=lines']],
    [` ["${FLAG}", --theirs]`, [FLAG, '--theirs']],
  ];
  for (const [written, runs] of forms) {
    stack.write('compose.yaml', composeFile(written));
    await eventually(async () => {
      const { command, state } = (await stack.containers())['prometheus']!;
      assert.deepEqual(command, runs.includes(FLAG) ? runs : [...runs, FLAG]);
      assert.equal(state, 'running');
    }, WAIT_MS);
  }
});

test('files that COMPOSE_FILE names are theirs too, and are followed from the moment they are named', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { line, stack, assign, ready } = await begin(t, { 'compose.yaml': composeFile() });
  assign();
  await ready();
  const command = (last: string) => `services: {prometheus: {command: ["--from=${last}"]}}\n`;
  stack.write('more.yaml', command('more'));
  stack.write('.env', 'COMPOSE_FILE="compose.yaml:more.yaml"\n');
  const runs = (last: string) =>
    eventually(async () => {
      assert.deepEqual((await stack.containers())['prometheus']!.command, [`--from=${last}`, FLAG]);
      assert.deepEqual(fs.readdirSync(stack.directory).sort(), [
        '.env',
        'compose.homeostat.tailscale-exporter.env',
        'compose.homeostat.yaml',
        'compose.yaml',
        'more.yaml',
      ]);
    }, WAIT_MS);
  await runs('more');
  stack.write('more.yaml', command('edited'));
  await runs('edited');
  line.assign();
  await gone(line);
  assert.equal(stack.read('.env'), 'COMPOSE_FILE="compose.yaml:more.yaml"\n');
  assert.deepEqual((await stack.containers())['prometheus']!.command, ['--from=edited']);
});

test('a service that has its image’s command keeps it', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { stack, assign, ready } = await begin(t, { 'compose.yaml': composeFile() });
  assign({ extend: { loki: { appendCommand: ['--more'], labels: { team: 'x' } } } });
  await ready();
  const { loki } = await stack.containers();
  assert.deepEqual(loki!.command, ['--from-the-image=$HOME', '--more']);
  assert.equal(loki!.labels['team'], 'x');
});

test('beside an override and a .env of theirs, both come back byte for byte', async (t) => {
  if (!require(t, COMPOSE)) return;
  const files = {
    'docker-compose.yml': composeFile(),
    'docker-compose.override.yml': '# mine\nservices:\n  grafana: {labels: {mine: "1"}}\n',
    '.env': '# no end of line follows\nRETENTION="2d"   # short',
  };
  const { line, stack, theirs, assign, ready } = await begin(t, files);
  assign();
  await ready();
  assert.deepEqual(fs.readdirSync(stack.directory).sort(), [
    '.env',
    'compose.homeostat.tailscale-exporter.env',
    'compose.homeostat.yaml',
    'docker-compose.override.yml',
    'docker-compose.yml',
  ]);
  assert.ok(stack.read('.env').endsWith(files['.env']));
  const { prometheus, grafana } = await stack.containers();
  assert.deepEqual(prometheus!.command!.slice(-2), ['--storage.tsdb.retention.time=2d', FLAG]);
  await stack.compose('up', '--detach');
  const now = await stack.containers();
  assert.equal(now['prometheus']!.id, prometheus!.id);
  assert.deepEqual([grafana, now['grafana']], [theirs['grafana'], theirs['grafana']]);

  // They edit .env while we are there, and that stays.
  stack.write('.env', `${stack.read('.env')}\nTAG=2\n`);
  line.assign();
  await gone(line);
  for (const [name, text] of Object.entries(files)) {
    assert.equal(stack.read(name), name === '.env' ? `${text}\nTAG=2\n` : text);
  }
  assert.deepEqual(fs.readdirSync(stack.directory).sort(), Object.keys(files).sort());
});

test('a secret reaches its container and nothing else, and a new one is followed', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { line, stack, assign, ready, secret } = await begin(t, { 'compose.yaml': composeFile() });
  assign();
  await ready();
  const first = (await stack.containers())['tailscale-exporter']!;
  fs.writeFileSync(secret, 'tskey-second');
  await eventually(async () => {
    const now = (await stack.containers())['tailscale-exporter']!;
    assert.ok(now.env?.includes('OAUTH_SECRET=tskey-second'));
    assert.notEqual(now.id, first.id);
  }, WAIT_MS);
  await ready();
  const seen = [stack.read('compose.override.yaml'), JSON.stringify(line.agent.status())];
  seen.push(JSON.stringify(await line.agent.plan()));
  for (const file of fs.readdirSync(path.join(line.directory, 'state'), {
    recursive: true,
    encoding: 'utf8',
  })) {
    const full = path.join(line.directory, 'state', file);
    if (fs.statSync(full).isFile()) seen.push(fs.readFileSync(full, 'utf8'));
  }
  for (const text of seen) assert.doesNotMatch(text, /tskey-|dHNrZXkt/);
});

test('a service that does not stay up is taken back, with what it said', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { stack, assign, ready, stalled, exporter } = await begin(t, { 'compose.yaml': composeFile() });
  assign({ extend: { prometheus: { appendCommand: ['--bad'] } } });
  await stalled(
    'RolledBack',
    /Exited: prometheus ended with exit code 2, \d+ s after its start; it wrote:\nError: unknown flag --bad/,
  );
  assert.deepEqual(fs.readdirSync(stack.directory), ['compose.yaml']);
  const back = await stack.containers();
  assert.deepEqual(Object.keys(back).sort(), ['grafana', 'loki', 'prometheus']);
  assert.deepEqual([back['prometheus']!.command, back['prometheus']!.state], [COMMAND, 'running']);

  assign();
  await ready();
  assign({ services: { 'tailscale-exporter': { ...exporter, command: ['--bad'] } } });
  await stalled('RolledBack', /CrashLoop: tailscale-exporter ended[\s\S]*Error: unknown flag --bad/);
  const again = await stack.containers();
  assert.equal(again['tailscale-exporter']!.state, 'running');
  assert.deepEqual(again['prometheus']!.command, [...COMMAND, FLAG]);

  // What was before is our part, not their command of yesterday.
  stack.write('compose.yaml', composeFile(' [--edited-meanwhile]'));
  assign({ extend: { prometheus: { appendCommand: ['--bad'] } } });
  await stalled('RolledBack', /Exited: prometheus/);
  assert.deepEqual((await stack.containers())['prometheus']!.command, ['--edited-meanwhile', FLAG]);
});

test('a project under names of its own is left as it was, by a rollback and by a removal', async (t) => {
  if (!require(t, COMPOSE)) return;
  const files = { 'prod.yml': composeFile(), '.env': 'COMPOSE_FILE=prod.yml\n' };
  const { line, stack, assign, ready, stalled } = await begin(t, files);
  const asBefore = async () => {
    assert.deepEqual(fs.readdirSync(stack.directory).sort(), ['.env', 'prod.yml']);
    assert.equal(stack.read('.env'), files['.env']);
    const { prometheus, ...others } = await stack.containers();
    assert.deepEqual([prometheus!.command, prometheus!.state], [COMMAND, 'running']);
    assert.deepEqual(Object.keys(others).sort(), ['grafana', 'loki']);
    await stack.compose('up', '--detach');
  };
  assign({ extend: { prometheus: { appendCommand: ['--bad'] } } });
  await stalled('RolledBack', /Exited: prometheus/);
  await asBefore();
  assign();
  await ready();
  line.assign();
  await gone(line);
  await asBefore();
});

test('a service that did not work before is not the change’s fault, and not ready', async (t) => {
  if (!require(t, COMPOSE)) return;
  const files = { 'compose.yaml': composeFile(' [--bad]') };
  const { stack, assign, stalled, ready } = await begin(t, files);
  assign();
  await stalled('Exited', /exit code 2[\s\S]*--bad\n[\s\S]*did not work before this change/);
  // They mend it, and nothing else is needed.
  stack.write('compose.yaml', composeFile());
  await ready();
  assert.deepEqual((await stack.containers())['prometheus']!.command, [...COMMAND, FLAG]);
});

test('a health check has the last word, for a change and afterwards', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { line, stack, assign, ready, stalled, exporter } = await begin(t, { 'compose.yaml': composeFile() });
  const checked = (test: string[]) =>
    assign({
      services: {
        'tailscale-exporter': {
          ...exporter,
          healthcheck: { test: ['CMD', ...test], interval: '1s', retries: 1 },
        },
      },
    });
  checked(['/bin/false']);
  await stalled('RolledBack', /Unhealthy: tailscale-exporter is unhealthy/);
  assert.deepEqual(fs.readdirSync(stack.directory), ['compose.yaml']);

  checked(['/bin/sh', '-c', '! test -e /tmp/ill']);
  await ready();
  const { id } = (await stack.containers())['tailscale-exporter']!;
  await engine.docker('exec', id, 'touch', '/tmp/ill');
  await eventually(() => {
    const condition = line.condition(KEY, 'Ready');
    assert.equal(condition?.status, 'False');
    assert.equal(condition.reason, 'Unhealthy');
    assert.match(condition.message, /tailscale-exporter is unhealthy/);
  }, WAIT_MS);
  await engine.docker('exec', id, 'sh', '-c', 'exec /bin/busybox rm /tmp/ill');
  await ready();
});

test('what compose refuses is never written; what their files lack is waited for', async (t) => {
  if (!require(t, COMPOSE)) return;
  const { stack, theirs, assign, ready, stalled, exporter } = await begin(t, {
    'compose.yaml': composeFile(),
  });
  assign({ services: { 'tailscale-exporter': { ...exporter, ports: ['not a port'] } } });
  await stalled('Invalid', /not a port/);
  assert.deepEqual(fs.readdirSync(stack.directory), ['compose.yaml']);

  assign({ services: { grafana: exporter } });
  await stalled('BaseDiffers', /there is a service grafana already, which is not ours/);
  assign({ extend: { mimir: { appendCommand: ['--x'] } } });
  await stalled('BaseDiffers', /no service mimir to extend: there are grafana, loki, prometheus/);
  assert.deepEqual(await stack.containers(), theirs);

  // They add it, and no new commit is needed.
  stack.write('compose.yaml', composeFile(undefined, `    mimir: { <<: *defaults, image: ${IMAGE} }\n`));
  await ready();
  // They rename it: what is left of ours does not keep them from starting theirs.
  const renamed = composeFile(undefined, `    cortex: { <<: *defaults, image: ${IMAGE} }\n`);
  stack.write('compose.yaml', renamed);
  await stalled('BaseDiffers', /no service mimir to extend: there are cortex, grafana/);
  await eventually(async () => {
    assert.doesNotMatch(stack.read('compose.override.yaml'), /"mimir": \{/);
    await stack.compose('config', '--quiet');
  }, WAIT_MS);
  stack.write('compose.yaml', composeFile(undefined, `    mimir: { <<: *defaults, image: ${IMAGE} }\n`));
  await ready();
  // A service that ours needs is switched off: that is seen, though nothing of ours differs.
  assign({ extend: {}, services: { 'tailscale-exporter': { ...exporter, depends_on: ['mimir'] } } });
  await eventually(() => assert.match(stack.read('compose.override.yaml'), /depends_on/), WAIT_MS);
  await ready();
  const off = `    mimir: { <<: *defaults, image: ${IMAGE}, profiles: [off] }\n`;
  stack.write('compose.yaml', composeFile(undefined, off));
  await stalled(
    'BaseDiffers',
    /tailscale-exporter needs mimir, and mimir is in the profile off, which is not/,
  );
  assign({ extend: { mimir: { appendCommand: ['--x'] } } });
  stack.write('compose.yaml', composeFile(undefined, `    mimir: { <<: *defaults, image: ${IMAGE} }\n`));
  await ready();
  // They break their file: our part is left alone, and it goes on when they mend it.
  stack.write('compose.yaml', `${composeFile()}\n  broken`);
  await stalled('BaseInvalid', /docker compose can't read compose\.yaml: .*yaml/);
  assert.equal((await stack.containers())['mimir']!.state, 'running');
  stack.write('compose.yaml', composeFile(undefined, `    mimir: { <<: *defaults, image: ${IMAGE} }\n`));
  await ready();
});
