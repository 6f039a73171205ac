// File, on a real file system with real events.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { EXTENDED_ATTRIBUTES, ROOT, require } from '../../support/capabilities.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const motd = (content: string, more: object = {}) =>
  resource('File', 'motd', { path: '/etc/motd', content, ...more });

test('a file is created with its parents, and comes back however it is broken', async (t) => {
  const line = new Timeline(t).start().assign(motd('hello\n', { mode: '0640' }));
  await line.expect('File/motd', 'True');
  assert.equal(line.read('/etc/motd'), 'hello\n');
  assert.equal(fs.statSync(line.path('/etc/motd')).mode & 0o7777, 0o640);
  const breakages: Record<string, (p: string) => void> = {
    write: (p) => fs.writeFileSync(p, 'tampered'),
    truncate: (p) => fs.truncateSync(p),
    delete: (p) => fs.unlinkSync(p),
    replace: (p) => {
      fs.writeFileSync(`${p}.x`, 'replaced');
      fs.renameSync(`${p}.x`, p);
    },
    chmod: (p) => fs.chmodSync(p, 0o777),
    symlink: (p) => {
      fs.unlinkSync(p);
      fs.symlinkSync('/dev/null', p);
    },
    'parent removed': (p) => fs.rmSync(p.replace('/motd', ''), { recursive: true }),
    'parent moved away': (p) => fs.renameSync(p.replace('/motd', ''), p.replace('/motd', '2')),
  };
  for (const [name, tamper] of Object.entries(breakages)) {
    const before = line.status('File/motd').healedTotal;
    tamper(line.path('/etc/motd'));
    await eventually(() => {
      assert.ok(line.status('File/motd').healedTotal > before, `${name}: not healed`);
      assert.equal(line.read('/etc/motd'), 'hello\n', name);
      assert.equal(fs.lstatSync(line.path('/etc/motd')).mode & 0o7777, 0o640, name);
    });
  }
});

test('what was created is removed with its document; what was adopted is put back', async (t) => {
  const line = new Timeline(t);
  fs.mkdirSync(line.path('/etc'), { recursive: true });
  fs.writeFileSync(line.path('/etc/motd'), 'mine\n', { mode: 0o600 });
  line.start().assign(motd('ours\n'), resource('File', 'new', { path: '/etc/new', content: 'x' }));
  await line.expect('File/motd', 'True');
  await line.expect('File/new', 'True');
  line.assign();
  await line.expectGone('File/motd');
  await line.expectGone('File/new');
  assert.equal(line.read('/etc/motd'), 'mine\n');
  assert.equal(fs.statSync(line.path('/etc/motd')).mode & 0o777, 0o600);
  assert.equal(fs.existsSync(line.path('/etc/new')), false);
});

test('a claim that moves to another document is handed over, never pruned', async (t) => {
  const line = new Timeline(t).start().assign(motd('one\n'));
  await line.expect('File/motd', 'True');
  const inode = fs.statSync(line.path('/etc/motd')).ino;
  line.assign(resource('File', 'renamed', { path: '/etc/motd', content: 'one\n' }));
  await line.expect('File/renamed', 'True');
  await line.expectGone('File/motd');
  assert.equal(fs.statSync(line.path('/etc/motd')).ino, inode);
  line.assign();
  await line.expectGone('File/renamed');
  assert.equal(fs.existsSync(line.path('/etc/motd')), false, 'it was created by us, under its first name');
});

test('prune: orphan leaves what is there', async (t) => {
  const line = new Timeline(t).start().assign(motd('stays\n'));
  await line.expect('File/motd', 'True');
  line.assign({ ...motd('stays\n'), prune: 'orphan' });
  line.assign();
  await line.expectGone('File/motd');
  assert.equal(line.read('/etc/motd'), 'stays\n');
});

