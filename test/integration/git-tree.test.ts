// What a commit's tree may hold: every entry has a limit that is checked before it is read, what stands for content is
// recognised, and a directory is read as the same files are when they are committed.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { formatDiagnostic } from '../../api/diagnostics.ts';
import { compile } from '../../controller/pipeline/compile.ts';
import { readDirectory } from '../../controller/source/directory.ts';
import type { Snapshot } from '../../controller/source/snapshot.ts';
import { kinds } from '../../kinds/index.ts';
import { commitEntry, gitRepository, type Repository } from '../support/git-repository.ts';
import { followGit } from '../support/git-source.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const HOST = 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {}\n';
const file = (name: string, from: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\nhosts: {all: true}\nspec: {path: /etc/${name}, contentFrom: ${from}}\n`;

function repository(t: TestContext): Repository {
  const repo = gitRepository(path.join(temporaryDirectory(t), 'repo'));
  repo.write('h.yaml', HOST);
  return repo;
}

async function committed(t: TestContext, repo: Repository, commit: string, subdir = ''): Promise<Snapshot> {
  const stateDir = path.join(repo.path, '..', 'state');
  const { source } = await followGit(t, { repo: repo.path, stateDir, subdir });
  const snapshot = await source.snapshot(commit);
  t.after(() => snapshot.close());
  return snapshot;
}

async function verdict(snapshot: Snapshot): Promise<string[]> {
  const { diagnostics, revision } = await compile(snapshot, kinds);
  const payload = revision?.hosts.get('pi')?.payloadText ?? '';
  return [...diagnostics.map(formatDiagnostic), revision === undefined ? 'refused' : payload];
}

test('a symbolic link of 64 MiB takes no memory, is refused, and nothing else is', async (t) => {
  const repo = repository(t);
  repo.commit();
  const commit = commitEntry(repo, '120000', 'link', Buffer.alloc(64 * 1024 * 1024, 'x'));
  const before = process.memoryUsage().rss;
  const snapshot = await committed(t, repo, commit);
  assert.match(snapshot.files.get('link')!.refused ?? '', /a symbolic link of 67108864 bytes/);
  assert.equal(String(await snapshot.files.get('h.yaml')!.read()), HOST);
  assert.ok(process.memoryUsage().rss - before < 48 * 1024 * 1024, 'it was not read');
});

test('a blob that is larger than its use allows is skipped without being kept, and the reads behind it go on', async (t) => {
  const repo = repository(t);
  repo.commit();
  const commit = commitEntry(repo, '100644', 'large', Buffer.alloc(40 * 1024 * 1024, 'x'));
  const snapshot = await committed(t, repo, commit);
  const [large, after] = await Promise.allSettled([
    snapshot.files.get('large')!.read(),
    snapshot.files.get('h.yaml')!.read(),
  ]);
  assert.match(
    String(large.status === 'rejected' && large.reason),
    /has 41943040 bytes, and at most 16777216 are read/,
  );
  assert.equal(after.status === 'fulfilled' && String(after.value), HOST);
});

test('paths that are too long or too deep, too many links and too many files are said, in both', async (t) => {
  const repo = repository(t);
  const deep = `${'d/'.repeat(40)}f.yaml`;
  const long = `${'l'.repeat(200)}/`.repeat(6) + 'f.yaml';
  repo.write(deep, HOST);
  repo.write(long, HOST);
  const commit = repo.commit();
  for (const { files } of [await committed(t, repo, commit), readDirectory(repo.path)]) {
    assert.match(files.get(deep)!.refused ?? '', /it is 40 folders deep, and at most 32 are read/);
    assert.match(files.get(long)!.refused ?? '', /its path has more than 1024 bytes/);
  }
  const many = repository(t);
  const oid = many.git('hash-object', '-w', path.join(many.path, 'h.yaml'));
  const tree = Array.from({ length: 100_001 }, (_, i) => `100644 blob ${oid}\tf${i}.txt\n`).join('');
  fs.writeFileSync(path.join(many.path, '..', 'tree'), tree);
  const { execFileSync } = await import('node:child_process');
  const made = execFileSync('git', ['mktree'], { cwd: many.path, input: tree, encoding: 'utf8' }).trim();
  const big = many.git('commit-tree', made, '-m', 'x');
  many.git('update-ref', 'refs/heads/main', big);
  await assert.rejects(
    committed(t, many, big),
    /has more than 100000 files: put the manifests into a folder/,
  );
});

test('a pointer of LFS in git, and the content that its filter puts into the work tree, are both refused', async (t) => {
  const repo = repository(t);
  repo.write('a.yaml', file('a', 'a.bin') + '---\n' + file('b', 'sub/b.txt') + '---\n' + file('c', 'c.txt'));
  repo.write('.gitattributes', '*.bin filter=lfs diff=lfs merge=lfs -text\nc.txt text eol=crlf\n');
  repo.write('sub/.gitattributes', 'b.txt filter=crypt\n');
  repo.write('sub/b.txt', 'text\n');
  repo.write('c.txt', 'one\r\ntwo\r\n');
  repo.write('a.bin', `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 7\n`);
  const commit = repo.commit();
  const inGit = await verdict(await committed(t, repo, commit));
  assert.match(inGit.join('\n'), /^a\.yaml:5:\d+: contentFrom names a\.bin, and it is a pointer of git LFS/);
  // As git lfs would have it: the content, in place of the pointer.
  repo.write('a.bin', 'content');
  const inDirectory = await verdict(readDirectory(repo.path));
  assert.match(inDirectory[0]!, /^a\.yaml:5:\d+: contentFrom names a\.bin, and git LFS keeps its content/);
  assert.match(
    inDirectory[1]!,
    /^a\.yaml:11:\d+: contentFrom names sub\/b\.txt, and the filter crypt changes/,
  );
  repo.write('.gitattributes', 'c.txt text eol=crlf\n');
  repo.write('sub/.gitattributes', '');
  const last = repo.commit();
  const both = [await verdict(await committed(t, repo, last)), await verdict(readDirectory(repo.path))];
  assert.deepEqual(both[0], both[1]);
  assert.match(both[1]![0]!, /"content":"one\\ntwo\\n"/, 'line ends as git keeps them');
});

test('links, submodules, nested repositories and node_modules are the same in a directory as in its commit', async (t) => {
  const repo = repository(t);
  const inner = gitRepository(path.join(repo.path, '..', 'inner'));
  inner.write('x.txt', 'x\n');
  inner.commit();
  repo.write('real/file.txt', 'real\n');
  const link = (at: string, to: string): void => {
    fs.mkdirSync(path.dirname(path.join(repo.path, at)), { recursive: true });
    fs.symlinkSync(to, path.join(repo.path, at));
  };
  link('folder', 'real');
  link('through', 'folder/file.txt');
  link('absolute', path.join(repo.path, 'real/file.txt'));
  link('up', '../repo/real/file.txt');
  link('around', 'real/../real/./file.txt');
  link('into', 'sub/x.txt');
  link('dotgit', '.git/config');
  link('modules', 'node_modules/m/f.yaml');
  link('round', 'round');
  link('nested/deeper', '../through');
  repo.write('node_modules/m/f.yaml', '- not a manifest\n');
  repo.write(
    'a.yaml',
    [
      'sub/x.txt',
      'into',
      'through',
      'nested/deeper',
      'folder/file.txt',
      'absolute',
      'up',
      'around',
      'dotgit',
      'modules',
      'round',
    ]
      .map((from, i) => file(`f${i}`, from))
      .join('---\n'),
  );
  repo.git('-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', inner.path, 'sub');
  repo.git('add', '-A', '-f');
  const commit = repo.commit();
  const inGit = await verdict(await committed(t, repo, commit));
  assert.deepEqual(inGit, await verdict(readDirectory(repo.path)));
  const text = inGit.join('\n');
  assert.match(
    text,
    /names sub\/x\.txt, which is in the git submodule sub, and of submodules nothing is read/,
  );
  assert.match(text, /^sub: warning: this is a git submodule/m);
  for (const [name, why] of [
    ['absolute', 'leads out'],
    ['up', 'leads out'],
    ['dotgit', 'no such file'],
    ['modules', 'no such file'],
    ['into', 'no such file'],
    ['round', 'in a circle'],
  ])
    assert.match(text, new RegExp(`names ${name}, and it is a symbolic link .*${why}`));
  assert.doesNotMatch(text, /names (?:through|around|nested\/deeper),/);
});
