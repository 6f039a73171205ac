// The stand-in of Tailscale's API is held to what is documented of the real one, and to recordings of hujson.Format,
// with which the real one lays policies out.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  Compiler,
  isAllowed,
  NotKnown,
  type Policy,
  PolicyError,
} from '../../support/tailscale-api/compile.ts';
import { layOut } from '../../support/tailscale-api/layout.ts';
import {
  DEFAULT_POLICY,
  TailscaleApi,
  type TailscaleApiOptions,
} from '../../support/tailscale-api/server.ts';

const RECORDED = path.join(import.meta.dirname, '../../support/tailscale-api/recorded');
const POLICY = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:22"]}]}';

async function open(t: TestContext, options: Partial<TailscaleApiOptions> = {}) {
  const served = new TailscaleApi({ tailnet: { devices: [], users: [] }, ...options });
  const origin = await served.start();
  t.after(() => served.stop());
  const acl = `${origin}/api/v2/tailnet/-/acl`;
  const ask = async (url: string, init: RequestInit = {}) => {
    const response = await fetch(url, init);
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const key = (...scopes: string[]) => ({ authorization: `Bearer ${served.apiKey(...scopes)}` });
  return { served, origin, acl, ask, key };
}

test('a policy is served as HuJSON with its ETag, as JSON when that is asked for, and with details', async (t) => {
  const { acl, ask, key, served } = await open(t);
  const headers = key('policy_file:read');
  const hujson = await ask(acl, { headers });
  assert.deepEqual([hujson.status, hujson.headers.get('content-type')], [200, 'application/hujson']);
  assert.match(hujson.text, /^\/\/ Example/);
  assert.equal(hujson.headers.get('etag'), `"${createHash('sha256').update(hujson.text).digest('hex')}"`);
  const json = await ask(acl, { headers: { ...headers, accept: 'application/json' } });
  assert.equal(json.headers.get('content-type'), 'application/json');
  assert.deepEqual(Object.keys(JSON.parse(json.text)), ['groups', 'acls']);
  const details = await ask(`${acl}?details=1`, { headers });
  assert.equal(Buffer.from(JSON.parse(details.text).acl, 'base64').toString(), served.text);
});

test('a write with If-Match replaces that policy only; ts-default the one that nobody edited', async (t) => {
  const { acl, ask, key, served } = await open(t);
  const post = (etag: string) =>
    ask(acl, { method: 'POST', headers: { ...key('policy_file'), 'if-match': `"${etag}"` }, body: POLICY });
  const other = await post('0'.repeat(64));
  assert.equal(other.status, 412);
  assert.deepEqual(JSON.parse(other.text), { message: 'precondition failed, invalid old hash' });
  assert.equal(served.text, DEFAULT_POLICY);
  const first = await post('ts-default');
  assert.equal(first.status, 200);
  assert.equal(first.headers.get('etag'), `"${served.etag}"`);
  assert.equal((await post('ts-default')).status, 412, 'it was edited by now');
  assert.equal((await post(served.etag)).status, 200);
  await served.edit(() => DEFAULT_POLICY);
  assert.equal((await post('ts-default')).status, 412, 'the same text again is not untouched');
});

test('validation answers 200 whatever it finds, and writes nothing; a write of the same is refused', async (t) => {
  const devices = [{ name: 'pi', addresses: ['100.64.0.8'], user: 'a@example.com' }];
  const { acl, ask, key, served } = await open(t, {
    tailnet: { devices, users: [{ login: 'a@example.com', role: 'owner' }] },
  });
  const headers = key('policy_file');
  const validate = async (body: string) => {
    const answer = await ask(`${acl}/validate`, { method: 'POST', headers, body });
    assert.equal(answer.status, 200);
    return JSON.parse(answer.text);
  };
  assert.deepEqual(await validate(POLICY), {});
  const failing = POLICY.replace(
    /\}$/,
    ', "tests": [{"src": "a@example.com", "accept": ["100.64.0.8:80"]}]}',
  );
  const failed = {
    message: 'test(s) failed',
    data: [{ user: 'a@example.com', errors: ['address "100.64.0.8:80": want: Accept, got: Drop'] }],
  };
  assert.deepEqual(await validate(failing), failed);
  assert.match((await validate('{"acls": [}')).message, /^line 1, column 11: /);
  assert.match((await validate('{"alcs": []}')).message, /unknown field "alcs"/);
  // A list is tests against the policy that is there, and there everything passes.
  assert.deepEqual(await validate('[{"src": "a@example.com", "deny": ["100.64.0.8:80"]}]'), {
    message: 'test(s) failed',
    data: [{ user: 'a@example.com', errors: ['address "100.64.0.8:80": want: Drop, got: Accept'] }],
  });
  const written = await ask(acl, { method: 'POST', headers, body: failing });
  assert.equal(written.status, 400);
  assert.deepEqual(JSON.parse(written.text), failed);
  assert.equal(served.text, DEFAULT_POLICY);
});