test('drift: warn and mode observe report and touch nothing', async (t) => {
  const line = new Timeline(t).start().assign({ ...motd('wanted\n'), drift: 'warn' });
  const status = await line.expect('File/motd', 'False', 'Drifted');
  assert.match(status.drift.join(), /content: absent → 7 bytes/);
  assert.equal(fs.existsSync(line.path('/etc/motd')), false);
  line.mode = 'observe';
  line.assign(motd('wanted\n'));
  await line.expect('File/motd', 'False', 'Drifted');
  assert.equal(fs.existsSync(line.path('/etc/motd')), false);
  line.mode = 'enforce';
  line.assign(motd('wanted\n'));
  await line.expectContent('/etc/motd', 'wanted\n');
});

test('directories and links are kept, and a directory that others use is not removed', async (t) => {
  const line = new Timeline(t)
    .start()
    .assign(
      resource('File', 'dir', { path: '/srv/data', type: 'directory', mode: '0750' }),
      resource('File', 'link', { path: '/srv/current', type: 'symlink', target: 'data' }),
    );
  await line.expect('File/dir', 'True');
  await line.expect('File/link', 'True');
  fs.chmodSync(line.path('/srv/data'), 0o777);
  await eventually(() => assert.equal(fs.statSync(line.path('/srv/data')).mode & 0o777, 0o750));
  fs.unlinkSync(line.path('/srv/current'));
  await eventually(() => assert.equal(fs.readlinkSync(line.path('/srv/current')), 'data'));
  fs.writeFileSync(line.path('/srv/data/theirs'), 'x');
  line.assign();
  await line.expectGone('File/dir');
  assert.equal(fs.existsSync(line.path('/srv/data/theirs')), true);
  assert.equal(fs.existsSync(line.path('/srv/current')), false);
});

for (const type of ['file', 'symlink'] as const) {
  test(`a ${type} that became a directory comes back when the document goes`, async (t) => {
    const line = new Timeline(t);
    const place = line.path('/etc/motd');
    fs.mkdirSync(path.dirname(place), { recursive: true });
    if (type === 'file') fs.writeFileSync(place, 'mine\n');
    else fs.symlinkSync('mine', place);
    line.start().assign(resource('File', 'motd', { path: '/etc/motd', type: 'directory' }));
    await line.expect('File/motd', 'True');
    assert.ok(fs.lstatSync(place).isDirectory());
    line.assign();
    await line.expectGone('File/motd');
    if (type === 'file') assert.equal(fs.readFileSync(place, 'utf8'), 'mine\n');
    else assert.equal(fs.readlinkSync(place), 'mine');
  });
}

test('a file that grew too large to be compared does not keep its document from going', async (t) => {
  const line = new Timeline(t).start().assign(motd('hello\n'));
  await line.expect('File/motd', 'True');
  fs.truncateSync(line.path('/etc/motd'), 17 * 1024 * 1024);
  line.assign();
  await line.expectGone('File/motd');
  assert.equal(fs.existsSync(line.path('/etc/motd')), false);
});

/** node has no call for extended attributes. @returns what the statement prints */
const python = (statement: string, file: string): string =>
  execFileSync('python3', ['-c', `import os, sys\n${statement}`, file], { encoding: 'utf8' }).trim();

test('an owner that the document names is put back, and what it does not name stays', async (t) => {
  if (!require(t, ROOT, EXTENDED_ATTRIBUTES)) return;
  const line = new Timeline(t).start();
  const named = { path: '/etc/named', content: 'x', owner: 'root', group: 'root' };
  line.assign(resource('File', 'named', named), motd('right\n'));
  await line.expect('File/named', 'True');
  await line.expect('File/motd', 'True');
  const [place, other] = [line.path('/etc/motd'), line.path('/etc/named')];
  fs.chownSync(other, 65534, 65534);
  await eventually(() => assert.deepEqual([fs.statSync(other).uid, fs.statSync(other).gid], [0, 0]));

  fs.chownSync(place, 65534, 65534);
  fs.utimesSync(place, 1, 1);
  python("os.setxattr(sys.argv[1], 'user.note', b'mine')", place);
  line.agent.reconcile();
  await line.agent.idle();
  const { uid, mtimeMs } = fs.statSync(place);
  assert.deepEqual([uid, mtimeMs], [65534, 1000]);
  assert.equal(python("print(os.getxattr(sys.argv[1], 'user.note').decode())", place), 'mine');
  await line.expect('File/motd', 'True');
  assert.equal(line.status('File/motd').healedTotal, 0);
  // Another file takes its place: the account is kept, an attribute of the file before is not.
  fs.writeFileSync(place, 'wrong\n');
  await line.expectContent('/etc/motd', 'right\n');
  assert.equal(fs.statSync(place).uid, 65534);
  assert.equal(python('print(os.listxattr(sys.argv[1]))', place), '[]');
});

