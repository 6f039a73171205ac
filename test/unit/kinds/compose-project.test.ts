// What is particular to ComposeProject and pure: where our file goes among the user's, and what stands in it. How real
// compose reads it is in test/integration/compose.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assess } from '../../../kinds/compose-project/assess.ts';
import { containersOf } from '../../../kinds/compose-project/containers.ts';
import { envFilesOf } from '../../../kinds/compose-project/observe.ts';
import { checkProject, permissionsOf } from '../../../kinds/compose-project/permissions.ts';
import { PlacementError, place, withoutOurs } from '../../../kinds/compose-project/placement.ts';
import {
  appended,
  type Command,
  envFileText,
  onBase,
  overrideOf,
  parseOverride,
  saidOtherwise,
  says,
  textOf,
} from '../../../kinds/compose-project/render.ts';
import { ComposeProjectSpec } from '../../../kinds/compose-project/schema.ts';

const files = (...names: string[]) => new Set(names);

test('without an override of theirs, ours is the override, and .env stays as it is', () => {
  for (const base of ['compose.yaml', 'docker-compose.yml']) {
    const placed = place(files(base), 'TAG=1\n');
    assert.deepEqual(placed, { base: [base], own: 'compose.override.yaml', dotenv: 'TAG=1\n' });
  }
  assert.equal(place(files('compose.yaml'), undefined).dotenv, undefined);
});

test('beside an override of theirs, ours is named last in COMPOSE_FILE', () => {
  const placed = place(files('docker-compose.yml', 'docker-compose.override.yml'), 'TAG=1');
  assert.deepEqual(placed.base, ['docker-compose.yml', 'docker-compose.override.yml']);
  assert.equal(placed.own, 'compose.homeostat.yaml');
  assert.match(
    placed.dotenv!,
    /^# .*\nCOMPOSE_FILE=docker-compose\.yml:docker-compose\.override\.yml:compose\.homeostat\.yaml\nTAG=1$/,
  );
});

test('a COMPOSE_FILE of theirs keeps its files, quotes and comments, and gets ours at the end', () => {
  const cases: [string, string][] = [
    ['COMPOSE_FILE=a.yaml:b.yaml\n', 'COMPOSE_FILE=a.yaml:b.yaml:compose.homeostat.yaml\n'],
    ['export COMPOSE_FILE="a.yaml"  # ours', 'export COMPOSE_FILE="a.yaml:compose.homeostat.yaml"  # ours'],
    ["X=1\r\nCOMPOSE_FILE='a.yaml'\r\n", "X=1\r\nCOMPOSE_FILE='a.yaml:compose.homeostat.yaml'\r\n"],
    [
      'COMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=a.yaml;b.yaml # two\n',
      'COMPOSE_PATH_SEPARATOR=;\nCOMPOSE_FILE=a.yaml;b.yaml;compose.homeostat.yaml # two\n',
    ],
  ];
  for (const [before, after] of cases) {
    const placed = place(files('compose.yaml'), before);
    assert.equal(placed.dotenv, after);
    assert.equal(placed.base[0], 'a.yaml');
    assert.equal(place(files('compose.yaml'), after).dotenv, after, 'a second time changes nothing');
    assert.equal(withoutOurs(after), before);
  }
});

test('taking ours out of .env gives back what they had, byte for byte', () => {
  const line = fc.oneof(
    fc.constantFrom('', '# a comment', 'TAG=1 # x', "A='b c'", '\tB="c"', 'COMPOSE_PROJECT_NAME=x'),
    fc.constantFrom(
      'COMPOSE_FILE=a.yml',
      'COMPOSE_FILE="a.yml:b.yml" # mine',
      "  export COMPOSE_FILE='c.yml'",
    ),
  );
  const text = fc
    .tuple(fc.constantFrom('', '\uFEFF'), fc.array(line), fc.constantFrom('\n', '\r\n'), fc.boolean())
    .map(([bom, lines, eol, ended]) => `${bom}${lines.join(eol)}${ended ? eol : ''}`);
  fc.assert(
    fc.property(text, fc.boolean(), (dotenv, hasOverride) => {
      const theirs = hasOverride ? files('compose.yaml', 'compose.override.yml') : files('compose.yaml');
      const { dotenv: written } = place(theirs, dotenv);
      assert.equal(withoutOurs(written!), dotenv);
      assert.equal(place(theirs, written).dotenv, written);
    }),
  );
});

