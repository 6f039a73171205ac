// secretFrom: age on a host: decrypted with its identity only, and reported with a message when that does not fit.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { SecretRef } from '../../../api/documents.ts';
import { type AnyKind, defineKind } from '../../../kinds/kind.ts';
import { encrypt, testIdentity } from '../../support/age.ts';
import { eventually } from '../../support/eventually.ts';
import { journalIn } from '../../support/journal.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const secretFile = (age: string, more: object = {}) =>
  resource('File', 'env', {
    path: '/etc/env',
    mode: '0600',
    content: { secretFrom: { age, ageFrom: 'secrets/env.age' } },
    ...more,
  });

async function begin(
  t: TestContext,
  {
    withIdentity = true,
    allow,
    kinds,
  }: { withIdentity?: boolean; allow?: object; kinds?: ReadonlyMap<string, AnyKind> } = {},
) {
  const identity = await testIdentity();
  const line = new Timeline(t, {
    ...(kinds === undefined ? {} : { kinds }),
    configWith: (directory) => ({
      ageIdentity: path.join(directory, 'age.key'),
      ...(allow === undefined ? {} : { allow }),
    }),
  });
  const file = path.join(line.directory, 'age.key');
  const give = (text: string, mode = 0o600) => {
    fs.writeFileSync(`${file}.new`, text, { mode });
    fs.chmodSync(`${file}.new`, mode);
    fs.renameSync(`${file}.new`, file);
  };
  if (withIdentity) give(identity.text);
  return { line: line.start(), identity, file, give };
}

test('a secret in git is decrypted on the host; its last newline is the editor’s; a heal needs no git', async (t) => {
  const { line, identity } = await begin(t);
  line.assign(secretFile(await encrypt('open sesame\n', identity.recipient)));
  await line.expectContent('/etc/env', 'open sesame');
  fs.writeFileSync(line.path('/etc/env'), 'tampered');
  await line.expectContent('/etc/env', 'open sesame');
  assert.doesNotMatch(JSON.stringify([line.agent.status(), await line.agent.plan()]), /sesame/);
});

test('without an identity it waits for one, and goes on by itself when one comes', async (t) => {
  const { line, identity, file, give } = await begin(t, { withIdentity: false });
  line.assign(secretFile(await encrypt('open sesame', identity.recipient)));
  await line.expect('File/env', 'False', 'SecretMissing');
  assert.match(line.condition('File/env', 'Ready')!.message, new RegExp(`there is no age identity ${file}`));
  give(identity.text);
  await line.expectContent('/etc/env', 'open sesame');
  await line.expect('File/env', 'True');
});