test('an access control list gives no more than the mode that the document names', async (t) => {
  if (!require(t, EXTENDED_ATTRIBUTES)) return;
  const line = new Timeline(t).start().assign(motd('right\n', { mode: '0640' }));
  await line.expect('File/motd', 'True');
  const place = line.path('/etc/motd');
  // setfacl -m u:65534:rw (acl(5), posix_acl_xattr.h): an entry is a tag, what it permits, and whom.
  const list = `import struct
entries = [(1, 6, -1), (2, 6, 65534), (4, 4, -1), (16, 6, -1), (32, 0, -1)]
value = struct.pack('<I', 2) + b''.join(struct.pack('<HHi', *entry) for entry in entries)
os.setxattr(sys.argv[1], 'system.posix_acl_access', value)`;
  python(list, place);
  await eventually(() => assert.equal(line.status('File/motd').healedTotal, 1));
  assert.equal(fs.statSync(place).mode & 0o7777, 0o640);
  const mask = `import struct
value = os.getxattr(sys.argv[1], 'system.posix_acl_access')
print([struct.unpack_from('<HHi', value, at)[1] for at in range(4, len(value), 8) if value[at] == 16])`;
  assert.equal(python(mask, place), '[4]', 'the entry stays, and its mask is the group’s part of the mode');
  await line.expect('File/motd', 'True');
});

test('a directory in the way is never replaced: stalled, with what to do', async (t) => {
  const line = new Timeline(t);
  fs.mkdirSync(line.path('/etc/motd'), { recursive: true });
  line.start().assign(motd('x'));
  await line.expect('File/motd', 'False', 'IsADirectory');
  fs.rmdirSync(line.path('/etc/motd'));
  line.agent.reconcile('File/motd');
  await line.expectContent('/etc/motd', 'x');
});

test('a link on the way that leads out of what is allowed is refused', async (t) => {
  const line = new Timeline(t);
  const outside = `${line.directory}/outside`;
  fs.mkdirSync(outside);
  fs.symlinkSync(outside, line.path('/etc'));
  line.start().assign(motd('x'));
  await line.expect('File/motd', 'False', 'PathLeadsElsewhere');
  assert.deepEqual(fs.readdirSync(outside), []);
});

test('in place: the inode stays', async (t) => {
  const line = new Timeline(t).start().assign(motd('first\n', { inPlace: true }));
  await line.expect('File/motd', 'True');
  const inode = fs.statSync(line.path('/etc/motd')).ino;
  line.assign(motd('second, and longer\n', { inPlace: true }));
  await line.expectContent('/etc/motd', 'second, and longer\n');
  line.assign(motd('3\n', { inPlace: true }));
  await line.expectContent('/etc/motd', '3\n');
  assert.equal(fs.statSync(line.path('/etc/motd')).ino, inode);
});

test('a secret is written, compared by HMAC, and followed when its source changes; it is in no status', async (t) => {
  const line = new Timeline(t);
  const source = `${line.directory}/secret`;
  fs.writeFileSync(source, 'open sesame\n');
  // Secret files are read by their real path: the sandbox root is for what is managed.
  line
    .start()
    .assign(
      resource('File', 'env', { path: '/etc/env', content: { secretFrom: { file: source } }, mode: '0600' }),
    );
  await line.expectContent('/etc/env', 'open sesame');
  fs.writeFileSync(line.path('/etc/env'), 'tampered');
  await line.expectContent('/etc/env', 'open sesame');
  assert.doesNotMatch(JSON.stringify(line.agent.status()), /sesame/);
  fs.rmSync(source);
  await line.expect('File/env', 'False', 'SecretMissing');
  fs.writeFileSync(line.path('/etc/env'), 'tampered again');
  fs.writeFileSync(source, 'other');
  await line.expectContent('/etc/env', 'other');
});

