// git runs nothing that a repository's own configuration names, whatever the repository is and whoever owns it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { gitRepository, type Repository } from '../support/git-repository.ts';
import { startGitServer } from '../support/git-server.ts';
import { type Followed, followGit, newest } from '../support/git-source.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

/** A program that leaves a trace. */
function trap(folder: string): { readonly file: string; readonly sprung: () => string } {
  const file = path.join(folder, 'trap.sh');
  const trace = path.join(folder, 'sprung');
  fs.writeFileSync(file, `#!/bin/sh\necho "$0 $*" >> ${trace}\nexit 1\n`, { mode: 0o755 });
  return { file, sprung: () => (fs.existsSync(trace) ? fs.readFileSync(trace, 'utf8') : '') };
}

/** Everything that git is known to run or to reach out to from a repository's configuration. */
function hostile(trapFile: string): [name: string, value: string][] {
  return [
    ['core.repositoryFormatVersion', '1'],
    ['extensions.partialClone', 'origin'],
    ['remote.origin.url', '/'],
    ['remote.origin.promisor', 'true'],
    ['remote.origin.uploadpack', trapFile],
    ['core.sshCommand', trapFile],
    ['core.fsmonitor', trapFile],
    ['core.hooksPath', path.dirname(trapFile)],
    ['core.gitProxy', trapFile],
    ['core.askPass', trapFile],
    ['core.pager', trapFile],
    ['core.editor', trapFile],
    ['core.alternateRefsCommand', trapFile],
    ['credential.helper', `!${trapFile}`],
    ['gpg.program', trapFile],
    ['log.showSignature', 'true'],
    ['diff.external', trapFile],
    ['diff.trap.textconv', trapFile],
    ['filter.trap.smudge', trapFile],
    ['filter.trap.process', trapFile],
    ['uploadpack.packObjectsHook', trapFile],
    ['protocol.ext.allow', 'always'],
    ['url.ext::sh -c .insteadOf', 'https://'],
    ['alias.ls-tree', `!${trapFile}`],
    ['trace2.eventTarget', '/tmp/never'],
  ];
}

function arm(repo: Repository, gitDir: string, trapFile: string): void {
  for (const [name, value] of hostile(trapFile)) {
    execFileSync('git', ['config', '--file', path.join(gitDir, 'config'), '--add', name, value]);
  }
  for (const hook of ['reference-transaction', 'post-index-change', 'post-checkout', 'pre-auto-gc']) {
    fs.mkdirSync(path.join(gitDir, 'hooks'), { recursive: true });
    fs.copyFileSync(trapFile, path.join(gitDir, 'hooks', hook));
  }
  fs.writeFileSync(path.join(repo.path, '.gitattributes'), '*.txt filter=trap diff=trap\n');
}

async function everything(followed: Followed, commit: string): Promise<string[]> {
  const snapshot = await followed.source.snapshot(commit);
  const outcomes: string[] = [];
  for (const [name, file] of snapshot.files) {
    const outcome = await file.read().then(String, (error: Error) => error.message);
    outcomes.push(`${name}: ${file.refused ?? outcome}`);
  }
  await snapshot.close();
  return outcomes;
}

function made(t: TestContext) {
  const folder = temporaryDirectory(t);
  const { file, sprung } = trap(folder);
  const repo = gitRepository(path.join(folder, 'repo'));
  repo.write('.gitattributes', '*.txt filter=trap diff=trap\n');
  repo.write('a.txt', 'a\n');
  repo.write('b.txt', 'b\n');
  const commit = repo.commit();
  const missing = repo.git('rev-parse', 'HEAD:b.txt');
  return { folder, file, sprung, repo, commit, missing };
}

test('a work tree, a bare repository, a linked worktree and a file: URL: their configuration runs nothing', async (t) => {
  const { folder, file, sprung, repo, commit, missing } = made(t);
  const bare = path.join(folder, 'bare.git');
  execFileSync('git', ['clone', '-q', '--bare', repo.path, bare]);
  repo.git('worktree', 'add', '-q', '-b', 'other', path.join(folder, 'linked'));
  arm(repo, path.join(repo.path, '.git'), file);
  arm(repo, bare, file);
  // Not even a configuration that git can't read is in the way, nor one that would show another file.
  execFileSync('git', ['config', '--file', path.join(bare, 'config'), 'include.path', '/etc/passwd']);
  // A missing object is what git would fetch from the promisor.
  fs.rmSync(repo.objectFile(missing));
  for (const where of [repo.path, bare, path.join(folder, 'linked'), `file://${repo.path}`]) {
    const followed = await followGit(t, { repo: where, stateDir: path.join(folder, 'state') });
    assert.equal(newest(followed), commit, where);
    const outcomes = await everything(followed, commit);
    assert.match(outcomes.join('\n'), /a\.txt: a\n/);
    if (where !== bare)
      assert.match(outcomes.join('\n'), /b\.txt: git lacks its content: is the repository a partial/);
    await followed.source.refresh();
    await followed.source.stop();
  }
  assert.equal(sprung(), '');
});

