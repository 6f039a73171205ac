// ComposeProject beside what an owner does to the project by files and command line (the cases 08, 10, 11 and 12,
// and their kin): theirs goes on as it would without us, and what differs is said before anything is recreated.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { COMPOSE, require } from '../support/capabilities.ts';
import { beginProject, KEY, WAIT_MS } from '../support/compose-project.ts';
import { FLAGS_ONCE, IMAGE, stackImage } from '../support/compose-stack.ts';
import { eventually } from '../support/eventually.ts';
import { endSharedEngine, sharedEngine } from '../support/shared-engine.ts';
import { resource } from '../support/timeline.ts';

const OPTIONS = { timeout: 240_000 };
after(endSharedEngine);

async function begin(t: TestContext, files: Readonly<Record<string, string>>, up: readonly string[] = []) {
  const engine = await sharedEngine();
  await stackImage(engine);
  await engine.image('prom/prometheus:v3.5.0', ['ENTRYPOINT ["/bin/prometheus"]'], {
    'bin/prometheus': FLAGS_ONCE,
  });
  return { engine, ...(await beginProject(t, engine, files, up)) };
}

const REST = 'network_mode: none, restart: "no"';
const web = `  web: { image: ${IMAGE}, ${REST} }\n`;
const exporter = { image: IMAGE, network_mode: 'none', restart: 'always' } as const;

test(
  'a compose file in a subfolder: ours is found by compose, its secrets and its ./ too',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const files = {
      '.env': 'COMPOSE_PROJECT_NAME=@PROJECT@\nCOMPOSE_FILE="deploy/docker-compose.yml:local.yml"  # ours\n',
      'deploy/docker-compose.yml': `services:\n${web}`,
      'local.yml': 'services:\n  web: { labels: { stage: local } }\n',
    };
    const { engine, line, stack, assign, ready, secret } = await begin(t, files);
    fs.mkdirSync(path.join(stack.directory, 'deploy/data'));
    const environment = { API_TOKEN: { secretFrom: { file: secret } } };
    assign({
      project: stack.project,
      extend: undefined,
      services: { exporter: { ...exporter, environment, volumes: ['./data:/data'] } },
    });
    await ready();
    const { id, env } = (await stack.containers())['exporter']!;
    assert.ok(env?.some((one) => one.startsWith('API_TOKEN=tskey-')));
    const source = await engine.docker('inspect', '--format', '{{(index .Mounts 0).Source}}', id);
    assert.equal(source, path.join(stack.directory, 'deploy/data'));
    await stack.compose('up', '--detach');
    assert.equal((await stack.containers())['exporter']!.id, id, 'a plain up finds the same');
    line.assign();
    await eventually(
      () => assert.equal(stack.read('.env'), files['.env'].replace('@PROJECT@', stack.project)),
      WAIT_MS,
    );
    await line.expectGone(KEY);
    await stack.compose('up', '--detach');
    assert.deepEqual(Object.keys(await stack.containers()), ['web']);
  },
);

test(
  'a service behind a profile that is switched off is waited for, and theirs works meanwhile',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const on = 'COMPOSE_PROFILES=monitoring\n';
    const files = {
      '.env': on,
      'compose.yaml': `services:\n${web}  prometheus: { image: ${IMAGE}, ${REST}, profiles: [monitoring, full], command: [--a] }\n`,
    };
    const { stack, assign, ready, stalled } = await begin(t, files);
    const document = {
      extend: { prometheus: { appendCommand: ['--web.enable-lifecycle'] } },
      services: { exporter: { ...exporter, depends_on: ['prometheus'] } },
    };
    assign(document);
    await ready();
    const before = await stack.containers();
    for (let i = 0; i < 2; i++) {
      stack.write('.env', '# COMPOSE_PROFILES=monitoring\n');
      await stalled(
        'BaseDiffers',
        /prometheus is in the profiles monitoring and full, none of which is active/,
      );
      for (const command of [['config', '--quiet'], ['up', '--detach'], ['stop', 'web'], ['ps']])
        await stack.compose(...command);
      const { web: _, ...left } = await stack.containers();
      for (const [name, { id, state }] of Object.entries(left))
        assert.deepEqual([id, state], [before[name]!.id, 'running'], name);
      stack.write('.env', on);
      await ready();
    }
  },
);

test(
  'with the profile off from the start nothing of ours comes up, and it goes on by itself',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const files = {
      'compose.yaml': `services:\n${web}  prometheus: { image: ${IMAGE}, ${REST}, profiles: [monitoring] }\n`,
    };
    const { stack, assign, ready, stalled } = await begin(t, files);
    assign({ extend: undefined, services: { exporter: { ...exporter, depends_on: ['prometheus'] } } });
    await stalled(
      'BaseDiffers',
      /exporter needs prometheus, and prometheus is in the profile monitoring, which is not/,
    );
    assert.deepEqual(Object.keys(await stack.containers()), ['web']);
    stack.write('.env', 'COMPOSE_PROFILES=monitoring\n');
    await ready();
    assert.deepEqual(Object.keys(await stack.containers()).sort(), ['exporter', 'web']);
  },
);