test('a wrong identity, an open one and damaged ciphertext are reported with the file and what to do', async (t) => {
  const { line, identity, give } = await begin(t);
  const other = await testIdentity();
  const expectWords = (words: RegExp) =>
    eventually(() => {
      const ready = line.condition('File/env', 'Ready');
      assert.equal(ready?.reason, 'SecretUndecryptable');
      assert.match(ready.message, words);
    });
  const good = await encrypt('open sesame', identity.recipient);
  line.assign(secretFile(await encrypt('open sesame', other.recipient)));
  await expectWords(
    /^secrets\/env\.age is not encrypted to this host, whose recipient is age1[a-z0-9]+; write that into Host\/testhost as ageRecipient, then run `homeostat secret rekey`$/,
  );
  assert.ok(line.condition('File/env', 'Ready')!.message.includes(identity.recipient));

  const lines = good.split('\n');
  const last = lines.findLastIndex((l) => !l.startsWith('-') && l !== '');
  lines[last] = `${lines[last]![0] === 'A' ? 'B' : 'A'}${lines[last]!.slice(1)}`;
  line.assign(secretFile(lines.join('\n')));
  await expectWords(/^secrets\/env\.age is damaged \(.+\); take it from git's history/);

  line.assign(secretFile(good));
  await line.expectContent('/etc/env', 'open sesame');
  give('garbage that might be a password\n');
  await expectWords(/holds no age identity/);
  assert.doesNotMatch(line.condition('File/env', 'Ready')!.message, /password/);
  give(identity.text, 0o644);
  await expectWords(/open to everybody on this host \(mode 0644\), and is not used; chmod 0600/);
  give(identity.text);
  await line.expect('File/env', 'True');
});

test('encrypted anew it is the same desired state: nothing is written, and the new ciphertext is remembered', async (t) => {
  const { line, identity, give } = await begin(t);
  line.assign(secretFile(await encrypt('open sesame', identity.recipient)));
  await line.expect('File/env', 'True');
  const { desiredDigest } = line.status('File/env');
  const { ino } = fs.statSync(line.path('/etc/env'));

  const next = await testIdentity();
  const both = await encrypt('open sesame', identity.recipient, next.recipient);
  line.assign(secretFile(both));
  await eventually(() => {
    const { confirmed } = journalIn(path.join(line.directory, 'state')).entry('File/env')!;
    assert.ok(JSON.stringify(confirmed).includes(JSON.stringify(both).slice(1, -1)));
  });
  assert.equal(line.status('File/env').desiredDigest, desiredDigest);
  assert.equal(fs.statSync(line.path('/etc/env')).ino, ino);

  // What was confirmed comes back under the new identity, though git asks for something that can't be had.
  give(next.text);
  line.assign(secretFile(await encrypt('other', identity.recipient)));
  await line.expect('File/env', 'False', 'SecretUndecryptable');
  fs.writeFileSync(line.path('/etc/env'), 'tampered');
  await line.expectContent('/etc/env', 'open sesame');
});

test('a secret is the host owner’s to give: by path, by name, and encrypted ones by a word', async (t) => {
  const { line, identity } = await begin(t, {
    allow: { kinds: ['File'], paths: ['/etc/'], secrets: ['/run/secrets/', 'env:APP_*'] },
  });
  line.assign(
    secretFile(await encrypt('x', identity.recipient)),
    ...Object.entries({
      shadow: { file: '/etc/shadow' },
      dots: { file: '/run/secrets/../../etc/shadow' },
      token: { env: 'HOMEOSTAT_TOKEN' },
      db: { credential: 'db' },
      allowed: { env: 'APP_TOKEN' },
    }).map(([name, secretFrom]) => resource('File', name, { path: `/etc/${name}`, content: { secretFrom } })),
  );
  const words = async (key: string) => {
    await line.expect(key, 'False', 'NotAllowed');
    return line.condition(key, 'Ready')!.message;
  };
  assert.match(await words('File/env'), /does not allow: secret age \(allow\.secrets\)/);
  assert.match(await words('File/shadow'), /secret \/etc\/shadow \(allow\.secrets\)/);
  assert.match(await words('File/dots'), /secret \/run\/secrets\/\.\.\/\.\.\/etc\/shadow/);
  assert.match(await words('File/token'), /secret env:HOMEOSTAT_TOKEN/);
  assert.match(await words('File/db'), /secret credential:db/);
  await line.expect('File/allowed', 'False', 'SecretMissing');
});

test('what is removed long after a rekey is removed with the secret as it is now', async (t) => {
  const used: string[] = [];
  const behindAnApi = defineKind<{ token: SecretRef }, object, never, { token: SecretRef }>({
    kind: 'Api',
    scope: 'host',
    spec: z.strictObject({ token: SecretRef }),
    before: { version: 1, schema: z.object({ token: SecretRef }) },
    needs: [],
    owns: () => ['api:x'],
    permissions: () => [],
    observe: async () => ({}),
    diff: () => [],
    prepare: async ({ spec }) => ({ existed: false, before: { token: spec.token } }),
    apply: async () => undefined,
    assess: () => ({ verdict: 'Yes' }),
    undo: async ({ token }, record) => {
      used.push(record.content(token).bytes.toString());
    },
  });
  const { line, identity, give } = await begin(t, { kinds: new Map([['Api', behindAnApi]]) });
  const assign = async (value: string, recipient: string) => {
    const secretFrom = { age: await encrypt(value, recipient), ageFrom: 'token.age' };
    const before = line.agent.status().resources[0]?.runningDigest;
    line.assign(resource('Api', 'x', { token: { secretFrom } }));
    await eventually(() => assert.notEqual(line.status('Api/x').runningDigest || before, before));
  };
  await assign('first', identity.recipient);
  const next = await testIdentity();
  give(next.text);
  await assign('second', next.recipient);
  line.assign();
  await line.expectGone('Api/x');
  assert.deepEqual(used, ['second']);
});
