// The git source against real repositories: bare, working, remote, force-pushed, damaged, gone and back.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { readDirectory } from '../../controller/source/directory.ts';
import { gitEnvironment, withoutSecrets } from '../../controller/source/git.ts';
import { type HeadState, isRemote, type SourceOptions } from '../../controller/source/git-source.ts';
import { gitRepository } from '../support/git-repository.ts';
import { startGitServer } from '../support/git-server.ts';
import { followGit } from '../support/git-source.ts';

const scratch = mkdtempSync(join(tmpdir(), 'homeostat-source-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
let counter = 0;

const repository = () => gitRepository(join(scratch, `repo-${counter++}`));

const follow = (t: TestContext, options: Partial<SourceOptions> & { repo: string }) =>
  followGit(t, { stateDir: join(scratch, 'state'), ...options });

const isAt = (commit: string) => (state: HeadState) => 'head' in state && state.head.commit === commit;

test('a commit to a local repository is seen through its event, and only what is committed', async (t) => {
  const repo = repository();
  repo.write('a.yaml', 'a: 1\n');
  const first = repo.commit('first subject');
  const { source, states, next } = await follow(t, { repo: repo.path });
  assert.deepEqual(
    states.map((s) => 'head' in s && [s.head.commit, s.head.subject]),
    [[first, 'first subject']],
  );
  repo.write('a.yaml', 'dirty: true\n');
  repo.write('sub/b.txt', 'two\n');
  repo.git('add', 'sub');
  repo.git('commit', '-q', '-m', 'second');
  const second = repo.git('rev-parse', 'HEAD');
  await next(isAt(second));
  const snapshot = await source.snapshot(second);
  assert.deepEqual([...snapshot.files.keys()].sort(), ['a.yaml', 'sub/b.txt']);
  assert.equal((await snapshot.files.get('a.yaml')!.read()).toString(), 'a: 1\n');
  assert.equal(snapshot.files.get('sub/b.txt')!.size, 4);
  await snapshot.close();
});

test('a push to a bare repository of another user, a branch, a sub-directory, packed refs, a force push', async (t) => {
  const repo = repository();
  repo.write('fleet/a.yaml', 'a: 1\n');
  repo.commit();
  const bare = join(scratch, 'bare.git');
  execFileSync('git', ['clone', '-q', '--bare', repo.path, bare]);
  repo.git('remote', 'add', 'origin', bare);
  if (process.getuid?.() === 0) {
    execFileSync('chown', ['-R', '65534', bare]);
    repo.git('config', 'safe.directory', '*');
  }
  const push = (...args: string[]): void => {
    // Root pushes into it again, as its owner's hook would: git asks for the directory to be named safe.
    execFileSync('git', ['-C', repo.path, 'push', '-q', ...args], {
      env: { ...process.env, GIT_CONFIG_GLOBAL: safe },
    });
  };
  const safe = join(scratch, 'gitconfig');
  writeFileSync(safe, '[safe]\n\tdirectory = *\n');
  push('origin', 'main:prod');
  const { source, next } = await follow(t, { repo: bare, branch: 'prod', subdir: './fleet/' });
  repo.write('fleet/b.yaml', 'b: 1\n');
  const second = repo.commit();
  push('origin', 'main:prod');
  await next(isAt(second));
  const snapshot = await source.snapshot(second);
  assert.deepEqual([...snapshot.files.keys()], ['a.yaml', 'b.yaml']);
  await snapshot.close();
  execFileSync('git', [`--git-dir=${bare}`, 'pack-refs', '--all']);
  repo.git('reset', '-q', '--hard', 'HEAD~1');
  repo.write('fleet/c.yaml', 'c: 1\n');
  const other = repo.commit();
  push('--force', 'origin', 'main:prod');
  await next(isAt(other));
});

test('a remote repository is mirrored, and fetched when a hook says so', async (t) => {
  const repo = repository();
  repo.write('a.yaml', 'a: 1\n');
  const first = repo.commit();
  const server = await startGitServer(scratch);
  t.after(() => server.stop());
  const { source, states, next } = await follow(t, {
    repo: `${server.url}/${basename(repo.path)}/.git`,
    stateDir: join(scratch, 'mirror'),
  });
  assert.ok(isAt(first)(states[0]!));
  repo.write('a.yaml', 'a: 2\n');
  const second = repo.commit();
  await source.refresh();
  await next(isAt(second));
  repo.git('commit', '-q', '--amend', '-m', 'forced');
  const forced = repo.git('rev-parse', 'HEAD');
  await source.refresh();
  await next(isAt(forced));
  const snapshot = await source.snapshot(forced);
  assert.equal((await snapshot.files.get('a.yaml')!.read()).toString(), 'a: 2\n');
  await snapshot.close();
  renameSync(repo.path, `${repo.path}-away`);
  await source.refresh();
  assert.match(JSON.stringify(states.at(-1)), /git ls-remote failed: .* not found/);
  renameSync(`${repo.path}-away`, repo.path);
  await source.refresh();
  assert.ok(isAt(forced)(states.at(-1)!));
});

test('a repository that goes away and comes back is followed again, event by event', async (t) => {
  const repo = repository();
  repo.write('a.yaml', 'a: 1\n');
  const first = repo.commit();
  const { source, states, next } = await follow(t, { repo: repo.path });
  renameSync(repo.path, `${repo.path}-away`);
  await source.refresh();
  assert.match(JSON.stringify(states.at(-1)), /there is no repository at/);
  renameSync(`${repo.path}-away`, repo.path);
  await source.refresh();
  assert.ok(isAt(first)(states.at(-1)!));
  const second = repo.commit('again');
  await next(isAt(second));
});

test('what can not be followed is said in words', async (t) => {
  const repo = repository();
  const empty = await follow(t, { repo: repo.path });
  await empty.source.stop();
  assert.match(JSON.stringify(empty.states[0]), /has no commit yet: commit the manifests/);
  repo.write('a.yaml', 'x');
  const commit = repo.commit();
  for (const [options, words] of [
    [{ branch: 'mian' }, /has no branch mian: did you mean main\?/],
    [{ branch: '--upload-pack=x' }, /can't be the name of a branch/],
    [{ repo: join(scratch, 'nothing') }, /there is no repository at/],
    [{ repo: scratch }, /is not a git repository/],
    [{ repo: 'ext::sh -c true' }, /git ls-remote failed: transport 'ext' not allowed/],
    [{ repo: 'https://user:secret@127.0.0.1:1/x.git' }, /Failed to connect to 127\.0\.0\.1(?!.*secret)/],
  ] as const) {
    const { source, states } = await follow(t, { repo: repo.path, ...options });
    await source.stop();
    assert.match(JSON.stringify(states[0]), words);
  }
  const { source } = await follow(t, { repo: repo.path, subdir: 'fleet' });
  await assert.rejects(source.snapshot(commit), /has no folder fleet/);
});

test('links inside the tree are followed, those that lead out are refused, submodules are left alone', async (t) => {
  const repo = repository();
  repo.write('real.txt', 'real\n');
  symlinkSync('real.txt', join(repo.path, 'good.txt'));
  symlinkSync('/etc/passwd', join(repo.path, 'out.txt'));
  symlinkSync('../../etc/passwd', join(repo.path, 'up.txt'));
  symlinkSync('round.txt', join(repo.path, 'round.txt'));
  symlinkSync('gone.txt', join(repo.path, 'gone-link.txt'));
  const commit = repo.commit();
  const { source } = await follow(t, { repo: repo.path });
  const snapshot = await source.snapshot(commit);
  for (const { files } of [snapshot, readDirectory(repo.path)]) {
    assert.equal((await files.get('good.txt')!.read()).toString(), 'real\n');
    for (const name of ['out.txt', 'up.txt', 'round.txt', 'gone-link.txt'])
      assert.match(files.get(name)!.refused ?? '', /symbolic link/, name);
    assert.equal(
      [...files.keys()].some((path) => path.startsWith('.git/')),
      false,
    );
  }
  await snapshot.close();
  await assert.rejects(snapshot.files.get('real.txt')!.read(), /was closed/);
});

test('many reads at once, large and small, come back whole', async (t) => {
  const repo = repository();
  const texts = Array.from({ length: 500 }, (_, i) => 'x'.repeat(i * 97) + i);
  texts.forEach((text, i) => {
    repo.write(`f${i}.txt`, text);
  });
  repo.write('large.bin', 'y'.repeat(3_000_000));
  const commit = repo.commit();
  const { source } = await follow(t, { repo: repo.path });
  const snapshot = await source.snapshot(commit);
  const read = await Promise.all(texts.map((_, i) => snapshot.files.get(`f${i}.txt`)!.read()));
  assert.deepEqual(read.map(String), texts);
  assert.equal((await snapshot.files.get('large.bin')!.read()).length, 3_000_000);
  await snapshot.close();
});

test('what is a URL, what git may see, what is kept out of messages', () => {
  assert.deepEqual(
    ['https://x/y', 'file:///x', 'git@host:x/y.git', '/srv/x.git', './x', 'x', 'host:path'].map(isRemote),
    [true, true, true, false, false, false, true],
  );
  const around = { PATH: '/bin', GIT_DIR: '/evil', GIT_EXTERNAL_DIFF: 'x', HOME: '/root' };
  const names = ['PATH', 'GIT_DIR', 'GIT_EXTERNAL_DIFF', 'GIT_TERMINAL_PROMPT', 'HOME', 'GIT_CONFIG_GLOBAL'];
  const seen = (way: 'read' | 'contact') => names.map((name) => gitEnvironment(around, way)[name]);
  assert.deepEqual(seen('read'), ['/bin', undefined, undefined, '0', '/nonexistent', '/dev/null']);
  assert.deepEqual(seen('contact'), ['/bin', undefined, undefined, '0', '/root', undefined]);
  assert.equal(withoutSecrets('x https://u:p@h/y z'), 'x https://…@h/y z');
});