test('a secret whose file is a link is seen when it is swapped, changed in place, gone, and back', async (t) => {
  const line = new Timeline(t).start();
  const at = (p: string) => path.join(line.directory, 'secrets', p);
  const relink = (p: string, target: string): void => {
    fs.symlinkSync(target, at(`${p}.new`));
    fs.renameSync(at(`${p}.new`), at(p));
  };
  for (const directory of ['k/..2026_01', 'k/..2026_02', 'live', 'archive'])
    fs.mkdirSync(at(directory), { recursive: true });
  fs.writeFileSync(at('k/..2026_01/token'), 'one');
  fs.writeFileSync(at('k/..2026_02/token'), 'two');
  fs.writeFileSync(at('archive/key1'), 'key 1');
  fs.writeFileSync(at('archive/key2'), 'key 2');
  relink('k/..data', '..2026_01');
  relink('k/token', '..data/token');
  relink('live/key', at('archive/key1'));
  const file = (name: string, secret: string) =>
    resource('File', name, {
      path: `/etc/${name}`,
      mode: '0600',
      content: { secretFrom: { file: at(secret) } },
    });
  line.assign(file('token', 'k/token'), file('key', 'live/key'));
  const become = (token: string, key: string) =>
    eventually(() => assert.deepEqual([line.read('/etc/token'), line.read('/etc/key')], [token, key]));
  await become('one', 'key 1');

  relink('k/..data', '..2026_02');
  fs.rmSync(at('k/..2026_01'), { recursive: true });
  relink('live/key', at('archive/key2'));
  await become('two', 'key 2');

  fs.writeFileSync(at('k/..data/token'), 'three');
  fs.writeFileSync(at('archive/key2'), 'key 3');
  await become('three', 'key 3');

  fs.renameSync(at('k/..data'), at('k/..away'));
  await line.expect('File/token', 'False', 'SecretMissing');
  assert.equal(line.read('/etc/token'), 'three');
  fs.renameSync(at('k/..away'), at('k/..data'));
  await line.expect('File/token', 'True');
});

test('a file below a linked directory is healed', async (t) => {
  const line = new Timeline(t).start();
  fs.mkdirSync(line.path('/real'), { recursive: true });
  fs.symlinkSync('real', line.path('/link'));
  line.assign(resource('File', 'f', { path: '/link/f', content: 'right' }));
  await line.expect('File/f', 'True');
  for (const tamper of [
    () => fs.writeFileSync(line.path('/real/f'), 'wrong'),
    () => fs.unlinkSync(line.path('/link/f')),
    () => {
      fs.mkdirSync(line.path('/other'));
      fs.unlinkSync(line.path('/link'));
      fs.symlinkSync('other', line.path('/link'));
    },
    () => fs.writeFileSync(line.path('/other/f'), 'wrong'),
  ]) {
    const before = line.status('File/f').healedTotal;
    tamper();
    await eventually(() => {
      assert.ok(line.status('File/f').healedTotal > before, String(tamper));
      assert.equal(line.read('/link/f'), 'right', String(tamper));
    });
  }
});

test('what the system refuses is reported under the path that the manifest names', async (t) => {
  const line = new Timeline(t).start();
  line.assign(resource('File', 'motd', { path: '/etc/motd', content: 'one\n' }));
  await line.expect('File/motd', 'True');
  line.agent.suspend('File/motd', 60_000, 'the test edits');
  fs.unlinkSync(line.path('/etc/motd'));
  fs.mkdirSync(line.path('/etc/motd/full'), { recursive: true });
  line.agent.resume('File/motd');
  await line.expect('File/motd', 'False', 'ENOTEMPTY');
  assert.equal(
    line.condition('File/motd', 'Ready')!.message,
    '/etc/motd: the directory is not empty (ENOTEMPTY)',
  );
});