test('a file that they add to our line of .env becomes theirs to keep', () => {
  const { dotenv } = place(files('compose.yaml', 'compose.override.yml'), undefined);
  const edited = dotenv!.replace(':compose.homeostat.yaml', ':extra.yaml:compose.homeostat.yaml');
  const placed = place(files('compose.yaml', 'compose.override.yml'), edited);
  assert.deepEqual(placed.base, ['compose.yaml', 'compose.override.yml', 'extra.yaml']);
  assert.equal(withoutOurs(placed.dotenv!), 'COMPOSE_FILE=compose.yaml:compose.override.yml:extra.yaml\n');
});

test('our line follows when their override goes away', () => {
  const { dotenv } = place(files('compose.yaml', 'compose.override.yml'), 'A=1\n');
  assert.deepEqual(place(files('compose.yaml'), dotenv), {
    base: ['compose.yaml'],
    own: 'compose.override.yaml',
    dotenv: 'A=1\n',
  });
});

test('what ours can’t be placed beside is said with its line', () => {
  for (const [dotenv, words] of [
    ['A=1\nCOMPOSE_FILE=${BASE}.yaml\n', /line 2 of \.env: COMPOSE_FILE holds a variable/],
    ['COMPOSE_FILE=\n', /line 1 of \.env: COMPOSE_FILE is empty/],
    ['COMPOSE_FILE="a\nb"\n', /line 1 of \.env: COMPOSE_FILE is not a value in one line/],
  ] as const) {
    assert.throws(() => place(files('compose.yaml'), dotenv), words);
  }
  assert.throws(() => place(files(), undefined), PlacementError);
});

test('arguments join a command in its own form, and none is said twice', () => {
  const flag = '--web.enable-remote-write-receiver';
  assert.deepEqual(appended(['--a=$$x', '${B}'], [flag]), ['--a=$$x', '${B}', flag]);
  assert.equal(appended('--a "x y" ${B}\n', [flag, "it's"]), `--a "x y" \${B} ${flag} 'it'\\''s'`);
  assert.deepEqual(appended([], [flag]), [flag]);
  for (const command of [[flag, '--b'], `--b '${flag}'`, `${flag}`] satisfies Command[]) {
    assert.deepEqual(appended(command, [flag]), command);
  }
  assert.deepEqual(appended(['--log', 'info'], ['--log', 'debug', '--b']), [
    '--log',
    'info',
    '--log',
    'debug',
    '--b',
  ]);
  assert.deepEqual(appended(['--log', 'debug'], ['--log', 'debug', '--b']), ['--log', 'debug', '--b']);
});

const spec = ComposeProjectSpec.parse({
  directory: '/srv/stack',
  services: {
    exporter: {
      image: 'exporter:1',
      environment: { TAILNET: 'x.ts.net', SECRET: { secretFrom: { file: '/s' } } },
      volumes: ['./data:/data', 'named:/n', '/var/run/docker.sock:/s'],
      cap_add: ['net_admin'],
      network_mode: 'host',
      ports: ['127.0.0.1:1:1', '9250:9250'],
    },
  },
  extend: { prometheus: { appendCommand: ['--more'], labels: { a: 1 } } },
});

const on = (commands: [string, Command][]) => ({ commands: new Map(commands) });

test('a flag is the same in each of its spellings, and another value of it is told as it stands there', () => {
  for (const words of [['--a=b'], ['--a', 'b'], ['--x', '--a=b']]) {
    assert.ok(says(words, ['--a=b']) && says(words, ['--a', 'b']), words.join(' '));
    assert.equal(saidOtherwise(words, ['--a', 'b']), undefined);
  }
  for (const words of [['--on'], ['--on=true']])
    assert.ok(says(words, ['--on']) && says(words, ['--on=true']));
  assert.equal(saidOtherwise(['--a', 'c', '--b'], ['--a=b']), '--a c');
  assert.equal(saidOtherwise(['--a=c'], ['--new', '--a', 'b']), '--a=c');
  assert.equal(saidOtherwise(['--ab=c'], ['--a=b']), undefined);
});

test('what ours needs and a profile may switch off is not required, and an env file is found from their folder', () => {
  const services = {
    exporter: { image: 'x', depends_on: ['db', 'web'], environment: spec.services!['exporter']!.environment },
  };
  const wanted = overrideOf(
    'ComposeProject/x',
    ComposeProjectSpec.parse({ directory: '/srv/stack', services }),
  );
  const ground = {
    ...on([
      ['db', []],
      ['web', []],
    ]),
    optional: new Set(['db']),
    way: '..',
  };
  const { exporter } = onBase(wanted, ground).services;
  assert.deepEqual(exporter!['depends_on'], {
    db: { condition: 'service_started', required: false },
    web: { condition: 'service_started' },
  });
  assert.deepEqual(exporter!['env_file'], ['../compose.homeostat.exporter.env']);
  // Made anew from what was written, on files without profiles.
  const again = onBase(
    parseOverride(textOf(onBase(wanted, ground)))!,
    on([
      ['db', []],
      ['web', []],
    ]),
  );
  assert.deepEqual(again.services['exporter']!['depends_on'], ['db', 'web']);
  assert.deepEqual(onBase(wanted, { ...ground, without: new Set(['exporter']) }).services, {});
});

