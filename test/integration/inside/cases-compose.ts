// The cases that failed once and need docker compose, each as its README says (test/lab/cases.ts has the images that
// they name: busybox, and a Prometheus that only reads its flags).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { begin, docker, shell } from './cases-support.ts';

/** The case's project at the place that its document names. */
function beginProject(t: TestContext, number: string) {
  const place = `/srv/bug${number}`;
  const stack = path.join(place, 'stack');
  const begun = begin(t, number);
  fs.cpSync(path.join(begun.directory, 'stack'), stack, { recursive: true });
  t.after(() => {
    shell(`cd ${stack} && docker compose down --timeout 1`);
    fs.rmSync(place, { recursive: true, force: true });
  });
  const id = (service: string): string => shell(`cd ${stack} && docker compose ps --all --quiet ${service}`);
  const up = (): string => shell(`cd ${stack} && docker compose up --detach`);
  const write = (name: string, text: string): void => fs.writeFileSync(path.join(stack, name), text);
  return { ...begun, stack, id, up, write };
}

test('08: a compose file in a subfolder has our service, its secret and its ./', (t) => {
  const { once, stack, id, up } = beginProject(t, '08');
  fs.writeFileSync('/srv/bug08/token', 's3cr3t\n');
  const first = once();
  assert.equal(first.status, 0, first.text);
  const exporter = id('exporter');
  assert.match(docker('logs', exporter), /token is s3cr3t/);
  const source = docker('inspect', '--format', '{{(index .Mounts 0).Source}}', exporter);
  assert.equal(source, path.join(stack, 'deploy/data'));
  up();
  assert.equal(id('exporter'), exporter, 'a plain up finds the same');
  const second = once();
  assert.equal(second.status, 0, second.text);
});

test('10: a service behind a profile is waited for by name, and theirs comes up meanwhile', (t) => {
  const { once, id, up, write, stack } = beginProject(t, '10');
  const env = fs.readFileSync(path.join(stack, '.env'), 'utf8');
  const first = once();
  assert.equal(first.status, 0, first.text);
  const ours = ['prometheus', 'exporter'].map(id);
  const command = docker('inspect', '--format', '{{json .Config.Cmd}}', ours[0]!);
  assert.match(command, /--web\.enable-lifecycle/);
  write('.env', '');
  const off = once();
  assert.notEqual(off.status, 0);
  assert.match(off.text, /prometheus is in the profiles monitoring and full, none of which is active/);
  up();
  for (const container of ours)
    assert.equal(docker('inspect', '--format', '{{.State.Status}}', container), 'running');
  write('.env', env);
  const on = once();
  assert.equal(on.status, 0, on.text);
  assert.deepEqual(['prometheus', 'exporter'].map(id), ours);
});

test('11: a mounted file that another document changes restarts its service', (t) => {
  const { once, edit, id } = beginProject(t, '11');
  const first = once();
  assert.equal(first.status, 0, first.text);
  const reads = (): string => docker('exec', id('exporter'), 'cat', '/conf', '/at-start');
  assert.equal(reads(), 'answer = one\nanswer = one');
  edit((text) => text.replace('answer = one', 'answer = two'));
  const second = once();
  assert.equal(second.status, 0, second.text);
  assert.equal(reads(), 'answer = two\nanswer = two');
});

test('12: a flag that is there with another value is reported before anything is touched', (t) => {
  const { once, directory, stack, id, up, write } = beginProject(t, '12');
  for (const file of ['stack/compose.yaml', 'list.yaml', 'text.yaml']) {
    write('compose.yaml', fs.readFileSync(path.join(directory, file), 'utf8'));
    up();
    const theirs = id('prometheus');
    const said = once();
    assert.notEqual(said.status, 0);
    assert.match(
      said.text,
      /the command of prometheus has --storage\.tsdb\.retention\.time.15d already/,
      file,
    );
    assert.equal(id('prometheus'), theirs, file);
    assert.equal(docker('inspect', '--format', '{{.RestartCount}} {{.State.Status}}', theirs), '0 running');
    assert.deepEqual(fs.readdirSync(stack), ['compose.yaml'], file);
  }
});
