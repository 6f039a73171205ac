// Everything that git does for the controller comes to an end: by itself, at its deadline, or when the controller stops.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { runBounded } from '../../controller/source/bounded-process.ts';
import { DownloadStore } from '../../controller/source/downloads.ts';
import { GitSource } from '../../controller/source/git-source.ts';
import { eventually } from '../support/eventually.ts';
import { blockFile, gitRepository } from '../support/git-repository.ts';
import { startGitServer } from '../support/git-server.ts';
import { followGit, newest } from '../support/git-source.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const env = { PATH: process.env['PATH'] ?? '' };
const sh = (script: string) => ({ file: 'sh', args: ['-c', script], env });
const bounds = { timeoutMs: 60_000, maxBytes: 1000 };

test('a program that started another one, which keeps its pipes open, has ended when it has ended', async () => {
  const { cause, code, stdout } = await runBounded(sh('sleep 1000 & echo $!'), bounds);
  const pid = Number(stdout.toString());
  process.kill(pid, 'SIGKILL');
  assert.deepEqual([cause, code], ['ended', 0]);
});

test('a program that is late, silent, says too much or is aborted is ended, and all that it started with it', async (t) => {
  const file = path.join(temporaryDirectory(t), 'pids');
  const deaf = `trap "" TERM; sleep 1000 & echo $! $$ > ${file}; wait; sleep 1000`;
  const abort = new AbortController();
  const cases = [
    ['late', sh(deaf), { ...bounds, timeoutMs: 300 }],
    ['quiet', sh('echo a; sleep 1000'), { ...bounds, quietMs: 300 }],
    ['too much', sh('yes'), bounds],
    ['aborted', sh('sleep 1000'), { ...bounds, signal: abort.signal }],
    ['not found', { file: 'no-such-program', args: [], env }, bounds],
  ] as const;
  setImmediate(() => abort.abort());
  const results = await Promise.all(cases.map(([, program, limits]) => runBounded(program, limits)));
  assert.deepEqual(
    results.map(({ cause }) => cause),
    cases.map(([cause]) => cause),
  );
  for (const pid of fs.readFileSync(file, 'utf8').split(/\s+/).filter(Boolean)) {
    await eventually(() => assert.throws(() => process.kill(Number(pid), 0), /ESRCH/));
  }
  assert.equal((await runBounded(sh('true'), { ...bounds, signal: abort.signal })).cause, 'aborted');
});

test('an object that can’t be read in time is an error that names it, and the next commit is read', async (t) => {
  const folder = temporaryDirectory(t);
  const repo = gitRepository(path.join(folder, 'repo'));
  repo.write('a.yaml', 'a: 1\n');
  repo.write('b.yaml', 'b: 1\n');
  const commit = repo.commit();
  const oid = repo.git('rev-parse', 'HEAD:a.yaml');
  const followed = await followGit(t, { repo: repo.path, stateDir: folder, answerMs: 500 });
  // Its size is known: only the content is out of reach. A pack has the size, and the loose object comes first.
  const snapshot = await followed.source.snapshot(commit);
  blockFile(repo.objectFile(oid));
  const read = snapshot.files.get('a.yaml')!.read();
  await assert.rejects(read, new RegExp(`git did not read object ${oid} within 0.5 s`));
  assert.equal(String(await snapshot.files.get('b.yaml')!.read()), 'b: 1\n', 'the others can still be read');
  await snapshot.close();
  fs.rmSync(repo.objectFile(oid));
});

test('a source that is stopped ends what git does, whatever it waits for', async (t) => {
  const folder = temporaryDirectory(t);
  const repo = gitRepository(path.join(folder, 'repo'));
  repo.write('a.yaml', 'a: 1\n');
  const commit = repo.commit();
  const oid = repo.git('rev-parse', 'HEAD:a.yaml');
  const followed = await followGit(t, { repo: repo.path, stateDir: folder });
  const snapshot = await followed.source.snapshot(commit);
  blockFile(repo.objectFile(oid));
  const read = assert.rejects(snapshot.files.get('a.yaml')!.read(), /the controller stops/);
  await followed.source.stop();
  await read;

  // Looking at branches that can't be opened, and at a server that does not answer.
  blockFile(path.join(repo.path, '.git/packed-refs'));
  const server = await startGitServer(folder);
  t.after(() => server.stop());
  server.mood = 'hangs';
  for (const where of [repo.path, `${server.url}/repo/.git`]) {
    const options = { repo: where, stateDir: path.join(folder, 'other'), pollMs: 60_000 };
    const source = new GitSource(options, { clock: systemClock, environment: process.env });
    const started = source.start(() => assert.fail('nothing can be known'));
    if (where !== repo.path) await eventually(() => assert.ok(server.requests.length > 0));
    await source.stop();
    await started;
  }
});

test('a repository whose HEAD, .git, branch or configuration is a pipe is reported, and stops nothing', async (t) => {
  const folder = temporaryDirectory(t);
  for (const file of ['.git/HEAD', '.git/config', '.git/refs/heads/main']) {
    const repo = gitRepository(path.join(folder, file.replaceAll('/', '-')));
    repo.commit();
    blockFile(path.join(repo.path, file));
    const followed = await followGit(t, { repo: repo.path, stateDir: folder });
    assert.match(newest(followed), /is not (?:a file|what git writes there): is the repository damaged\?/);
  }
  const linked = path.join(folder, 'linked');
  fs.mkdirSync(linked);
  blockFile(path.join(linked, '.git'));
  assert.match(newest(await followGit(t, { repo: linked, stateDir: folder })), /is the repository damaged\?/);
});

test('a download is tried again when its fault may pass, not when it can’t, and is cut off by the stop', async (t) => {
  const http = await import('node:http');
  const answers = [503, 200];
  let asked = 0;
  const server = http.createServer((request, response) => {
    asked += 1;
    if (request.url === '/hangs') return;
    response.writeHead(request.url === '/gone' ? 404 : answers[asked - 1]!).end('text\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => void server.close().closeAllConnections());
  const { port } = server.address() as import('node:net').AddressInfo;
  const abort = new AbortController();
  const store = new DownloadStore({ directory: temporaryDirectory(t), retryMs: 1, signal: abort.signal });
  const get = (path_: string) => store.get({ url: `http://127.0.0.1:${port}${path_}`, sha256: SHA });
  assert.deepEqual(await get('/passes'), { text: 'text\n' });
  assert.equal(asked, 2);
  const other = { url: `http://127.0.0.1:${port}/gone`, sha256: '0'.repeat(64) };
  assert.match(JSON.stringify(await store.get(other)), /it answers 404/);
  assert.equal(asked, 3, 'a 404 is an answer');
  const hanging = store.get({ url: `http://127.0.0.1:${port}/hangs`, sha256: '1'.repeat(64) });
  await eventually(() => assert.equal(asked, 4));
  abort.abort();
  assert.match(JSON.stringify(await hanging), /can't be fetched/);
});

const SHA = 'b9e68e1bea3e5b19ca6b2f98b73a54b73daafaa250484902e09982e07a12e733';
