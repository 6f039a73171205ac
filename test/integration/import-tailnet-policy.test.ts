// `homeostat import tailnet-policy` as a user types it, against the stand-in of Tailscale's API; what it writes is
// valid, and names the policy that it was made from.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { homeostatIn } from '../support/homeostat.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { TailscaleApi } from '../support/tailscale-api/server.ts';

async function open(t: TestContext) {
  const served = new TailscaleApi({ tailnet: { devices: [], users: [] } });
  const api = await served.start();
  t.after(() => served.stop());
  const directory = temporaryDirectory(t);
  const homeostat = homeostatIn(directory);
  const run = (args: string[], env: Record<string, string> = {}) =>
    homeostat(['import', 'tailnet-policy', '--run-on', 'mac', '--api', api, ...args], env);
  return { served, api, directory, homeostat, run };
}

test('the policy comes into git with its comments, and the document says what it was made from', async (t) => {
  const { served, api, directory, homeostat, run } = await open(t);
  // A reference of ours in their comment is no reference.
  await served.edit((text) => text.replace('unrestricted', '${vars.unrestricted}'));
  const { id, secret } = served.addClient('policy_file:read');
  fs.writeFileSync(path.join(directory, 'secret'), `${secret}\n`);
  const imported = await run(['--out', 'm', '--client-id', id, '--client-secret-file', 'secret']);
  assert.equal(imported.status, 0, imported.stderr);
  assert.match(imported.stdout, /^wrote m\/policy\.hujson and m\/tailnet-policy\.yaml/);
  assert.match(imported.stderr, /warning: the policy has no tests/);
  const read = (name: string) => fs.readFileSync(path.join(directory, 'm', name), 'utf8');
  assert.equal(
    read('policy.hujson'),
    served.text.replace('${vars', () => '$${vars'),
  );
  assert.match(read('tailnet-policy.yaml'), new RegExp(`^ {2}importedFrom: ${served.etag}$`, 'm'));
  assert.ok(!read('tailnet-policy.yaml').includes(secret) && !imported.stdout.includes(secret));

  // The stand-in is on the host's loopback; the document is for mac, wherever that is.
  const host = 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: mac}\nspec: {mode: enforce}\n';
  fs.writeFileSync(path.join(directory, 'm/host.yaml'), host);
  const secrets = (text: string) =>
    text
      .replaceAll(/\{file: \S+client-id\}/g, '{env: ID}')
      .replaceAll(/\{file: \S+client-secret\}/g, '{env: SECRET}');
  fs.writeFileSync(path.join(directory, 'm/tailnet-policy.yaml'), secrets(read('tailnet-policy.yaml')));
  const env = { ID: id, SECRET: secret };
  const plan = await homeostat(['plan', '--dir', 'm', '--host', 'mac', '--root', 'root'], env);
  assert.equal(plan.status, 0, `nothing would change: ${plan.stdout}${plan.stderr}`);
  fs.writeFileSync(
    path.join(directory, 'm/policy.hujson'),
    read('policy.hujson').replace('"dst": ["*:*"]', '"dst": ["*:22"]'),
  );
  const edited = await homeostat(['plan', '--dir', 'm', '--host', 'mac', '--root', 'root'], env);
  assert.equal(edited.status, 2, edited.stderr);
  assert.match(edited.stdout, /^\s*-\s+"\*:\*"\n\s*\+\s+"\*:22"$/m);
  assert.ok(api.startsWith('http://127.0.0.1:'));
});

test('an API key from the environment will do; nothing is overwritten, and --print writes nothing', async (t) => {
  const { served, directory, run } = await open(t);
  const env = { TAILSCALE_API_KEY: served.apiKey('all:read') };
  const printed = await run(['--print'], env);
  assert.equal(printed.status, 0, printed.stderr);
  assert.match(printed.stdout, /^ {2}apiKey: \{secretFrom: [\s\S]*^# policy\.hujson\n\/\/ Example/m);
  assert.deepEqual(fs.readdirSync(directory), []);
  assert.equal((await run([], env)).status, 0);
  const again = await run([], env);
  assert.equal(again.status, 1);
  assert.match(again.stderr, /policy\.hujson, tailnet-policy\.yaml is there already; nothing was written/);
});

test('what is missing is said', async (t) => {
  const { served, run } = await open(t);
  const without = await run([]);
  assert.equal(without.status, 1);
  assert.match(without.stderr, /there are no credentials: set TAILSCALE_OAUTH_CLIENT_ID and/);
  const { id, secret } = served.addClient('devices:core:read');
  const env = { TAILSCALE_OAUTH_CLIENT_ID: id, TAILSCALE_OAUTH_CLIENT_SECRET: secret };
  const refused = await run([], env);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /the OAuth client needs the scope policy_file:read; it has devices:core:read/);
});
