// Where paths lead on this machine, and what its kernel shows of mounts and sockets.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { createMounts } from '../../../agent/providers/mounts.ts';
import { parseTable, placeOf } from '../../../kinds/shared/mount-table.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

test('every link is followed, to what does not exist as well', (t) => {
  const directory = temporaryDirectory(t);
  const at = (name: string) => path.join(directory, name);
  const mounts = createMounts();
  fs.mkdirSync(at('real/deep'), { recursive: true });
  fs.writeFileSync(at('real/file'), '');
  fs.symlinkSync('real', at('link'));
  fs.symlinkSync(at('link/deep'), at('absolute'));
  fs.symlinkSync('link/none', at('dangling'));
  fs.symlinkSync('loop', at('loop'));
  const leads = (name: string) => mounts.resolve(at(name)).path.slice(directory.length);
  assert.equal(leads('link/file'), '/real/file');
  assert.equal(leads('absolute'), '/real/deep');
  assert.equal(leads('absolute/new/er'), '/real/deep/new/er');
  assert.equal(leads('dangling'), '/real/none');
  assert.equal(leads('real/file/x'), '/real/file/x', 'below what is no directory');
  assert.throws(() => mounts.resolve(at('loop')), /too many links/);
  assert.deepEqual(
    ['link', 'link/file', 'dangling'].map((name) => mounts.resolve(at(name)).type),
    ['directory', 'file', 'absent'],
  );
  fs.linkSync(at('real/file'), at('second'));
  assert.equal(mounts.resolve(at('second')).links, 2);
  assert.throws(() => mounts.resolve('relative'), /no|not an absolute path/);
});

test('what leads out of a sandbox is no path of it', (t) => {
  const root = temporaryDirectory(t);
  fs.mkdirSync(path.join(root, 'srv'));
  fs.symlinkSync('/etc', path.join(root, 'srv/out'));
  fs.symlinkSync('../srv', path.join(root, 'srv/in'));
  const mounts = createMounts({ root });
  assert.equal(mounts.resolve('/srv/in').path, '/srv');
  assert.equal(mounts.resolve('/srv/in').hostPath, path.join(root, 'srv'));
  assert.deepEqual(mounts.resolve('/srv/out').path, `outside ${root}: /etc`);
  assert.equal(mounts.resolve('/srv/out').hostPath, '/etc');
  assert.equal(
    mounts.resolve(mounts.nameOf('/etc/none')).hostPath,
    '/etc/none',
    'what is named can be asked for',
  );
  assert.equal(mounts.nameOf(root), '/');
  assert.equal(mounts.nameOf(`${root}-other`), `outside ${root}: ${root}-other`);
});

test('a socket is found in a directory, whatever its name', async (t) => {
  const directory = temporaryDirectory(t);
  const [deep, socket] = ['a/b', 'a/b/any name'].map((name) => path.join(directory, name)) as [
    string,
    string,
  ];
  fs.mkdirSync(deep, { recursive: true });
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.after(() => server.close());
  const { socketsIn } = createMounts();
  assert.deepEqual(socketsIn(directory), [socket]);
  assert.deepEqual(socketsIn(socket), [socket]);
  assert.deepEqual(socketsIn(path.join(directory, 'none')), []);
});

test('the table of this host names what is there; that of a process needs its container’s ID', () => {
  const mounts = createMounts();
  assert.notEqual(placeOf(parseTable(mounts.table()), '/'), undefined);
  assert.equal(mounts.tableOf('0'.repeat(64), process.pid), undefined);
});