test(
  'what compose refuses beside their new files is left out of ours, and comes back',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const base = `services:\n${web}  db: { image: ${IMAGE}, ${REST} }\n`;
    const { stack, assign, ready, stalled } = await begin(t, { 'compose.yaml': base });
    assign({
      extend: undefined,
      services: { exporter: { ...exporter, depends_on: ['db'] }, other: exporter },
    });
    await ready();
    const { exporter: was } = await stack.containers();
    stack.write('compose.yaml', base.replace('db:', 'database:'));
    await stalled('BaseDiffers', /docker compose refuses exporter beside their files: .*db/);
    await eventually(() => stack.compose('up', '--detach'), WAIT_MS);
    const now = await stack.containers();
    assert.deepEqual([now['exporter']!.id, now['exporter']!.state], [was!.id, 'running']);
    assert.equal(now['other']!.state, 'running');
    stack.write('compose.yaml', base);
    await ready();
  },
);

test(
  'a service starts anew when what it reads was changed, by a mount or by restartOn',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const { engine, line, stack, ready } = await begin(t, { 'compose.yaml': `services:\n${web}` });
    const directory = `/srv/${stack.project}`;
    const file = (name: string, content: string) =>
      resource('File', name, { path: `${directory}/${name}.conf`, content });
    const assign = (mounted: string, listed: string) =>
      line.assign(file('mounted', mounted), file('listed', listed), {
        ...resource('ComposeProject', 'stack', {
          directory,
          services: {
            exporter: { ...exporter, volumes: ['./mounted.conf:/conf:ro'] },
            other: { ...exporter, restartOn: ['File/listed'] },
          },
        }),
        dependsOn: ['File/mounted', 'File/listed'].map((ref) => ({ ref, until: 'Applied' as const })),
      });
    const starts = async () => {
      const all = await stack.containers();
      const of = (name: string) => engine.docker('inspect', '-f', '{{.State.StartedAt}}', all[name]!.id);
      return [await of('exporter'), await of('other'), await of('web')];
    };
    assign('one', 'one');
    await ready();
    const first = await starts();
    assign('two', 'one');
    const conf = async () =>
      engine.docker('exec', (await stack.containers())['exporter']!.id, 'cat', '/conf');
    await eventually(async () => assert.equal(await conf(), 'two'), WAIT_MS);
    await ready();
    const second = await starts();
    assert.deepEqual(second.slice(1), first.slice(1), 'others were restarted');
    assign('two', 'two');
    await eventually(async () => assert.notEqual((await starts())[1], first[1]), WAIT_MS);
    await ready();
    const third = await starts();
    assert.deepEqual([third[0], third[2]], [second[0], first[2]], 'others were restarted');
    // As an owner's editor saves it.
    stack.write('mounted.new', 'by hand');
    fs.renameSync(path.join(stack.directory, 'mounted.new'), path.join(stack.directory, 'mounted.conf'));
    await eventually(() => assert.equal(stack.read('mounted.conf'), 'two'), WAIT_MS);
    // Who replaces a mount's source makes no event of the engine's: it is seen at the next look.
    line.agent.reconcile(KEY);
    await eventually(async () => assert.notEqual((await starts())[0], third[0]), WAIT_MS);
    assert.equal(await conf(), 'two');
  },
);

test(
  'a value that changes in .env reaches our services, and theirs are their owner’s',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const files = {
      '.env': 'SITE=home\n',
      'compose.yaml': `services:\n  web: { image: ${IMAGE}, ${REST}, environment: { SITE: "\${SITE}" } }\n`,
    };
    const { stack, assign, ready } = await begin(t, files);
    assign({
      extend: { web: { labels: { team: 'ops' } } },
      services: { exporter: { ...exporter, environment: { PLACE: '${SITE}' } } },
    });
    await ready();
    const { web: was } = await stack.containers();
    stack.write('.env', 'SITE=shop\n');
    await eventually(async () => {
      const { env } = (await stack.containers())['exporter']!;
      assert.ok(env?.includes('PLACE=shop'));
    }, WAIT_MS);
    await ready();
    assert.equal((await stack.containers())['web']!.id, was!.id);
  },
);

