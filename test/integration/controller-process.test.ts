// The controller as a process against real git: from commit to bundle, killed at any moment, without its store,
// without its repository.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import {
  keyIdOf,
  openEnvelope,
  openPayload,
  privateKeyOf,
  rawPublicKey,
  SignedBundle,
} from '../../api/bundle.ts';
import { signRequest } from '../../api/signatures.ts';
import type { FleetView } from '../../controller/fleet/view.ts';
import { parseListen } from '../../controller/main.ts';
import { PROGRAM } from '../support/program.ts';

const scratch = mkdtempSync(join(tmpdir(), 'homeostat-process-'));
const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true, force: true });
});

const HOST = 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {mode: enforce}\n---\n';
const motd = (text: string): string =>
  `${HOST}apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: motd}\nhosts: {all: true}\nspec: {path: /etc/motd, content: ${text}}\n`;

function sandbox(name: string) {
  const folder = join(scratch, name);
  const repo = join(folder, 'repo');
  mkdirSync(repo, { recursive: true });
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=T', '-c', 'user.email=t@example.com', ...args], {
      cwd: repo,
      encoding: 'utf8',
    }).trim();
  git('init', '-q', '-b', 'main');
  const commit = (text: string): string => {
    writeFileSync(join(repo, 'a.yaml'), text);
    git('add', '-A');
    git('commit', '-q', '--allow-empty', '-m', 'change');
    return git('rev-parse', 'HEAD');
  };
  return { folder, repo, git, commit, state: join(folder, 'state') };
}
type Sandbox = ReturnType<typeof sandbox>;

