// What the text of a unit may have it do, in every spelling that systemd takes: it is granted by name, or it amounts to
// root and says so. The controller's checks are left out.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createFiles } from '../../../agent/providers/files.ts';
import { digestOf } from '../../../api/json.ts';
import type { Desired } from '../../../kinds/kind.ts';
import { service } from '../../../kinds/service/index.ts';
import { needsOf } from '../../../kinds/service/needs.ts';
import { desiredOf } from '../../support/desired.ts';
import { FakeSystemd } from '../../support/fake-systemd.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const UNIT = 'web.service';
const never = new AbortController().signal;
const needs = (text: string, unit = UNIT) => needsOf(unit, text, true);
const root = (what: string, unit = UNIT) => `root-equivalent unit-file:${unit}:${what}`;

/** What is asked beside programs. */
const asked = (text: string, unit = UNIT): string[] =>
  needs(text, unit).permissions.map(({ type, value }) => `${type} ${value}`);

test('every program that a unit runs is found, however it is written', () => {
  const spellings: Record<string, string> = {
    'behind a semicolon': 'ExecStart=/bin/ok ; /bin/evil',
    'behind many': 'ExecStart=/bin/ok a ; /bin/ok b ; /bin/evil c',
    'in a continued line': 'ExecStart=/bin/ok ; \\\n  /bin/evil',
    'continued over a comment': 'ExecStart=/bin/ok ; \\\n# a comment \\\n; another\n/bin/evil',
    'continued before its value': 'ExecStart=/bin/ok\nExecStart=\\\n/bin/evil',
    'continued within its name': 'ExecStart=/bin/ok\nExecStopPost \\\n = /bin/evil',
    'with prefixes': 'ExecStart=/bin/ok\nExecStartPost=-@:/bin/evil evil',
    'in quotes': `ExecStart="/bin/ok" a\nExecReload='/bin/evil' x`,
    'with its prefix in quotes': 'ExecStart=/bin/ok\nExecStop="-/bin/evil" x',
    'partly in quotes': 'ExecStart=/bin/ok\nExecStop=/bin/e"vi"l x',
    'before it starts': 'ExecStart=/bin/ok\nExecStartPre=/bin/evil',
    'as a condition': 'ExecStart=/bin/ok\nExecCondition=/bin/evil',
    'indented, behind blanks': 'ExecStart=/bin/ok\n \t ExecStopPost \t=\t /bin/evil',
    'behind a byte order mark': '\uFEFFExecStart=/bin/ok ; /bin/evil',
    'in a section of any name': 'ExecStart=/bin/ok\n\u00a0[X-Other]\nExecStop=/bin/evil',
  };
  for (const [name, text] of Object.entries(spellings)) {
    assert.deepEqual([...needs(text).programs].sort(), ['/bin/evil', '/bin/ok'], name);
  }
  assert.deepEqual(needs('ExecStart=/bin/ok "a ; /bin/b" \\; /bin/c \';\' /bin/d').programs, ['/bin/ok']);
  assert.deepEqual(needs('X-ExecStart=/bin/no\n# ExecStart=/bin/no\n;ExecStart=/bin/no').programs, []);
});

test('a program that only systemd can know amounts to root', () => {
  for (const program of [
    '%h/evil',
    '/opt/%i',
    '$SHELL',
    '/bin/${X}',
    '"/bin/\\x65vil"',
    '/bin/ev\\x69l',
    '"/bin/open',
    '-',
    '/bin/ok ; %h/evil',
  ]) {
    assert.ok(asked(`ExecStart=${program}`).includes(root('ExecStart')), program);
  }
  for (const prefix of ['+', '!', '!!', '-+', '|']) {
    assert.deepEqual(asked(`ExecStart=${prefix}/bin/ok`), [root('ExecStart+')], prefix);
  }
});

test('what goes beyond running a program amounts to root, and is named', () => {
  for (const line of [
    'LoadCredential=x:/etc/shadow',
    'LoadCredentialEncrypted=x:/etc/shadow',
    'SetCredential=x:y',
    'ImportCredential=*',
    'EnvironmentFile=/etc/evil',
    'PassEnvironment=X',
    'ExecSearchPath=/tmp',
    'RootDirectory=/tmp/root',
    'RootImage=/tmp/image',
    'MountImages=/tmp/image:/x',
    'ExtensionImages=/tmp/image',
    'BindPaths=/etc:/x',
    'BindReadOnlyPaths=/etc/shadow:/x',
    'StandardInput=file:/etc/shadow',
    'StandardOutput=append:/etc/passwd',
    'StandardError=truncate:/etc/passwd',
    'StandardInputText=x',
    'OpenFile=/etc/shadow',
    'BusName=org.freedesktop.systemd1',
    'AmbientCapabilities=CAP_SYS_ADMIN',
    'SecureBits=keep-caps',
    'PAMName=login',
    'TTYPath=/dev/tty1',
    'PIDFile=/etc/x',
    'DeviceAllow=/dev/sda rw',
    'FailureAction=reboot-force',
    'ListenStream=/run/docker.sock',
    'Symlinks=/etc/x',
    'MakeDirectory=yes',
    'What=/dev/sda1',
    'Environment=LD_PRELOAD=/tmp/x.so',
    'Environment=A=1 "PATH=/tmp"',
    'Environment="\\x4cD_PRELOAD=/tmp/x.so"',
    'Environment=%i_X=1',
    'User=%i',
    'StateDirectory=%i',
    'WantedBy="a\\x40.service"',
    'ExecSomethingNew=/bin/x',
    'SomethingNew=1',
  ]) {
    assert.deepEqual(asked(line), [root(line.slice(0, line.indexOf('=')))], line);
  }
  assert.deepEqual(asked('no setting at all'), [root('text')]);
  assert.deepEqual(asked('Description=a\r\nExecStart=\\\r\nDescription=x'), [root('text')]);
});