test('the rendering says no secret, and can be made anew from itself on another base', () => {
  const override = overrideOf('ComposeProject/x', spec);
  const text = textOf(onBase(override, on([['prometheus', ['--one']]])));
  assert.match(text, /^# homeostat ComposeProject\/x: edit in git, not here\n\{/);
  assert.doesNotMatch(text, /SECRET|secretFrom/);
  assert.match(text, /"env_file": \[\s*"\.\/compose\.homeostat\.exporter\.env"\s*\]/);
  assert.match(text, /"command": \[\s*"--one",\s*"--more"\s*\]/);
  const other = on([['prometheus', '--two']]);
  assert.equal(textOf(onBase(parseOverride(text)!, other)), textOf(onBase(override, other)));
  const gone = onBase(parseOverride(text)!, on([]));
  assert.deepEqual(Object.keys(gone.services), ['exporter']);
  assert.equal(parseOverride('services: {}\n'), undefined);
  assert.equal(parseOverride(text.slice(0, -20)), undefined);
});

test('a digest changes with what compose would start, and with nothing else', () => {
  const digest = (command: Command) => {
    const { services } = onBase(overrideOf('ComposeProject/x', spec), on([['prometheus', command]]));
    return (services['prometheus']!['labels'] as Record<string, string>)['dev.homeostat.digest'];
  };
  assert.equal(digest(['a']), digest(['a']));
  assert.notEqual(digest(['a']), digest(['b']));
});

test('of all that a record may claim, env files are those that are named as ours are, in the project’s directory', () => {
  const ours = '/srv/app/compose.homeostat.exporter.env';
  const others = ['/srv/app/.env', '/srv/app/.env#COMPOSE_FILE', '/srv/app/compose.override.yaml'];
  const elsewhere = ['/srv/other/compose.homeostat.exporter.env', '/srv/app/compose.homeostat.yaml'];
  const claims = [...others, ...elsewhere, ours].map((file) => `file:${file}`);
  assert.deepEqual(envFilesOf({ directory: '/srv/app' } as Parameters<typeof envFilesOf>[0], claims), [ours]);
});

test('values of an env_file are quoted only as far as they must be', () => {
  assert.equal(
    envFileText([
      ['A', 'x$Y #"z\\n'],
      ['B', "it's \\ $x\n"],
    ]),
    `A='x$Y #"z\\n'\nB="it's \\\\ \\$x\\n"\n`,
  );
});

test('it asks for the project, each service that it changes, each label and each variable', () => {
  const asked = (more: object) =>
    permissionsOf(ComposeProjectSpec.parse({ directory: '/srv/stack', ...more })).map(
      (p) => `${p.type} ${p.value}`,
    );
  const project = ['capability compose:/srv/stack', 'exec docker'];
  assert.deepEqual(asked({}), project);
  assert.deepEqual(asked({ extend: { web: { labels: { team: 'ops' } } } }), [
    ...project,
    'capability compose:/srv/stack#web',
    'capability label:team',
  ]);
  const command = ['$$A', '$$$B', '${C:-${D}}', '$E-${F?x}', '${G', 'x$', '$1'];
  const services = { side: { image: 'x:${H}', command, environment: { A: '$I' } } };
  const secrets = asked({ services }).slice(project.length).sort();
  assert.deepEqual(
    secrets,
    [...'BCDEFGHI'].map((name) => `secret compose:/srv/stack:${name}`),
  );
});

test('what fits the schema and is wrong all the same is said by its path', () => {
  const wrong = (more: object) =>
    checkProject(ComposeProjectSpec.parse({ directory: '/srv/stack', ...more })).map((f) => f.path.join('.'));
  assert.deepEqual(wrong({}), ['']);
  assert.deepEqual(wrong({ services: { a: { image: 'a' } }, extend: { a: { labels: { x: 1 } } } }), [
    'extend.a',
  ]);
  assert.deepEqual(wrong({ extend: { a: {} } }), ['extend.a']);
  assert.deepEqual(wrong({ services: { a: { image: 'a', volumes: ['~/x:/x'] } } }), ['services.a.volumes.0']);
  assert.deepEqual(
    wrong({ services: { a: { image: 'a', labels: { 'com.docker.compose.project': 'x' } } } }),
    ['services.a.labels.com.docker.compose.project'],
  );
});

test('of two directories with projects of one name, each has its own containers', async () => {
  const listed = (Id: string, service: string, directory: string, document?: string) => ({
    Id,
    Labels: {
      'com.docker.compose.service': service,
      'com.docker.compose.project.working_dir': directory,
      ...(document === undefined ? {} : { 'dev.homeostat.document': document }),
    },
  });
  const all = [
    listed('named', 'prometheus', '/a/stack'),
    listed('mine', 'exporter', '/a/stack', 'ComposeProject/a'),
    listed('mine-moved', 'old', '/elsewhere', 'ComposeProject/a'),
    listed('mine-renamed', 'older', '/a/stack', 'ComposeProject/earlier-name'),
    listed('theirs', 'exporter-b', '/b/stack', 'ComposeProject/b'),
    listed('nobodys', 'grafana', '/a/stack'),
  ];
  const inspected = ({ Id, Labels }: (typeof all)[number]) => ({
    Id,
    Name: `/${Id}`,
    Config: { Labels },
    State: { Status: 'running' },
  });
  const docker = {
    request: async (_method: string, path: string) => {
      const one = all.find(({ Id }) => path === `/containers/${Id}/json`);
      return { status: 200, headers: {}, body: JSON.stringify(one === undefined ? all : inspected(one)) };
    },
  };
  const whose = { project: 'stack', directory: '/a/stack', document: 'ComposeProject/a' };
  const io = { docker, files: {} } as unknown as Parameters<typeof containersOf>[2];
  const found = await containersOf(whose, new Set(['prometheus']), io, new AbortController().signal);
  assert.deepEqual(
    found.map(({ id }) => id),
    ['mine', 'mine-moved', 'mine-renamed', 'named'],
  );
});

test('a document works when all of its services do; what was broken before is not held against a change', () => {
  const started = Date.parse('2026-01-01T00:00:00Z');
  const running = (service: string, ageSeconds: number, exitCode?: number) => {
    const at = new Date(started - ageSeconds * 1000).toISOString();
    const isUp = exitCode === undefined;
    const State = {
      Status: isUp ? 'running' : 'exited',
      Running: isUp,
      ExitCode: exitCode ?? 0,
      Error: '',
      StartedAt: at,
      FinishedAt: isUp ? '0001-01-01T00:00:00Z' : at,
    };
    const HostConfig = { RestartPolicy: { Name: 'no' } };
    return { id: service, service, engine: { Id: service, RestartCount: 0, State, HostConfig } };
  };
  const look = (containers: object[], more: object = {}, unwell?: string[]) => {
    const services = { web: {}, exporter: {} };
    const starts = { stale: new Map(), gone: new Map(), starts: {} };
    const logs = new Map([['web', 'its words']]);
    const o = { override: { services }, containers, logs, starts, nowMs: started };
    const trial = unwell === undefined ? undefined : { before: { unwell, restarts: {} }, elapsedMs: 0 };
    const d = { spec: { directory: '/stack' } };
    return assess(...([d, { misfits: [], ...o, ...more }, trial] as unknown as Parameters<typeof assess>));
  };
  const said = (...args: Parameters<typeof look>) => {
    const found = look(...args);
    return found.verdict === 'Yes' ? 'Yes' : `${found.verdict} ${found.reason}: ${found.evidence}`;
  };
  const well = running('exporter', 40);
  const both = look([running('web', 5), well]);
  assert.ok(both.verdict === 'Yes' && both.run?.ageMs === 5000, 'the youngest run counts');
  assert.match(said([well]), /^No Gone: web has no container/);
  assert.match(said([running('web', 5, 2), well]), /^No CrashLoop: web ended with exit code 2.*its words$/s);
  assert.match(said([running('web', 5, 2), well], {}, []), /^No Exited: web ended/);
  assert.match(said([running('web', 5, 2), well], {}, ['web']), /^Unknown Exited: .*did not work before/s);
  assert.match(said([running('web', 5, 2), running('exporter', 9, 1)], {}, ['web']), /^No Exited: exporter/);
  for (const [trouble, reason] of [
    [{ misfits: [{ service: 'web', words: 'there is no service web' }] }, 'BaseDiffers'],
    [{ refused: 'web depends on nobody' }, 'ComposeRefuses'],
  ] as const) {
    assert.match(said([running('web', 5), well], trouble), new RegExp(`^No ${reason}`));
    assert.match(said([running('web', 5), well], trouble, []), new RegExp(`^Unknown ${reason}`), 'not ours');
  }
});
