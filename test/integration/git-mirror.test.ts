// The mirror of a repository elsewhere is a cache: shallow, made anew when it is damaged in whatever way, and never
// the reason why a commit is not seen.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { FakeClock } from '../support/clock.ts';
import { gitRepository } from '../support/git-repository.ts';
import { startGitServer } from '../support/git-server.ts';
import { type Followed, followGit, newest } from '../support/git-source.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

async function served(t: TestContext) {
  const folder = temporaryDirectory(t);
  const stateDir = path.join(folder, 'state');
  const repo = gitRepository(path.join(folder, 'repo'));
  for (let i = 0; i < 3; i++) {
    repo.write('a.yaml', `a: ${i}\n`);
    repo.commit();
  }
  const server = await startGitServer(folder);
  t.after(() => server.stop());
  const clock = new FakeClock();
  const followed = await followGit(t, { repo: `${server.url}/repo/.git`, stateDir }, clock);
  const mirror = (): string =>
    path.join(stateDir, fs.readdirSync(stateDir).find((name) => name.startsWith('mirror-'))!);
  return { folder, stateDir, repo, server, clock, followed, mirror };
}

const objectsIn = (gitDir: string): string =>
  execFileSync('git', [`--git-dir=${gitDir}`, 'rev-list', '--count', 'refs/homeostat/head'], {
    encoding: 'utf8',
  }).trim();

async function reads(followed: Followed, commit: string): Promise<string> {
  const snapshot = await followed.source.snapshot(commit);
  try {
    return String(await snapshot.files.get('a.yaml')!.read());
  } finally {
    await snapshot.close();
  }
}

test('of the history only the newest commit is fetched, and nothing when there is nothing new', async (t) => {
  const { repo, server, followed, mirror } = await served(t);
  assert.equal(newest(followed), repo.git('rev-parse', 'HEAD'));
  assert.equal(objectsIn(mirror()), '1');
  server.requests.length = 0;
  await followed.source.refresh();
  assert.ok(server.requests.length <= 2, `it only asks: ${server.requests.join(' ')}`);
  repo.write('a.yaml', 'a: new\n');
  const next = repo.commit();
  await followed.source.refresh();
  assert.equal(await reads(followed, next), 'a: new\n');
  assert.equal(objectsIn(mirror()), '1');
});

test('a server of plain files, which has no shallow answers, gives the whole history', async (t) => {
  const { folder, repo, server } = await served(t);
  repo.git('update-server-info');
  server.mood = 'plain files';
  const followed = await followGit(t, {
    repo: `${server.url}/repo/.git`,
    stateDir: path.join(folder, 'plain'),
  });
  assert.equal(newest(followed), repo.git('rev-parse', 'HEAD'));
  assert.equal(await reads(followed, newest(followed)), 'a: 2\n');
});

test('a fault of the server that passes is waited for, and one that does not is reported', async (t) => {
  const { folder, repo, server } = await served(t);
  server.failures = 2;
  const patient = await followGit(t, {
    repo: `${server.url}/repo/.git`,
    stateDir: path.join(folder, 'patient'),
  });
  assert.equal(newest(patient), repo.git('rev-parse', 'HEAD'));
  server.requests.length = 0;
  const gone = await followGit(t, { repo: `${server.url}/gone/.git`, stateDir: path.join(folder, 'gone') });
  assert.match(newest(gone), /git ls-remote failed: .*not found/);
  assert.equal(server.requests.length, 1, 'another try would be answered in the same way');
});

const files = (gitDir: string, pattern: RegExp): string[] =>
  fs
    .readdirSync(gitDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => path.join(gitDir, name))
    .filter((file) => fs.statSync(file).isFile());

const overwrite = (file: string, text: string): void => {
  fs.chmodSync(file, 0o600);
  fs.writeFileSync(file, text);
};