test('accounts, directories and other units are granted by name', () => {
  assert.deepEqual(asked('User=alloy\nGroup=adm\nSupplementaryGroups=docker shadow'), [
    'user alloy',
    'user adm',
    'user docker',
    'user shadow',
  ]);
  assert.deepEqual(asked('User='), ['user root']);
  assert.deepEqual(asked('StateDirectory=homeostat a:b\nConfigurationDirectory=ssh'), [
    'path /var/lib/homeostat/',
    'path /var/lib/a/',
    'path /var/lib/b/',
    'path /etc/ssh/',
  ]);
  assert.deepEqual(asked('StateDirectory=../../etc'), ['path /etc/']);
  for (const key of [
    'Wants',
    'Requires',
    'BindsTo',
    'Upholds',
    'Conflicts',
    'OnFailure',
    'OnSuccess',
    'Also',
    'Alias',
    'WantedBy',
    'PropagatesStopTo',
  ]) {
    assert.deepEqual(
      asked(`${key}=ssh.service multi-user.target poweroff.target`),
      ['unit ssh.service', 'unit poweroff.target'],
      key,
    );
  }
  assert.deepEqual(asked('Unit=evil.service\nOnCalendar=daily', 'web.timer'), ['unit evil.service']);
  assert.deepEqual(asked('OnCalendar=daily', 'evil.timer'), ['unit evil.service']);
  assert.deepEqual(asked('PathChanged=/x', 'evil.path'), ['unit evil.service']);
});

test('an ordinary unit needs no more than its programs, its account and its directory', () => {
  const text = fs.readFileSync(
    path.join(import.meta.dirname, '../../../deploy/systemd/homeostat-agent.service'),
    'utf8',
  );
  assert.deepEqual(asked(text), ['path /var/lib/homeostat/', 'path /run/homeostat/']);
  assert.deepEqual(needs(text).programs, ['/usr/local/bin/homeostat']);
  assert.deepEqual(
    asked('[Service]\nMemoryMax=1G\nRestart=always\nEnvironment="CUSTOM_ARGS=--x=%H" A=b'),
    [],
  );
});

function desired(spec: object, secret = ''): Desired<Record<string, unknown>> {
  return desiredOf('Service/web', service.spec.parse(spec), {
    digest: digestOf(spec),
    content: (value) =>
      typeof value === 'string'
        ? { bytes: Buffer.from(value), secret: false }
        : { bytes: Buffer.from(secret), secret: true },
  });
}

test('programs are granted by where they are, links followed; what a secret holds is read', async (t) => {
  const directory = temporaryDirectory(t);
  fs.mkdirSync(path.join(directory, 'opt'), { recursive: true });
  fs.mkdirSync(path.join(directory, 'usr/bin'), { recursive: true });
  fs.writeFileSync(path.join(directory, 'usr/bin/dash'), '');
  fs.symlinkSync('dash', path.join(directory, 'usr/bin/sh'));
  fs.symlinkSync('../usr/bin/sh', path.join(directory, 'opt/tool'));
  const files = createFiles({ root: directory });
  t.after(() => files.close());
  const ports = { files, units: new FakeSystemd(directory, systemClock), clock: systemClock };
  const resolve = async (spec: object, secret = '') =>
    (await service.resolve!(desired(spec, secret), { ...ports } as never, never)).map(
      ({ type, value }) => `${type} ${value}`,
    );
  const all = ['unit web.service', 'exec /usr/bin/dash'];
  for (const program of ['/opt/tool', 'sh', '/usr/bin/sh']) {
    assert.deepEqual(await resolve({ unit: UNIT, unitFile: { content: `ExecStart=${program} -c x` } }), all);
  }
  const secretFrom = { file: '/run/secret' };
  assert.deepEqual(
    await resolve({ unit: UNIT, dropIns: { 'x.conf': { content: { secretFrom } } } }, 'ExecStart=/opt/tool'),
    all,
  );
  const [, shell] = await service.resolve!(
    desired({ unit: UNIT, unitFile: { content: 'ExecStart=/opt/tool' } }),
    { ...ports } as never,
    never,
  );
  assert.match(shell!.why!, /as good as root/);
  assert.deepEqual(await resolve({ unit: UNIT, manager: 'supervised', command: ['/opt/tool', 'x'] }), [
    'exec /usr/bin/dash',
  ]);
});

test('an alias needs the grant of the unit that it names', async (t) => {
  const directory = temporaryDirectory(t);
  const files = createFiles({ root: directory });
  t.after(() => files.close());
  const fake = new FakeSystemd(directory, systemClock);
  const units = { show: async () => ({ ...(await fake.show(UNIT)), id: 'ssh.service' }) };
  const found = await service.resolve!(
    desired({ unit: UNIT }),
    { files, units, clock: systemClock } as never,
    never,
  );
  assert.deepEqual(found, [{ type: 'unit', value: 'ssh.service', why: 'web.service is another name of it' }]);
});

test('a variable that has a supervised program run other code needs a grant of its own', () => {
  const permissions = service
    .permissions(
      service.spec.parse({
        unit: 'web.service',
        manager: 'supervised',
        command: ['/usr/bin/web'],
        env: { PORT: '80', LD_PRELOAD: '/srv/x.so', BASH_ENV: '/srv/x' },
      }),
    )
    .map(({ type, value }) => `${type} ${value}`);
  assert.deepEqual(
    permissions.filter((permission) => permission.startsWith('root')),
    ['', ':LD_PRELOAD', ':BASH_ENV'].map((more) => `root-equivalent command:web.service${more}`),
  );
});
