// AptRepository and Package with a real agent, apt and dpkg: whatever is done to them behind its back is mended. Runs
// inside a booted host (../apt.test.ts).
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { gpg } from '../../support/apt-archive.ts';
import { eventually } from '../../support/eventually.ts';
import {
  AFTER_REPOSITORY,
  apt,
  begin,
  dpkg,
  family,
  KEYRING,
  makeGate,
  mark,
  PACKAGE,
  putKey,
  REPOSITORY,
  SOURCE,
  stateOf,
  waitsAt,
  wants,
} from './apt-support.ts';

const PATIENCE_MS = 60_000;
const hello = (version: string, more: object = {}) => ({
  name: 'hs-hello',
  version,
  files: { '/usr/share/hs-hello/text': `${version}\n`, '/etc/hs-hello.conf': `of ${version}\n` },
  conffiles: ['/etc/hs-hello.conf'],
  ...more,
});

test('whatever happens to a repository and its package, it is mended', async (t) => {
  const { line, archive, repository, ran } = await begin(t, [hello('1.0'), hello('1.1'), hello('2.0')]);
  line.assign(
    wants({ name: 'hs-hello', version: '1.1', hold: true, allowDowngrade: true }, AFTER_REPOSITORY),
    repository(),
  );
  await line.expect(PACKAGE, 'True');
  await line.expect(REPOSITORY, 'True');
  assert.equal(await stateOf('hs-hello'), '1.1 installed hold');
  const [source, keyring] = [fs.readFileSync(SOURCE, 'utf8'), fs.readFileSync(KEYRING)];
  assert.ok(keyring.equals(archive.key.binary));
  fs.appendFileSync('/etc/hs-hello.conf', 'edited here\n');
  const deb = (version: string) => path.join(archive.directory, 'pool', `hs-hello_${version}_all.deb`);
  const ofPackage: Record<string, () => unknown> = {
    'apt-get remove': () => apt('--allow-change-held-packages', 'remove', 'hs-hello'),
    'apt-mark unhold': () => mark('unhold', 'hs-hello'),
    'an upgrade': () => apt('--allow-change-held-packages', 'install', 'hs-hello=2.0'),
    'a downgrade': () => dpkg('--force-hold', '--install', deb('1.0')),
    'unpacked, and cut off before it was configured': () => dpkg('--force-hold', '--unpack', deb('1.1')),
    'dpkg --purge': () => dpkg('--force-hold', '--purge', 'hs-hello'),
  };
  const ofRepository: Record<string, () => unknown> = {
    'the source edited': () => fs.writeFileSync(SOURCE, source.replace('stable', 'testing')),
    'the source deleted': () => fs.unlinkSync(SOURCE),
    'the keyring deleted': () => fs.unlinkSync(KEYRING),
    'the keyring emptied': () => fs.truncateSync(KEYRING),
  };
  for (const [key, breakages] of [
    [PACKAGE, ofPackage],
    [REPOSITORY, ofRepository],
  ] as const) {
    for (const [name, breakIt] of Object.entries(breakages)) {
      const before = line.status(key).healedTotal;
      const began = performance.now();
      await breakIt();
      await eventually(async () => {
        assert.ok(line.status(key).healedTotal > before, `${name}: not healed`);
        assert.equal(await stateOf('hs-hello'), '1.1 installed hold', name);
        assert.equal(fs.readFileSync(SOURCE, 'utf8'), source, name);
        assert.ok(fs.readFileSync(KEYRING).equals(keyring), name);
      }, PATIENCE_MS);
      await line.expect(key, 'True');
      t.diagnostic(`healed: ${name}, ${(performance.now() - began).toFixed(0)} ms with the command itself`);
      if (name !== 'dpkg --purge')
        assert.match(fs.readFileSync('/etc/hs-hello.conf', 'utf8'), /edited|of 1\.1/, name);
    }
  }

  // A pass that finds nothing to do only has apt read its sources, all of them, since others may break them for it.
  await line.agent.idle();
  ran.length = 0;
  line.agent.reconcile();
  await line.agent.idle();
  assert.deepEqual(
    ran.filter((command) => !command.includes(' indextargets ')),
    [],
  );

  line.assign(repository());
  await line.expectGone(PACKAGE);
  assert.match(await stateOf('hs-hello'), /absent/);
  line.assign();
  await line.expectGone(REPOSITORY);
  assert.deepEqual([SOURCE, KEYRING].filter(fs.existsSync), []);
});

