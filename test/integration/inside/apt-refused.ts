// AptRepository and Package with a real agent, apt and dpkg: what must not be done is not done, and what failed is
// undone. Runs inside a booted host (../apt.test.ts).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import {
  AFTER_REPOSITORY,
  begin,
  dpkg,
  KEYRING,
  mark,
  PACKAGE,
  REPOSITORY,
  type Setting,
  SOURCE,
  stateOf,
  wants,
} from './apt-support.ts';

const PATIENCE_MS = 60_000;
const hello = (version: string, more: object = {}) => ({ name: 'hs-hello', version, ...more });

async function expectRefused({ line }: Setting, key: string, reason: string, words: RegExp): Promise<void> {
  await eventually(() => {
    const now = line.condition(key, 'Ready');
    assert.equal(`${now?.status} ${now?.reason}`, `False ${reason}`, `${words}: ${now?.message}`);
    assert.match(String(now?.message), words);
  }, PATIENCE_MS);
}

// The machine that this host is made of may say otherwise.
fs.writeFileSync(
  '/etc/apt/apt.conf.d/zz-valid-until',
  'Acquire::Check-Valid-Until "true";\nAcquire::Check-Date "true";\n',
);

const written = () => [SOURCE, KEYRING].filter((file) => fs.existsSync(file));

test('a key that is not the pinned one gets nowhere near the disk', async (t) => {
  const setting = await begin(t, [hello('1.0')]);
  const { line, archive, repository, url, ran } = setting;
  const other = archive.newKey('other');
  fs.writeFileSync('/root/other.asc', other.armoured);
  const sources = { url: { url: `${url}/key.asc` }, file: { file: '/root/other.asc' } };
  for (const [name, source] of Object.entries(sources)) {
    const pinnedTo = name === 'url' ? other.fingerprint : archive.key.fingerprint;
    line.assign(repository({ ...source, fingerprint: pinnedTo }));
    await expectRefused(
      setting,
      REPOSITORY,
      'KeyMismatch',
      new RegExp(`${pinnedTo} is pinned; nothing was written`),
    );
    assert.deepEqual(written(), [], name);
  }
  line.assign(repository({ url: `${url}/nothing.asc` }));
  await expectRefused(setting, REPOSITORY, 'KeyMissing', /answered 404/);
  archive.answers.set('/page', { status: 200, body: '<html>welcome to the hotel</html>' });
  line.assign(repository({ url: `${url}/page` }));
  await expectRefused(setting, REPOSITORY, 'KeyUnreadable', /neither armoured/);
  assert.deepEqual(written(), []);
  assert.deepEqual(ran, [], 'apt was not asked');
  // The right one, by way of another address.
  archive.answers.set('/moved', { status: 302, location: '/key.asc' });
  line.assign(repository({ url: `${url}/moved` }));
  await line.expect(REPOSITORY, 'True');
});

