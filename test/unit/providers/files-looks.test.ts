// What stands at a path, and where a path is: looks that a heal does again and again, each by the shortest way.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createFiles } from '../../../agent/providers/files.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

function sandbox(t: TestContext) {
  const root = fs.realpathSync(temporaryDirectory(t));
  const files = createFiles({ root });
  t.after(() => files.close());
  return { root, files, on: (p: string) => path.join(root, p) };
}

test('what is not there is absent, also where a directory on the way is missing or is none', (t) => {
  const { files, on } = sandbox(t);
  fs.writeFileSync(on('/file'), '');
  for (const p of ['/gone', '/no/such/directory', '/file/below', '/file/'])
    assert.deepEqual(files.read(p), { type: 'absent' }, p);
});

test('a link is a link, wherever it leads: to nothing, to itself, to a file', (t) => {
  const { files, on } = sandbox(t);
  fs.writeFileSync(on('/file'), 'x');
  for (const target of ['nothing', 'link', 'file', 'file/below']) {
    fs.rmSync(on('/link'), { force: true });
    fs.symlinkSync(target, on('/link'));
    assert.deepEqual(files.read('/link'), { type: 'symlink', target }, target);
  }
});

test('a path is at the same place however it is written, and each time it is asked for', (t) => {
  const { files, on } = sandbox(t);
  fs.mkdirSync(on('/a/b'), { recursive: true });
  fs.writeFileSync(on('/a/b/f'), 'x');
  for (let i = 0; i < 2; i++) {
    for (const p of ['/a/b/f', '/a//b/f', '/a/./b/f', '/a/x/../b/f'])
      assert.equal(files.hostPath!(p), on('/a/b/f'), p);
    assert.equal(files.read('/a/b/').type, 'directory');
    assert.throws(() => files.read('a/b/f'), /a\/b\/f is not an absolute path/);
    // Above the root there is nothing.
    assert.equal(files.hostPath!('/../../a'), on('/a'));
  }
});

test('a directory is the same with and without a slash at its end', (t) => {
  const { files, on } = sandbox(t);
  for (const p of ['/d/', '/e']) files.makeDirectory(p, { mode: 0o700 });
  assert.deepEqual(fs.readdirSync(on('/')).sort(), ['d', 'e']);
  files.setAttributes('/d/', { mode: 0o750 });
  assert.equal(fs.statSync(on('/d')).mode & 0o777, 0o750);
  for (const p of ['/d/', '/e']) files.remove(p);
  assert.deepEqual(fs.readdirSync(on('/')), []);
});

test('a directory that becomes a link after a write to it is judged again at the next', (t) => {
  const { files, on } = sandbox(t);
  const outside = temporaryDirectory(t);
  files.replaceAtomic('/d/f', Buffer.from('1'), { mode: 0o644 });
  fs.renameSync(on('/d'), on('/moved'));
  fs.symlinkSync(outside, on('/d'));
  assert.throws(() => files.replaceAtomic('/d/f', Buffer.from('2'), { mode: 0o644 }), {
    code: 'PathLeadsElsewhere',
  });
  assert.deepEqual(fs.readdirSync(outside), []);
  assert.deepEqual(fs.readdirSync(on('/moved')), ['f']);
});

test('a file that is flushed off the event loop comes into its place whole, and not before', async (t) => {
  const { files, on } = sandbox(t);
  fs.writeFileSync(on('/f'), 'old');
  const written = files.replaceFlushed('/f', Buffer.from('new'), { mode: 0o640 });
  assert.equal(fs.readFileSync(on('/f'), 'utf8'), 'old');
  await written;
  assert.equal(fs.readFileSync(on('/f'), 'utf8'), 'new');
  assert.equal(fs.statSync(on('/f')).mode & 0o777, 0o640);
  assert.deepEqual(fs.readdirSync(on('/')), ['f']);
});

test('many that are flushed at the same time are all there', async (t) => {
  const { files, on } = sandbox(t);
  const paths = Array.from({ length: 100 }, (_, i) => `/d/${i % 10}/f${i}`);
  await Promise.all(paths.map((p) => files.replaceFlushed(p, Buffer.from(p), { mode: 0o600 })));
  for (const p of paths) assert.equal(fs.readFileSync(on(p), 'utf8'), p);
  assert.deepEqual(fs.readdirSync(on('/d/0')).length, 10);
});

for (const [how, meanwhile] of Object.entries<(on: (p: string) => string) => void>({
  moved: (on) => fs.renameSync(on('/d'), on('/backup')),
  'moved, and another one is there': (on) => {
    fs.renameSync(on('/d'), on('/backup'));
    fs.mkdirSync(on('/d'));
  },
  'moved, and a link to it is there': (on) => {
    fs.renameSync(on('/d'), on('/backup'));
    fs.symlinkSync('backup', on('/d'));
  },
})) {
  test(`a directory that is ${how}, while a file in it is flushed, is left as it is`, async (t) => {
    const { files, on } = sandbox(t);
    fs.mkdirSync(on('/d'));
    fs.writeFileSync(on('/d/f'), 'old');
    const written = files.replaceFlushed('/d/f', Buffer.from('new'), { mode: 0o644 });
    meanwhile(on);
    await assert.rejects(written, { code: 'PathMoved' });
    assert.deepEqual(fs.readdirSync(on('/backup')), ['f']);
    assert.equal(fs.readFileSync(on('/backup/f'), 'utf8'), 'old');
  });
}

test('where a link leads out, nothing is flushed there either', async (t) => {
  const { files, on } = sandbox(t);
  const outside = temporaryDirectory(t);
  fs.symlinkSync(outside, on('/d'));
  const written = files.replaceFlushed('/d/f', Buffer.from('x'), { mode: 0o644 });
  await assert.rejects(written, { code: 'PathLeadsElsewhere' });
  assert.deepEqual(fs.readdirSync(outside), []);
});