test('an edited file of its own stays over an upgrade; a package that was there stays when its document leaves', async (t) => {
  const { line, repository, archive } = await begin(t, [hello('1.0'), hello('2.0')]);
  await dpkg('--install', path.join(archive.directory, 'pool/hs-hello_1.0_all.deb'));
  fs.writeFileSync('/etc/hs-hello.conf', 'ours\n');
  line.assign(repository(), wants({ name: 'hs-hello', version: '2.*', hold: true }, AFTER_REPOSITORY));
  await line.expect(PACKAGE, 'True');
  assert.equal(await stateOf('hs-hello'), '2.0 installed hold');
  assert.equal(fs.readFileSync('/etc/hs-hello.conf', 'utf8'), 'ours\n');
  line.assign(repository());
  await line.expectGone(PACKAGE);
  assert.equal(await stateOf('hs-hello'), '2.0 installed install', 'it stays, and our hold is off');
});

test('a version that somebody installed stays where the document takes it, and is reported where it is too new', async (t) => {
  const { line, repository } = await begin(t, [hello('1.0'), hello('1.1'), hello('2.0')]);
  line.assign(repository(), wants({ name: 'hs-hello', version: '1.*' }, AFTER_REPOSITORY));
  await line.expect(PACKAGE, 'True');
  assert.equal(await stateOf('hs-hello'), '1.1 installed install');
  await apt('--allow-downgrades', 'install', 'hs-hello=1.0');
  line.agent.reconcile();
  await line.agent.idle();
  await line.expect(PACKAGE, 'True');
  assert.equal(await stateOf('hs-hello'), '1.0 installed install');
  assert.equal(line.status(PACKAGE).healedTotal, 0);
  await apt('install', 'hs-hello=2.0');
  await line.expect(PACKAGE, 'False', 'WouldDowngrade');
  assert.equal(await stateOf('hs-hello'), '2.0 installed install');
  line.assign(
    repository(),
    wants({ name: 'hs-hello', version: '1.*', allowDowngrade: true }, AFTER_REPOSITORY),
  );
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '1.1 installed install'), PATIENCE_MS);
  await line.expect(PACKAGE, 'True');
});

/** A program of the host's administrator that holds dpkg's lock until it is told to go on, or is killed. */
async function atWork(t: TestContext, deb: string, gate: string): Promise<ChildProcess> {
  const child = spawn('apt-get', ['-q', '-y', 'install', deb], {
    stdio: 'ignore',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  t.after(() => {
    if (child.exitCode === null && child.signalCode === null) killAll(child);
  });
  await eventually(() => assert.ok(fs.existsSync(`${gate}.waits`)), PATIENCE_MS);
  return child;
}

/** With dpkg and its script, which would go on without it. */
function killAll({ pid }: ChildProcess): void {
  for (const each of family(pid!)) process.kill(each, 'SIGKILL');
}

test('while somebody else is at work it waits, says who that is, and goes on after', async (t) => {
  const setting = await begin(t, [hello('1.0')]);
  const { line, archive, repository } = setting;
  line.assign(repository());
  await line.expect(REPOSITORY, 'True');
  const gate = makeGate(line.directory);
  const slow = archive.build({ name: 'hs-slow', version: '1', scripts: waitsAt(gate.path) }, line.directory);
  const child = await atWork(t, slow, gate.path);
  line.assign(repository(), wants({ name: 'hs-hello' }, AFTER_REPOSITORY));
  const status = await eventually(() => {
    const ready = line.condition(PACKAGE, 'Ready');
    assert.equal(ready?.reason, 'DpkgLocked', String(ready?.message));
    return ready;
  }, PATIENCE_MS);
  assert.match(status!.message, new RegExp(`dpkg’s lock is held by process ${child.pid} \\(apt-get\\)`));
  assert.equal(await stateOf('hs-hello'), 'absent');
  const ended = once(child, 'exit');
  gate.open();
  await ended;
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '1.0 installed install'), PATIENCE_MS);
  await line.expect(PACKAGE, 'True');
  assert.equal(await stateOf('hs-slow'), '1 installed install');
});

