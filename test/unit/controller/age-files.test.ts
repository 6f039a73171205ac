// Encrypted files on the controller: inlined as they are, and counted, since more can't be told without a key.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recipientCount } from '../../../controller/pipeline/age-header.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { kinds } from '../../../kinds/index.ts';
import { encrypt, type TestIdentity, testIdentity } from '../../support/age.ts';
import { memorySnapshot } from './support.ts';

const document = (kind: string, name: string, rest: string) =>
  `apiVersion: homeostat.dev/v1\nkind: ${kind}\nmetadata: {name: ${name}, labels: {all: "yes"}}\n${rest}\n---\n`;
const host = (name: string, who?: TestIdentity) =>
  document('Host', name, `spec: {${who === undefined ? '' : `ageRecipient: ${who.recipient}`}}`);
const file = (name: string, hosts: string, ageFrom: string) =>
  document(
    'File',
    name,
    `hosts: ${hosts}\nspec: {path: /etc/${name}, content: {secretFrom: {ageFrom: ${ageFrom}}}}`,
  );

async function compiled(files: Record<string, string>) {
  const result = await compile(memorySnapshot(files), kinds);
  const messages = result.diagnostics.map((d) => `${d.severity} ${d.file}:${d.line} ${d.message}`);
  const specOn = (name: string) =>
    JSON.parse(result.revision!.hosts.get(name)!.payloadText).resources[0].spec as Record<string, unknown>;
  return { messages, specOn };
}

test('the ciphertext goes to the host under its path; the path may have the host’s name in it', async () => {
  const [a, b] = [await testIdentity(), await testIdentity()];
  const forA = await encrypt('x', a.recipient);
  const forB = await encrypt('x', b.recipient);
  const { messages, specOn } = await compiled({
    'hosts.yaml': host('a', a) + host('b', b),
    'app/app.yaml': file('env', '{all: true}', '"secrets/${host.name}.age"'),
    'app/secrets/a.age': forA.replaceAll('\n', '\r\n'),
    'app/secrets/b.age': forB,
  });
  assert.deepEqual(messages, []);
  const { secretFrom } = specOn('b')['content'] as { secretFrom: object };
  assert.deepEqual(secretFrom, { age: forB.trim(), ageFrom: 'app/secrets/b.age' });
});

test('what certainly can’t be read is a warning: a host without recipient, fewer recipients than readers', async () => {
  const [a, b, me] = [await testIdentity(), await testIdentity(), await testIdentity()];
  const fleet = document('Fleet', 'fleet', `spec: {secretRecipients: [${me.recipient}]}`);
  const { messages } = await compiled({
    'hosts.yaml': fleet + host('a', a) + host('b', b) + host('new'),
    'app.yaml': file('one', '{names: [a]}', 'x.age') + file('two', '{names: [b, new]}', 'x.age'),
    'x.age': await encrypt('x', a.recipient, me.recipient),
  });
  assert.deepEqual(messages, [
    'warning app.yaml:5 x.age is encrypted to 2 recipients, and 3 have to read it (hosts a, b and new, and 1 of Fleet.secretRecipients): run `homeostat secret rekey`',
    'warning hosts.yaml:19 Host/new gets x.age and has no ageRecipient, so that `homeostat secret` does not encrypt to it: write there what `homeostat enroll` printed, then run `homeostat secret rekey`',
  ]);
});

test('two hosts with one recipient could read each other’s secrets', async () => {
  const a = await testIdentity();
  const { messages } = await compiled({ 'hosts.yaml': host('a', a) + host('b', a) });
  assert.deepEqual(messages, [
    'error hosts.yaml:9 Host/a (hosts.yaml:1) has the same ageRecipient: each host has its own',
  ]);
});

test('recipients are counted without decoys; what is no age file has none', async () => {
  const [a, b] = [await testIdentity(), await testIdentity()];
  assert.equal(recipientCount(await encrypt('x', a.recipient, b.recipient)), 2);
  const armored = (text: string) =>
    `-----BEGIN AGE ENCRYPTED FILE-----\n${Buffer.from(text).toString('base64')}\n-----END AGE ENCRYPTED FILE-----\n`;
  assert.equal(
    recipientCount(armored('age-encryption.org/v1\n-> X25519 abc\nxyz\n-> k-grease a\nx\n--- mac\n')),
    1,
  );
  assert.equal(recipientCount(armored('something else')), undefined);
  assert.equal(recipientCount('in the clear'), undefined);
});