test('an OAuth client gets tokens that expire, with its scopes and no others', async (t) => {
  let now = 1_000_000;
  const { acl, ask, origin, served } = await open(t, { now: () => now, tokenSeconds: 60 });
  const token = async (id: string, secret: string, scope?: string) => {
    const form = new URLSearchParams({ client_id: id, client_secret: secret, ...(scope && { scope }) });
    const answer = await ask(`${origin}/api/v2/oauth/token`, { method: 'POST', body: form });
    return { status: answer.status, ...JSON.parse(answer.text) };
  };
  const reader = served.addClient('policy_file:read');
  assert.equal((await token(reader.id, 'wrong')).status, 401);
  assert.deepEqual(await token(reader.id, reader.secret, 'policy_file'), {
    status: 403,
    message: 'OAuth client cannot grant scopes "policy_file"',
  });
  const { access_token, token_type, expires_in, scope } = await token(reader.id, reader.secret);
  assert.deepEqual([token_type, expires_in, scope], ['Bearer', 60, 'policy_file:read']);
  const bearer = { authorization: `Bearer ${access_token}` };
  const asUser = { authorization: `Basic ${Buffer.from(`${access_token}:`).toString('base64')}` };
  assert.equal((await ask(acl, { headers: bearer })).status, 200);
  assert.equal((await ask(acl, { headers: asUser })).status, 200);
  const written = await ask(acl, { method: 'POST', headers: bearer, body: POLICY });
  assert.equal(written.status, 403);
  assert.match(written.text, /does not have enough permissions/);
  now += 60_000;
  assert.equal((await ask(acl, { headers: bearer })).status, 401);
});