test('a dpkg that was cut off is brought to its end first', async (t) => {
  const { line, archive, repository } = await begin(t, [hello('1.0')]);
  const gate = makeGate(line.directory);
  const slow = archive.build({ name: 'hs-slow', version: '1', scripts: waitsAt(gate.path) }, line.directory);
  const child = await atWork(t, slow, gate.path);
  const ended = once(child, 'exit');
  killAll(child);
  await ended;
  fs.writeFileSync(`${gate.path}.open`, '');
  assert.match(await stateOf('hs-slow'), /^1 (half-configured|unpacked)/);
  // apt refuses to do anything until that is mended.
  line.assign(repository(), wants({ name: 'hs-hello' }, AFTER_REPOSITORY));
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '1.0 installed install'), PATIENCE_MS);
  await line.expect(PACKAGE, 'True');
  assert.equal(await stateOf('hs-slow'), '1 installed install');
});

test('a key that has expired is taken anew from where it came', async (t) => {
  const setting = await begin(t, [hello('1.0')]);
  const { line, archive, repository } = setting;
  const key = archive.newKey('short', { expires: '20d' });
  archive.publish([hello('1.0')], { key });
  putKey(archive, key);
  line.assign(repository({ url: `${setting.url}/key.asc`, fingerprint: key.fingerprint }));
  await line.expect(REPOSITORY, 'True');
  const expiry = (reason: string) =>
    eventually(() => {
      line.agent.reconcile();
      assert.equal(line.condition(REPOSITORY, 'KeyExpiry')?.reason, reason);
    });
  await expiry('ExpiresSoon');
  gpg(key.home, '--passphrase', '', '--quick-set-expire', key.fingerprint, '3y');
  const renewed = archive.exported(key);
  putKey(archive, renewed);
  setting.later = 30 * 86_400_000;
  line.agent.reconcile();
  await eventually(() => assert.ok(fs.readFileSync(KEYRING).equals(renewed.binary)), PATIENCE_MS);
  await line.expect(REPOSITORY, 'True');
  await expiry('Valid');
});

test('latest follows what is published, and what can’t be installed is left out', async (t) => {
  const setting = await begin(t, [hello('1.0')]);
  const { line, archive, repository } = setting;
  line.assign(repository(), wants({ name: 'hs-hello', version: 'latest' }, AFTER_REPOSITORY));
  await line.expect(PACKAGE, 'True');
  assert.equal(await stateOf('hs-hello'), '1.0 installed install');
  const publish = async (...versions: ReturnType<typeof hello>[]) => {
    archive.publish(versions);
    setting.later += 25 * 3_600_000;
    line.agent.reconcile(PACKAGE);
  };
  await publish(hello('1.0'), hello('1.1'));
  await eventually(async () => assert.equal(await stateOf('hs-hello'), '1.1 installed install'), PATIENCE_MS);
  await publish(hello('1.1'), hello('1.2', { scripts: { postinst: 'echo broken >&2; exit 1' } }));
  const said = await eventually(() => {
    line.agent.reconcile(PACKAGE);
    const latest = line.condition(PACKAGE, 'Latest');
    assert.equal(latest?.reason, 'UpgradeFailed');
    return latest!.message;
  }, PATIENCE_MS);
  assert.match(said, /1\.2: .*post-installation script.*1\.1 stays/);
  assert.equal(await stateOf('hs-hello'), '1.1 installed install');
  await publish(hello('1.1'), hello('1.3'));
  await eventually(async () => {
    line.agent.reconcile(PACKAGE);
    assert.equal(await stateOf('hs-hello'), '1.3 installed install');
    assert.equal(line.condition(PACKAGE, 'Latest'), undefined);
  }, PATIENCE_MS);
});