/** Each leaves the mirror in a state that git alone does not get out of, or might not. */
const DAMAGE: [name: string, damage: (gitDir: string) => void][] = [
  ['a lock of HEAD that was left', (d) => fs.writeFileSync(path.join(d, 'HEAD.lock'), '')],
  ['a lock of the branch', (d) => fs.writeFileSync(path.join(d, 'refs/homeostat/head.lock'), '')],
  ['a lock of shallow', (d) => fs.writeFileSync(path.join(d, 'shallow.lock'), '')],
  ['a branch that was cut off', (d) => overwrite(path.join(d, 'refs/homeostat/head'), 'abc')],
  ['a branch of zeros', (d) => overwrite(path.join(d, 'refs/homeostat/head'), '\0'.repeat(41))],
  [
    'a branch that leads to nothing',
    (d) => overwrite(path.join(d, 'refs/homeostat/head'), `${'1'.repeat(40)}\n`),
  ],
  [
    'a directory where the branch is',
    (d) => {
      fs.rmSync(path.join(d, 'refs/homeostat/head'));
      fs.mkdirSync(path.join(d, 'refs/homeostat/head/x'), { recursive: true });
      fs.writeFileSync(path.join(d, 'refs/homeostat/head/x/y'), 'x');
    },
  ],
  [
    'objects that were cut off',
    (d) => {
      for (const file of files(d, /^objects\/[0-9a-f]{2}\//)) overwrite(file, 'x');
      for (const file of files(d, /^objects\/pack\/.*\.pack$/))
        overwrite(file, fs.readFileSync(file, 'latin1').slice(0, 20));
    },
  ],
  ['no objects', (d) => fs.rmSync(path.join(d, 'objects'), { recursive: true })],
  ['no HEAD', (d) => fs.rmSync(path.join(d, 'HEAD'))],
  ['a configuration that can’t be read', (d) => fs.writeFileSync(path.join(d, 'config'), '[core\0')],
  ['a shallow file of rubbish', (d) => fs.writeFileSync(path.join(d, 'shallow'), 'rubbish\n')],
  ['no directory', (d) => fs.rmSync(d, { recursive: true })],
  [
    'an empty directory',
    (d) => {
      fs.rmSync(d, { recursive: true });
      fs.mkdirSync(d);
    },
  ],
];

for (const [name, damage] of DAMAGE) {
  test(`the next commit is read from a mirror with ${name}, in the run that damaged it and after a restart`, async (t) => {
    const { stateDir, repo, server, clock, followed, mirror } = await served(t);
    damage(mirror());
    repo.write('a.yaml', 'a: next\n');
    const next = repo.commit();
    await followed.source.refresh();
    assert.equal(newest(followed), next);
    assert.equal(await reads(followed, next), 'a: next\n');
    await followed.source.stop();
    damage(mirror());
    const again = await followGit(t, { repo: `${server.url}/repo/.git`, stateDir }, clock);
    assert.equal(newest(again), next);
    assert.equal(await reads(again, next), 'a: next\n');
    assert.deepEqual(
      fs.readdirSync(stateDir).filter((file) => file.endsWith('.new')),
      [],
    );
  });
}

test('a blob that can’t be read has the mirror made anew, no faster than its backoff, and reported meanwhile', async (t) => {
  const { repo, clock, followed, mirror } = await served(t);
  const commit = newest(followed);
  const breakBlob = (): void => {
    const oid = repo.git('rev-parse', 'HEAD:a.yaml');
    for (const file of files(mirror(), new RegExp(`^objects/${oid.slice(0, 2)}/${oid.slice(2)}$`)))
      overwrite(file, 'x');
  };
  breakBlob();
  await assert.rejects(reads(followed, commit), /is the repository damaged\?/);
  assert.equal(await reads(followed, commit), 'a: 2\n', 'the next try has it');
  breakBlob();
  await assert.rejects(reads(followed, commit), /is the repository damaged\?/);
  await assert.rejects(reads(followed, commit));
  assert.match(newest(followed), /the mirror of http.* is damaged \(.*\): it is fetched anew in 60 s/);
  await clock.advance(60_000);
  await followed.source.refresh();
  assert.equal(newest(followed), commit);
  assert.equal(await reads(followed, commit), 'a: 2\n');
});

test('a mirror that is damaged while the server is away is kept, and made anew when it is back', async (t) => {
  const { repo, server, followed, mirror } = await served(t);
  fs.rmSync(path.join(mirror(), 'objects'), { recursive: true });
  repo.write('a.yaml', 'a: next\n');
  const next = repo.commit();
  server.mood = 'fails';
  await followed.source.refresh();
  assert.match(newest(followed), /git ls-remote failed/);
  server.mood = 'well';
  await followed.source.refresh();
  assert.equal(newest(followed), next);
});
