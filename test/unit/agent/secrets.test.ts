// Secrets are found where the manifest says, and shown nowhere.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { createAgeIdentity } from '../../../agent/secrets/age.ts';
import { createSecretStore, secretRefsIn } from '../../../agent/secrets/store.ts';
import { Stalled } from '../../../api/errors.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

function createStore(stateDir: string, env: Record<string, string>, identity = '/nonexistent/age.key') {
  return createSecretStore({ stateDir, env, age: createAgeIdentity(identity, 'pi') });
}

const missing = (message: RegExp) => (error: unknown) =>
  error instanceof Stalled && error.reason === 'SecretMissing' && message.test(error.message);

test('from a file without its last newline, from the environment, from a systemd credential', (t) => {
  const directory = temporaryDirectory(t);
  fs.writeFileSync(path.join(directory, 'token'), 'from file\n');
  const store = createStore(temporaryDirectory(t), { TOKEN: 'from env', CREDENTIALS_DIRECTORY: directory });
  const value = (secretFrom: Parameters<typeof store.resolve>[0]['secretFrom']) =>
    store.resolve({ secretFrom }).reveal().toString();
  assert.equal(value({ file: path.join(directory, 'token') }), 'from file');
  assert.equal(value({ env: 'TOKEN' }), 'from env');
  assert.equal(value({ credential: 'token' }), 'from file');
});

test('what is missing is named, with the place to put it', (t) => {
  const store = createStore(temporaryDirectory(t), {});
  const resolve = (secretFrom: Parameters<typeof store.resolve>[0]['secretFrom']) => () =>
    store.resolve({ secretFrom });
  assert.throws(resolve({ file: '/nonexistent/token' }), missing(/no such file or directory \(ENOENT\)/));
  assert.throws(resolve({ env: 'TOKEN' }), missing(/no environment variable TOKEN/));
  assert.throws(resolve({ credential: 'token' }), missing(/LoadCredential=token:\/path/));
});

test('the agent’s own keys are no secrets for manifests, by no way', (t) => {
  const [state, elsewhere] = [temporaryDirectory(t), temporaryDirectory(t)];
  const identity = path.join(elsewhere, 'age.key');
  const link = path.join(elsewhere, 'link');
  for (const file of [identity, path.join(state, 'agent.key'), path.join(elsewhere, 'token')])
    fs.writeFileSync(file, 'value');
  fs.symlinkSync(path.join(state, 'agent.key'), link);
  const store = createStore(state, {}, identity);
  for (const file of [identity, path.join(state, 'agent.key'), link]) {
    assert.throws(
      () => store.resolve({ secretFrom: { file } }),
      (error) =>
        error instanceof Stalled && error.reason === 'NotAllowed' && /agent's own keys/.test(error.message),
    );
  }
  store.resolve({ secretFrom: { file: path.join(elsewhere, 'token') } });
});

test('a secret prints as [secret], however it is printed', (t) => {
  const store = createStore(temporaryDirectory(t), { TOKEN: 'open sesame' });
  const secret = store.resolve({ secretFrom: { env: 'TOKEN' } });
  for (const text of [
    `${secret}`,
    JSON.stringify({ secret }),
    inspect(secret),
    inspect({ deep: [secret] }),
  ]) {
    assert.match(text, /\[secret\]/);
    assert.doesNotMatch(text, /sesame/);
  }
});

test('secrets are compared under a key of this host: the same value has another HMAC elsewhere', (t) => {
  const here = temporaryDirectory(t);
  const hmac = (directory: string, value: string) =>
    createStore(directory, { TOKEN: value }).resolve({ secretFrom: { env: 'TOKEN' } }).hmac;
  assert.equal(hmac(here, 'a'), hmac(here, 'a'), 'also after a restart');
  assert.notEqual(hmac(here, 'a'), hmac(here, 'b'));
  assert.notEqual(hmac(here, 'a'), hmac(temporaryDirectory(t), 'a'));
  assert.equal(fs.statSync(path.join(here, 'secret-hmac.key')).mode & 0o777, 0o600);
});

test('every secret that a spec names is found, wherever it stands', () => {
  const ref = { secretFrom: { env: 'X' } };
  assert.deepEqual(secretRefsIn({ a: [1, { b: ref }], c: 'text', d: null }), [ref]);
});

test('a link leads to no secret that is not granted, whatever is swapped; a hard link to no key of the agent’s', (t) => {
  const [state, directory] = [temporaryDirectory(t), temporaryDirectory(t)];
  const at = (name: string): string => path.join(directory, name);
  fs.writeFileSync(at('granted'), 'value');
  fs.writeFileSync(at('shadow'), 'value');
  fs.writeFileSync(path.join(state, 'agent.key'), 'value');
  fs.symlinkSync('shadow', at('link'));
  fs.symlinkSync('granted', at('good'));
  fs.linkSync(path.join(state, 'agent.key'), at('hard'));
  const store = createSecretStore({
    stateDir: state,
    env: {},
    age: createAgeIdentity('/nonexistent', 'pi'),
    allows: (file) => file === at('granted'),
  });
  assert.equal(
    store
      .resolve({ secretFrom: { file: at('good') } })
      .reveal()
      .toString(),
    'value',
  );
  for (const name of ['link', 'hard', '../../proc/self/root/etc/passwd']) {
    assert.throws(
      () => store.resolve({ secretFrom: { file: `${directory}/${name}` } }),
      (error) => error instanceof Stalled && error.reason === 'NotAllowed',
      name,
    );
  }
});

test('pipes, devices, directories and large files are no secrets, and keep nobody waiting', (t) => {
  const directory = temporaryDirectory(t);
  const store = createStore(temporaryDirectory(t), {});
  execFileSync('mkfifo', [path.join(directory, 'pipe')]);
  fs.writeFileSync(path.join(directory, 'large'), '');
  fs.truncateSync(path.join(directory, 'large'), 2 * 1024 * 1024);
  for (const [file, why] of [
    [path.join(directory, 'pipe'), /no regular file/],
    ['/dev/zero', /no regular file/],
    [directory, /no regular file/],
    [path.join(directory, 'large'), /at most 1048576/],
  ] as const) {
    assert.throws(() => store.resolve({ secretFrom: { file } }), missing(why), file);
  }
});
