// The cases that failed once and are about secrets and about what an API answers, each as its README says.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once as event } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createHttp } from '../../../agent/providers/http.ts';
import { eventually } from '../../support/eventually.ts';
import { Timeline } from '../../support/timeline.ts';
import { begin, shell, WITHIN_MS } from './cases-support.ts';

test('28: a policy is valid where Tailscale’s own reader takes it, with any line ends', (t) => {
  const { directory, manifests, validate } = begin(t, '28');
  const says = (policy: string): string => {
    fs.writeFileSync(path.join(manifests, 'policy.hujson'), policy);
    const { status, text } = validate();
    return `${status} ${text}`;
  };
  const policies = path.join(directory, 'policies');
  const texts = new Map(
    fs.readdirSync(policies).map((name) => [name[0]!, fs.readFileSync(path.join(policies, name), 'utf8')]),
  );
  const expected: Readonly<Record<string, RegExp>> = {
    a: /^0 valid: (?!.*warning)/,
    b: /^0 valid: /,
    c: /^1 policy\.hujson:2:1: the file ends in a comment/,
    d: /^0 policy\.hujson:1:84: warning: "\/\/" stands twice/,
    e: /^0 (doc\.yaml:\d+:\d+: warning: the policy has no tests.*\n)?valid: /,
    g: /^1 policy\.hujson:3:13: "=" is Terraform’s/,
  };
  assert.deepEqual([...texts.keys()].sort(), Object.keys(expected));
  for (const [name, text] of texts) {
    assert.match(says(text), expected[name]!, name);
    assert.match(says(text.replaceAll('\n', '\r\n')), expected[name]!, `${name} with CRLF`);
  }
  assert.match(says(`\uFEFF${texts.get('b')}`), /^1 policy\.hujson:1:1: .*byte order mark/);
});

async function answers(t: TestContext, directory: string, mode: string) {
  const server = spawn('python3', [path.join(directory, 'fake.py'), mode], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const end = async (): Promise<string> => {
    if (server.exitCode === null && server.signalCode === null) {
      server.kill();
      await event(server, 'close');
    }
    return said;
  };
  let said = '';
  server.stderr.on('data', (text: Buffer) => {
    said += text.toString();
  });
  t.after(end);
  await eventually(() => shell('curl -fsS http://127.0.0.1:8329/ >/dev/null'), WITHIN_MS);
  return end;
}

test('29: what Tailscale’s API answers is understood in every shape, and nothing is written that it refuses', async (t) => {
  const { directory, once, resources } = begin(t, '29');
  fs.mkdirSync('/srv/bug29', { recursive: true });
  fs.writeFileSync('/srv/bug29/key', 'tskey-api-x\n');
  t.after(() => fs.rmSync('/srv/bug29', { recursive: true, force: true }));
  const state = path.join(directory, 'state');
  const refused = 'Invalid: Tailscale refuses this policy';
  const expected: Readonly<Record<string, string>> = {
    'errors-array': `${refused}: test(s) failed: from tag:web: address "tag:db:5432": want: Accept, got: Drop`,
    'errors-string': `${refused}: test(s) failed: from tag:web: address "tag:db:5432": want: Accept, got: Drop`,
    'data-string': `${refused}: src=tag not found: "tag:web": see the policy file documentation`,
    'data-object': `${refused}: src=tag not found: "tag:web"`,
    'data-null': `${refused}: src=tag not found: "tag:web"`,
    'no-body-400': `${refused}, and does not say why`,
    'edited-between': 'NotImported: importedFrom says ts-default',
    'not-default': 'NotImported: importedFrom says ts-default',
  };
  for (const [mode, words] of Object.entries(expected)) {
    fs.rmSync(state, { recursive: true, force: true });
    const end = await answers(t, directory, mode);
    const { status, text } = once();
    assert.notEqual(status, 0, mode);
    assert.ok(text.includes(words), `${mode}: ${text}`);
    assert.doesNotMatch(await end(), /WRITTEN/, mode);
  }
  for (const [mode, words] of [
    ['ok', ''],
    ['warnings-only', 'Tailscale took it, and warns: from tag:web: tag:web is owned by nobody'],
  ] as const) {
    fs.rmSync(state, { recursive: true, force: true });
    const end = await answers(t, directory, mode);
    const { status, text } = once();
    assert.equal(status, 0, text);
    assert.ok(text.includes(words), text);
    assert.match(await end(), /WRITTEN, if-match ts-default/);
  }

  // What is no answer at all is tried again.
  const http = createHttp();
  t.after(() => http.close());
  const end = await answers(t, directory, 'html-502');
  const line = new Timeline(t, { ports: { http }, withinMs: WITHIN_MS }).start();
  const policy = fs.readFileSync(path.join(directory, 'manifests/policy.hujson'), 'utf8');
  const [document] = resources();
  const { contentFrom: _, ...spec } = document!.spec;
  line.assign({ ...document!, spec: { ...spec, content: policy } });
  const ready = await eventually(() => {
    const found = line.condition('TailnetPolicy/tailnet', 'Ready');
    assert.match(found?.message ?? '', /answers 502/);
    return found!;
  }, WITHIN_MS);
  assert.notEqual(ready.status, 'True');
  assert.doesNotMatch(await end(), /WRITTEN/);
  await answers(t, directory, 'ok');
  await line.expect('TailnetPolicy/tailnet', 'True');
});

test('33: a secret is followed when links to it are swapped, and when its content changes', async (t) => {
  const { directory, resources } = begin(t, '33');
  const secrets = (step: string): string => shell(`sh -e ${directory}/secrets.sh ${step}`);
  t.after(() => shell('rm -rf /run/bug33 /etc/bug33*'));
  secrets('start');
  const line = new Timeline(t, { onHost: true, withinMs: WITHIN_MS, config: { resyncSeconds: 600 } }).start();
  line.assign(...resources());
  const become = (token: string, certificate: string): Promise<void> =>
    eventually(() => {
      const [first, second] = ['token', 'pem'].map((name) => fs.readFileSync(`/etc/bug33.${name}`, 'utf8'));
      assert.deepEqual([first?.trim(), second?.trim()], [token, certificate]);
    }, WITHIN_MS);
  await become('one', 'cert1');
  secrets('swap');
  await become('two', 'cert2');
  secrets('inplace');
  await become('three', 'cert3');
  // As `gone` does, with as much time in between as it takes to be seen.
  shell('mv /run/bug33/..data /run/bug33/..away');
  const { conditions } = await line.expect('File/token', 'False', 'SecretMissing');
  assert.match(JSON.stringify(conditions), /\/run\/bug33\/token/);
  await become('three', 'cert3');
  shell('mv /run/bug33/..away /run/bug33/..data');
  await line.expect('File/token', 'True');
});