test('what apt refuses is undone, with its words; the repository before stays', async (t) => {
  const setting = await begin(t, [hello('1.0')]);
  const { line, archive, repository, url } = setting;
  const other = archive.newKey('other');
  const badly: Record<string, { arrange: () => void; more?: object; words: RegExp }> = {
    'signed by another key': {
      arrange: () => archive.publish([hello('1.0')], { key: other }),
      words: /UpdateRefused: .*NO_PUBKEY/,
    },
    'no such suite': {
      arrange: () => undefined,
      more: { suites: ['none'] },
      words: /does not have a Release file/,
    },
    'no such component': {
      arrange: () => undefined,
      more: { components: ['none'] },
      words: /have the component/,
    },
    'no longer valid': {
      arrange: () => archive.publish([hello('1.0')], { validUntil: new Date(Date.now() - 86_400_000) }),
      words: /expired/,
    },
  };
  for (const [name, { arrange, more, words }] of Object.entries(badly)) {
    arrange();
    line.assign(repository(undefined, { architectures: ['amd64', 'arm64'], ...more }));
    await expectRefused(setting, REPOSITORY, 'RolledBack', words);
    assert.deepEqual(written(), [], name);
    line.assign();
    await line.expectGone(REPOSITORY);
    archive.publish([hello('1.0')]);
  }
  line.assign(repository());
  await line.expect(REPOSITORY, 'True');
  const before = fs.readFileSync(SOURCE, 'utf8');
  line.assign(repository(undefined, { suites: ['stable', 'none'] }));
  await expectRefused(setting, REPOSITORY, 'RolledBack', /Release file/);
  assert.equal(fs.readFileSync(SOURCE, 'utf8'), before);

  // Another source of the same repository with another key would keep apt from reading any of them.
  line.assign();
  await line.expectGone(REPOSITORY);
  fs.writeFileSync('/etc/apt/keyrings/theirs.gpg', archive.key.binary);
  const theirs = '/etc/apt/sources.list.d/theirs.list';
  fs.writeFileSync(theirs, `deb [signed-by=/etc/apt/keyrings/theirs.gpg] ${url} stable main\n`);
  try {
    line.assign(repository());
    await expectRefused(setting, REPOSITORY, 'SourceConflict', /theirs\.list names the same .*Signed-By/);
    assert.deepEqual(written(), [], 'nothing of it was ever written');
  } finally {
    fs.rmSync(theirs);
  }
  await line.expect(REPOSITORY, 'True');
});

test('a network that is away is no refusal: it goes on when somebody answers', async (t) => {
  const setting = await begin(t, [hello('1.0')]);
  const { line, archive, repository } = setting;
  archive.answers.set('*', { status: 503 });
  line.assign(repository({ content: archive.key.armoured }));
  await eventually(() => {
    const ready = line.condition(REPOSITORY, 'Ready');
    assert.equal(ready?.reason, 'Error', String(ready?.message));
    assert.match(ready!.message, /503/);
  }, PATIENCE_MS);
  archive.answers.delete('*');
  line.agent.reconcile();
  await eventually(() => assert.equal(line.condition(REPOSITORY, 'Ready')?.status, 'True'), PATIENCE_MS);
});

test('a version that there is not is told with those that there are, and is taken once it is there', async (t) => {
  const setting = await begin(t, [hello('1.0'), hello('1.1')]);
  const { line, archive, repository } = setting;
  line.assign(repository(), wants({ name: 'hs-hello', version: '2.*' }, AFTER_REPOSITORY));
  await expectRefused(
    setting,
    PACKAGE,
    'VersionUnavailable',
    /there is no hs-hello 2\.\*; there is 1\.1, 1\.0/,
  );
  archive.publish([hello('1.0'), hello('2.1')]);
  setting.later = 600_000;
  line.agent.reconcile();
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '2.1 installed install'), PATIENCE_MS);
  line.assign(repository(), wants({ name: 'hs-nothing' }, AFTER_REPOSITORY));
  await expectRefused(
    setting,
    PACKAGE,
    'VersionUnavailable',
    /no repository of this host has a package hs-nothing/,
  );
});