/** The PROGRAM as a process; its log can be waited for line by line. */
async function start(box: Sandbox, ...more: string[]) {
  const child = spawn(
    process.execPath,
    [
      PROGRAM,
      'controller',
      '--repo',
      box.repo,
      '--state',
      box.state,
      '--listen',
      '127.0.0.1:0',
      '--open-reads',
      ...more,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  running.add(child);
  const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const lines: Record<string, unknown>[] = [];
  let wake = (): void => {};
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
    wake();
  });
  const logged = async (
    msg: string,
    where: Record<string, unknown> = {},
  ): Promise<Record<string, unknown>> => {
    for (;;) {
      const found = lines.find(
        (l) => l['msg'] === msg && Object.entries(where).every(([k, v]) => l[k] === v),
      );
      if (found) return found;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const { url } = (await logged('controller started')) as { url: string };
  return { child, url, logged, ended, lines };
}

const run = (...args: string[]): string =>
  execFileSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

async function pull(url: string, keyFile: string) {
  const privateKey = privateKeyOf(readFileSync(keyFile, 'utf8').trim());
  const path = '/v1/hosts/pi/bundle';
  const keyId = keyIdOf(rawPublicKey(privateKey));
  const headers = signRequest({
    method: 'GET',
    url: path,
    privateKey,
    keyId,
    createdSeconds: Math.floor(Date.now() / 1000),
  });
  const response = await fetch(url + path, { headers });
  return { status: response.status, body: (await response.json()) as unknown };
}

test('a commit reaches an enrolled host, and survives a kill, a lost repository and a lost store', {
  timeout: 240_000,
}, async () => {
  const box = sandbox('whole');
  const first = box.commit(motd('one'));
  let controller = await start(box);
  await controller.logged('revision published', { commit: first });
  const token = run('token', 'create', '--host', 'pi', '--state', box.state).trim();
  const config = join(box.folder, 'agent.json');
  run(
    'enroll',
    '--controller',
    controller.url,
    '--token',
    token,
    '--host',
    'pi',
    '--config',
    config,
    '--state',
    join(box.folder, 'agent'),
  );
  const { trustedKeys } = JSON.parse(readFileSync(config, 'utf8')) as { trustedKeys: string[] };
  const keyFile = join(box.folder, 'agent', 'agent.key');
  assert.equal(statSync(keyFile).mode & 0o777, 0o600);
  assert.equal(statSync(join(box.state, 'controller.key')).mode & 0o777, 0o600);
  const serves = async () => {
    const { status, body } = await pull(controller.url, keyFile);
    assert.equal(status, 200, JSON.stringify(body));
    const bundle = SignedBundle.parse(body);
    const envelope = openEnvelope(bundle, 'pi', trustedKeys);
    return { ...envelope, content: openPayload(envelope, bundle.payload!).resources[0]!.spec['content'] };
  };
  const one = await serves();
  assert.deepEqual([one.commit, one.content], [first, 'one']);
  assert.throws(
    () =>
      run(
        'enroll',
        '--controller',
        controller.url,
        '--token',
        token,
        '--host',
        'pi',
        '--config',
        `${config}2`,
        '--state',
        join(box.folder, 'agent2'),
      ),
    /already used/,
  );
  assert.equal(existsSync(`${config}2`), false, 'a refused enrolment writes nothing');

  // Killed while commits rain down: what it serves afterwards is whole, and newer than anything before.
  for (let i = 0; i < 5; i++) box.commit(motd(`rain${i}`));
  controller.child.kill('SIGKILL');
  await controller.ended;
  const last = box.commit(motd('after'));
  controller = await start(box);
  await controller.logged('revision published', { commit: last });
  const two = await serves();
  assert.equal(two.content, 'after');
  assert.ok(two.sequence > one.sequence);

  // Without the repository it starts all the same, and serves what it served.
  controller.child.kill('SIGTERM');
  assert.equal(await controller.ended, 0);
  renameSync(box.repo, `${box.repo}-away`);
  controller = await start(box);
  await controller.logged('git can not be read');
  assert.deepEqual(await serves(), two);
  const view = (await (await fetch(`${controller.url}/v1/fleet`)).json()) as FleetView;
  assert.match(view.sourceProblem ?? '', /there is no repository/);
  renameSync(`${box.repo}-away`, box.repo);
  const third = box.commit(motd('three'));
  await controller.logged('revision published', { commit: third });
  const three = await serves();

  // Its store is deleted under it: it is written again from the open one, tokens and all.
  for (const suffix of ['', '-wal', '-shm'])
    rmSync(join(box.state, `controller.sqlite${suffix}`), { force: true });
  await controller.logged('the file of the store was removed: it was written again from the open one');
  controller.child.kill('SIGKILL');
  await controller.ended;
  controller = await start(box);
  assert.deepEqual(await serves(), three);

  // A history that was rewritten is followed like any other, with a higher sequence.
  box.git('reset', '-q', '--hard', first);
  await controller.logged('revision published', { commit: first });
  const back = await serves();
  assert.equal(back.content, 'one');
  assert.ok(back.sequence > three.sequence);
  controller.child.kill('SIGTERM');
  assert.equal(await controller.ended, 0);
});

test('a waiting agent is sent away when the controller stops, so that stopping takes no time', {
  timeout: 120_000,
}, async () => {
  const box = sandbox('stop');
  const first = box.commit(motd('one'));
  const controller = await start(box);
  await controller.logged('revision published', { commit: first });
  const events = await fetch(`${controller.url}/v1/events`);
  controller.child.kill('SIGTERM');
  assert.equal(await controller.ended, 0);
  await events.body!.cancel().catch(() => {});
});

test('get and describe show the fleet; errors are sentences', { timeout: 120_000 }, async () => {
  const box = sandbox('cli');
  const first = box.commit(motd('one'));
  const controller = await start(box);
  await controller.logged('revision published', { commit: first });
  assert.match(
    run('get', 'hosts', '--controller', controller.url),
    /^NAME +STATE +MODE.*\npi +Unseen +enforce/,
  );
  assert.match(
    run('describe', 'host', 'pi', '--controller', controller.url),
    /Desired: +[0-9a-f]{12} \(sequence \d+\)/,
  );
  assert.throws(
    () => run('describe', 'host', 'nope', '--controller', controller.url),
    /nothing is known of a host nope/,
  );
  assert.throws(() => run('get', 'hosts', '--controller', 'http://127.0.0.1:1'), /can't be reached/);
  controller.child.kill('SIGTERM');
  await controller.ended;
});

test('where it listens has to be meant', () => {
  assert.deepEqual(parseListen('[::1]:0', false), { host: '::1', port: 0 });
  assert.throws(() => parseListen('0.0.0.0:8420', false), /say --listen-everywhere/);
  assert.throws(() => parseListen('[::]:8420', false), /say --listen-everywhere/);
  assert.deepEqual(parseListen('0.0.0.0:8420', true), { host: '0.0.0.0', port: 8420 });
  for (const text of ['8420', 'example.com:80', '1.2.3.4', '1.2.3.4:99999'])
    assert.throws(() => parseListen(text, true), /is not address:port/);
});