for (const [form, command, more] of [
  [
    'a list',
    `["--config.file=/p.yml", "--storage.tsdb.retention.time=15d", "--web.enable-lifecycle"]`,
    '=15d',
  ],
  [
    'words',
    `["--config.file", "/p.yml", "--storage.tsdb.retention.time", "15d", "--web.enable-lifecycle=true"]`,
    ' 15d',
  ],
  [
    'one text',
    `>\n      --config.file=/p.yml\n      --storage.tsdb.retention.time=15d\n      "--web.enable-lifecycle"\n`,
    '=15d',
  ],
] as const) {
  test(
    `a flag that is there with another value is told before anything is touched: ${form}`,
    OPTIONS,
    async (t) => {
      if (!require(t, COMPOSE)) return;
      const base = `services:\n  prometheus:\n    image: prom/prometheus:v3.5.0\n    network_mode: none\n    command: ${command}\n`;
      const { stack, theirs, assign, ready, stalled } = await begin(t, { 'compose.yaml': base });
      const append = (...flags: string[]) =>
        assign({ services: undefined, extend: { prometheus: { appendCommand: flags } } });
      append('--storage.tsdb.retention.time=30d', '--web.enable-lifecycle');
      await stalled(
        'BaseDiffers',
        new RegExp(
          `the command of prometheus has --storage.tsdb.retention.time${more} already, and its program`,
        ),
      );
      assert.deepEqual(await stack.containers(), theirs);
      assert.deepEqual(fs.readdirSync(stack.directory), ['compose.yaml']);
      append('--storage.tsdb.retention.time=15d', '--web.enable-lifecycle', '--log.level=warn');
      await ready();
      const words = (await stack.containers())['prometheus']!.command!;
      assert.equal(words.filter((word) => word.includes('enable-lifecycle')).length, 1);
      assert.deepEqual(words.at(-1), '--log.level=warn');
    },
  );
}

test(
  'what another program takes twice is tried, and undone with the line that says why',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const base = `services:\n  loki: { image: ${IMAGE}, ${REST}, command: [--good] }\n`;
    const { stack, theirs, assign, stalled } = await begin(t, { 'compose.yaml': base });
    assign({ services: undefined, extend: { loki: { appendCommand: ['--bad'] } } });
    await stalled('RolledBack', /unknown flag --bad/);
    assert.deepEqual((await stack.containers())['loki']!.command, theirs['loki']!.command);
  },
);

test(
  'a project that was started under another name, or from other files, is told and left alone',
  OPTIONS,
  async (t) => {
    if (!require(t, COMPOSE)) return;
    const files = {
      'compose.yaml': `services:\n  web: { image: ${IMAGE}, ${REST}, command: ["--site=\${SITE:-none}"] }\n`,
      'prod.yaml': 'services:\n  web: { labels: { stage: prod } }\n',
      'prod.env': 'SITE=prod\n',
    };
    const named = await begin(t, files, ['-p', 'shop']);
    const ofShop = () =>
      named.engine.docker('ps', '-q', '--no-trunc', '--filter', 'label=com.docker.compose.project=shop');
    t.after(async () => void (await named.engine.docker('rm', '-f', ...(await ofShop()).split('\n'))));
    const shop = await ofShop();
    const extend = { web: { labels: { team: 'ops' } } };
    named.assign({ services: undefined, extend });
    await named.stalled(
      'OtherCommandLine',
      /run as the project shop, .* write project: shop into the document/,
    );
    assert.equal(await ofShop(), shop);
    assert.deepEqual(await named.stack.containers(), {});
    named.assign({ services: undefined, extend, project: 'shop' });
    await named.ready();
    named.line.assign();
    await named.line.expectGone(KEY);

    for (const [args, words, mend] of [
      [
        ['-f', 'compose.yaml', '-f', 'prod.yaml'],
        /web was started with --file \S+prod\.yaml, .*COMPOSE_FILE in \.env/,
        'COMPOSE_FILE=compose.yaml:prod.yaml\n',
      ],
      [['--env-file', 'prod.env'], /web was started with --env-file \S+prod\.env/, 'SITE=prod\n'],
    ] as const) {
      const { stack, theirs, assign, ready, stalled } = await begin(t, files, args);
      assign({ services: undefined, extend });
      await stalled('OtherCommandLine', words);
      assert.deepEqual(await stack.containers(), theirs);
      stack.write('.env', mend);
      await stack.compose('up', '--detach');
      await ready();
      const { labels, command } = (await stack.containers())['web']!;
      assert.equal(labels['team'], 'ops');
      assert.match(`${labels['stage']} ${command?.[0]}`, /^prod |--site=prod$/);
      // Once more by hand, when ours is there.
      stack.write('.env', '');
      await stack.compose('up', '--detach');
      await ready();
      await stack.compose(...args, 'up', '--detach', '--force-recreate');
      await stalled('OtherCommandLine', words);
      await stack.compose('up', '--detach');
      await ready();
    }
  },
);

test('replicas that the owner asked for stay as many', OPTIONS, async (t) => {
  if (!require(t, COMPOSE)) return;
  const { stack, assign, ready } = await begin(t, { 'compose.yaml': `services:\n${web}` });
  await stack.compose('up', '--detach', '--scale', 'web=3');
  const append = (flag: string) =>
    assign({ services: undefined, extend: { web: { appendCommand: [flag] } } });
  for (const flag of ['--one', '--two']) {
    append(flag);
    await ready();
    assert.equal((await stack.names()).length, 3);
  }
});