test('nothing else is removed or taken back without a word for it', async (t) => {
  const theirs = { name: 'hs-theirs', version: '1.0' };
  const setting = await begin(t, [
    hello('1.0', { control: 'Conflicts: hs-theirs' }),
    hello('0.9'),
    theirs,
    { name: 'hs-needs', version: '1', control: 'Depends: hs-hello' },
    { name: 'hs-impossible', version: '1', control: 'Depends: hs-none' },
  ]);
  const { line, archive, repository } = setting;
  const pool = (name: string) => path.join(archive.directory, 'pool', `${name}_all.deb`);
  await dpkg('--install', pool('hs-theirs_1.0'));
  const assign = (spec: object) =>
    line.assign(repository(), wants({ name: 'hs-hello', ...spec }, AFTER_REPOSITORY));
  assign({ version: '1.0' });
  await expectRefused(setting, PACKAGE, 'WouldRemove', /would remove hs-theirs; mayRemove: \[hs-theirs\]/);
  assert.equal(await stateOf('hs-theirs'), '1.0 installed install');
  assert.equal(await stateOf('hs-hello'), 'absent');
  assign({ version: '1.0', mayRemove: ['hs-theirs'] });
  await line.expect(PACKAGE, 'True').catch(() => undefined);
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '1.0 installed install'), PATIENCE_MS);
  assert.match(await stateOf('hs-theirs'), /absent/);

  assign({ version: '0.9' });
  await expectRefused(setting, PACKAGE, 'WouldDowngrade', /hs-hello from 1\.0 to 0\.9; allowDowngrade/);
  assert.equal(await stateOf('hs-hello'), '1.0 installed install');
  assign({ version: '0.9', allowDowngrade: true });
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '0.9 installed install'), PATIENCE_MS);
  await line.expect(PACKAGE, 'True');

  // Somebody's package needs ours by now: it does not leave under it.
  await dpkg('--install', pool('hs-needs_1'));
  line.assign(repository());
  await expectRefused(setting, PACKAGE, 'WouldRemove', /removing hs-hello would remove hs-needs/);
  assert.equal(await stateOf('hs-hello'), '0.9 installed install');
  await dpkg('--purge', 'hs-needs');
  line.agent.reconcile();
  await line.expectGone(PACKAGE);
  assert.match(await stateOf('hs-hello'), /absent/);

  line.assign(repository(), wants({ name: 'hs-impossible' }, AFTER_REPOSITORY));
  await expectRefused(setting, PACKAGE, 'Unsolvable', /hs-impossible : Depends: hs-none/);
});

test('somebody’s hold is not overruled by silence', async (t) => {
  const setting = await begin(t, [hello('1.0'), hello('2.0')]);
  const { line, archive, repository } = setting;
  await dpkg('--install', path.join(archive.directory, 'pool/hs-hello_1.0_all.deb'));
  await mark('hold', 'hs-hello');
  line.assign(repository(), wants({ name: 'hs-hello', version: '2.0' }, AFTER_REPOSITORY));
  await expectRefused(setting, PACKAGE, 'Held', /held at 1\.0, and 2\.0 is wanted: write hold/);
  line.assign(repository(), wants({ name: 'hs-hello', version: '2.0', hold: true }, AFTER_REPOSITORY));
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '2.0 installed hold'), PATIENCE_MS);
  await line.expect(PACKAGE, 'True');
  line.assign(repository(), wants({ name: 'hs-hello', version: '2.0' }, AFTER_REPOSITORY));
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '2.0 installed install'), PATIENCE_MS);
});

test('a version that fails to install is undone: the one before is back', async (t) => {
  const broken = hello('2.0', { scripts: { postinst: 'echo no good >&2; exit 7' } });
  const setting = await begin(t, [hello('1.0'), broken]);
  const { line, repository } = setting;
  line.assign(repository(), wants({ name: 'hs-hello', version: '2.0' }, AFTER_REPOSITORY));
  await expectRefused(setting, PACKAGE, 'RolledBack', /InstallFailed: .*post-installation.*exit status 7/);
  assert.match(await stateOf('hs-hello'), /absent/, 'it was not there before');
  line.assign(repository(), wants({ name: 'hs-hello', version: '1.0', hold: true }, AFTER_REPOSITORY));
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '1.0 installed hold'), PATIENCE_MS);
  await line.expect(PACKAGE, 'True');
  line.assign(repository(), wants({ name: 'hs-hello', version: '2.0', hold: true }, AFTER_REPOSITORY));
  await expectRefused(setting, PACKAGE, 'RolledBack', /InstallFailed/);
  assert.equal(await stateOf('hs-hello'), '1.0 installed hold');
});