test('the trap does spring when git reads the repository’s own configuration', (t) => {
  const { file, sprung, repo, missing } = made(t);
  arm(repo, path.join(repo.path, '.git'), file);
  fs.rmSync(repo.objectFile(missing));
  assert.throws(() =>
    execFileSync('git', [`--git-dir=${repo.path}/.git`, 'cat-file', 'blob', missing], { stdio: 'ignore' }),
  );
  assert.match(sprung(), /trap\.sh/);
});

test('what stands in the mirror’s directory runs nothing either, and a server can’t lead to another protocol', async (t) => {
  const { folder, file, sprung, repo, commit } = made(t);
  const server = await startGitServer(folder);
  t.after(() => server.stop());
  const stateDir = path.join(folder, 'state');
  const where = { repo: `${server.url}/repo/.git`, stateDir };
  const first = await followGit(t, where);
  assert.equal(newest(first), commit);
  await first.source.stop();
  const mirror = path.join(stateDir, fs.readdirSync(stateDir).find((name) => name.startsWith('mirror-'))!);
  arm(repo, mirror, file);
  repo.write('c.txt', 'c\n');
  const next = repo.commit();
  const second = await followGit(t, where);
  assert.equal(newest(second), next);
  await everything(second, next);
  assert.equal(sprung(), '');
  for (const url of ['ext::sh -c true', `ext::${file} %S`, 'fd::17', '--upload-pack=x:y']) {
    const followed = await followGit(t, { repo: url, stateDir });
    assert.match(newest(followed), /not allowed|failed/);
  }
  assert.equal(sprung(), '');
});

test('the repository of another user, one with alternates, a shallow clone, and one of SHA-256 can be read', async (t) => {
  const { folder, repo, commit } = made(t);
  const stateDir = path.join(folder, 'state');
  const borrowing = path.join(folder, 'borrowing');
  execFileSync('git', ['clone', '-q', '--shared', '--no-checkout', repo.path, borrowing]);
  const shallow = path.join(folder, 'shallow');
  repo.commit('second');
  const second = repo.git('rev-parse', 'HEAD');
  execFileSync('git', ['clone', '-q', '--depth=1', '--no-checkout', `file://${repo.path}`, shallow]);
  const other = gitRepository(path.join(folder, 'sha256'), '--object-format=sha256');
  other.write('a.txt', 'a\n');
  const long = other.commit();
  if (process.getuid?.() === 0) execFileSync('chown', ['-R', '65534', borrowing]);
  for (const [where, expected] of [
    [borrowing, commit],
    [shallow, second],
    [other.path, long],
  ] as const) {
    const followed = await followGit(t, { repo: where, stateDir });
    assert.equal(newest(followed), expected, where);
    assert.match((await everything(followed, expected)).join('\n'), /a\.txt: a\n/);
  }
  const server = await startGitServer(folder);
  t.after(() => server.stop());
  const remote = await followGit(t, { repo: `${server.url}/sha256/.git`, stateDir });
  assert.equal(newest(remote), long);
});

test('a detached HEAD, and a branch that is checked out in a linked worktree, are followed', async (t) => {
  const { folder, repo, commit } = made(t);
  const stateDir = path.join(folder, 'state');
  const linked = path.join(folder, 'linked');
  repo.git('worktree', 'add', '-q', '-b', 'other', linked);
  const followed = await followGit(t, { repo: linked, stateDir });
  execFileSync(
    'git',
    ['-c', 'user.name=T', '-c', 'user.email=t@e', 'commit', '-q', '--allow-empty', '-m', 'x'],
    {
      cwd: linked,
    },
  );
  const next = execFileSync('git', ['-C', linked, 'rev-parse', 'HEAD'], { encoding: 'utf8' }).trim();
  await followed.next((state) => 'head' in state && state.head.commit === next);
  repo.git('checkout', '-q', '--detach', commit);
  assert.equal(newest(await followGit(t, { repo: repo.path, stateDir })), commit);
});