test('it lays a policy out like the real one, and its ETag is of that', async (t) => {
  const read = (name: string) => fs.readFileSync(path.join(RECORDED, name), 'utf8');
  // What it doesn't follow: the alignment of values.
  const unaligned = (text: string) => text.replace(/^(\s*"[^"]+":) +/gm, '$1 ');
  assert.equal(unaligned(layOut(read('stack.hujson'))), unaligned(read('stack.formatted.hujson')));
  for (const name of ['stack', 'messy', 'standard']) {
    const once = layOut(read(`${name}.hujson`));
    assert.equal(layOut(once), once, `${name}: laid out twice is laid out once`);
  }
  const { acl, ask, key, served } = await open(t);
  await ask(acl, {
    method: 'POST',
    headers: key('policy_file'),
    body: `// kept\r\n${POLICY.replace(']}', ' ,] , }')}`,
  });
  assert.match(served.text, /^\/\/ kept\n\{/);
});

const DEVICES = [
  { name: 'mac', addresses: ['100.64.0.4', 'fd7a:115c:a1e0::4'], user: 'owner@example.com' },
  { name: 'pi', addresses: ['100.64.0.8'], user: 'guest@example.com' },
  { name: 'droplet', addresses: ['100.64.0.45'], tags: ['tag:server'] },
];
const USERS = [
  { login: 'owner@example.com', role: 'owner' },
  { login: 'guest@example.com', role: 'member' },
] as const;
const compile = (policy: Policy) => new Compiler(policy, { devices: DEVICES, users: USERS });
const accept = (src: string[], dst: string[]) => ({ action: 'accept', src, dst });

test('a policy is compiled to the packets that pass', () => {
  const rules = compile({
    hosts: { pi: '100.64.0.8', net: '100.64.0.0/28' },
    groups: { 'group:guests': ['guest@example.com'] },
    tagOwners: { 'tag:server': [] },
    acls: [
      accept(['autogroup:owner'], ['*:22']),
      accept(['group:guests'], ['tag:server:80,8000-8010']),
      accept(['tag:server'], ['net:9090']),
      accept(['autogroup:member'], ['autogroup:self:5900']),
    ],
    grants: [{ src: ['pi'], dst: ['owner@example.com'], ip: ['3100'] }],
  }).rules();
  const passes = (from: string, to: string, port: number) => isAllowed(rules, from, to, port);
  assert.ok(passes('100.64.0.4', '100.64.0.45', 22) && passes('fd7a:115c:a1e0::4', '100.64.0.8', 22));
  assert.ok(!passes('100.64.0.8', '100.64.0.45', 22), 'a guest is no owner');
  assert.ok(passes('100.64.0.8', '100.64.0.45', 80) && passes('100.64.0.8', '100.64.0.45', 8010));
  assert.ok(!passes('100.64.0.8', '100.64.0.45', 8011) && !passes('100.64.0.4', '100.64.0.45', 80));
  assert.ok(passes('100.64.0.45', '100.64.0.8', 9090) && !passes('100.64.0.45', '100.64.0.16', 9090));
  assert.ok(passes('100.64.0.8', '100.64.0.4', 3100) && !passes('100.64.0.45', '100.64.0.4', 3100));
  assert.ok(passes('100.64.0.8', '100.64.0.8', 5900) && !passes('100.64.0.8', '100.64.0.4', 5900), 'self');
  assert.ok(isAllowed(compile({}).rules(), '1.2.3.4', '5.6.7.8', 1), 'without acls everything passes');
  assert.deepEqual(compile({ acls: [] }).rules(), []);
});

test('names that nobody defined are refused as the server does, and what it can’t compile loudly', () => {
  const refused = (policy: Policy, message: RegExp) =>
    assert.throws(() => compile(policy).rules(), { message });
  refused({ acls: [accept(['tag:nobody'], ['*:22'])] }, /tag not found: "tag:nobody"/);
  refused({ acls: [accept(['group:nobody'], ['*:22'])] }, /group not found/);
  refused({ acls: [accept(['x@example.com'], ['*:22'])] }, /user not found/);
  refused({ acls: [accept(['*'], ['nowhere:22'])] }, /host not found/);
  refused({ acls: [accept(['*'], ['100.64.0.8'])] }, /port range is missing/);
  refused({ acls: [{ ...accept(['*'], ['*:1']), action: 'drop' }] }, /action="drop" is not supported/);
  assert.throws(() => compile({ acls: [accept(['*'], ['autogroup:internet:443'])] }).rules(), NotKnown);
  assert.throws(() => compile({ acls: [{ ...accept(['*'], ['*:1']), proto: 'sctp' }] }).rules(), NotKnown);
  assert.throws(() => compile({ grants: [{ src: ['*'], dst: ['*'], app: {} } as object] }).rules(), NotKnown);
  assert.throws(() => new Compiler({ alcs: [] } as Policy, { devices: [], users: [] }), PolicyError);
});

test('a policy’s own tests are run over it', () => {
  const acls = [accept(['mac'], ['pi:22'])];
  const hosts = { mac: '100.64.0.4', pi: '100.64.0.8' };
  const failures = (tests: Policy['tests']) => compile({ hosts, acls, tests: tests ?? [] }).failures();
  assert.deepEqual(failures([{ src: 'mac', accept: ['pi:22'], deny: ['pi:23'] }]), []);
  assert.deepEqual(
    failures([
      { src: 'pi', accept: ['mac:22'] },
      { src: 'mac', deny: ['pi:22'] },
    ]),
    [
      { user: 'pi', errors: ['address "mac:22": want: Accept, got: Drop'] },
      { user: 'mac', errors: ['address "pi:22": want: Drop, got: Accept'] },
    ],
  );
});
