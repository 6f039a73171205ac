// TailnetPolicy: how it reads HuJSON, whom it lets overwrite what, and what it says when the API refuses.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createHttp } from '../../../agent/providers/http.ts';
import { readAnswer } from '../../../kinds/tailnet-policy/answers.ts';
import { HujsonError, layOut, readHujson, sameHujson } from '../../../kinds/tailnet-policy/hujson.ts';
import { tailnetPolicy } from '../../../kinds/tailnet-policy/index.ts';
import { FakeClock } from '../../support/clock.ts';
import { desiredOf } from '../../support/desired.ts';
import { eventually } from '../../support/eventually.ts';
import { TailscaleApi, type TailscaleApiOptions } from '../../support/tailscale-api/server.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const RECORDED = path.join(import.meta.dirname, '../../support/tailscale-api/recorded');
const KEY = 'TailnetPolicy/acl';

test('HuJSON is read where Tailscale’s own reader reads it, and refused at the same place', () => {
  const verdicts = JSON.parse(fs.readFileSync(path.join(RECORDED, 'verdicts.json'), 'utf8')) as {
    text: string;
    accepted: boolean;
    message?: string;
  }[];
  assert.ok(verdicts.length > 40);
  for (const { text, accepted, message } of verdicts) {
    // A policy is an object.
    if (accepted && !/^\s*(?:\/|\{)/.test(text)) continue;
    const said = JSON.stringify(text);
    try {
      readHujson(text);
      assert.ok(accepted, `${said} is read, and hujson says: ${message}`);
    } catch (error) {
      if (!(error instanceof HujsonError)) throw error;
      assert.ok(!accepted, `${said} is refused: ${error.message}`);
      const line = Number(/line (\d+)/.exec(message!)![1]);
      assert.ok(Math.abs(error.line - line) <= 1, `${said}: line ${error.line}, and hujson says ${message}`);
    }
  }
});

test('what Tailscale’s server makes of a policy is the same policy; what people change is not', () => {
  const read = (name: string) => readHujson(fs.readFileSync(path.join(RECORDED, name), 'utf8'));
  for (const name of ['stack', 'messy', 'standard']) {
    assert.ok(sameHujson(read(`${name}.hujson`), read(`${name}.formatted.hujson`)), name);
  }
  const one = readHujson('// why\n{"acls": [{"a": 1}, 2], "b": "x",}\n');
  const isSame = (text: string) => sameHujson(one, readHujson(text));
  assert.ok(isSame('//  why  \n{ "acls":\n[{"a":1,},2,],\n"\\u0062":"x"}'.replace('//  why', '// why')));
  for (const other of [
    '// why not\n{"acls": [{"a": 1}, 2], "b": "x"}\n',
    '{"acls": [{"a": 1}, 2], "b": "x"}\n',
    '// why\n{"acls": [{"a": 1}, 3], "b": "x"}\n',
    '// why\n{"acls": [{"a": 1}, 2], "b": 1}\n',
    '// why\n{"b": "x", "acls": [{"a": 1}, 2]}\n',
    '// why\n{"acls": [{"a": 1}, 2], "b": "x", "c": []}\n',
  ]) {
    assert.ok(!isSame(other), other);
  }
});

test('every JSON is read as JSON.parse reads it, and laying it out changes nothing of it', () => {
  const object = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }));
  fc.assert(
    fc.property(object, fc.integer({ min: 0, max: 3 }), (value, indent) => {
      const text = `// c\n${JSON.stringify(value, null, indent)}`;
      const policy = readHujson(text);
      assert.deepEqual(Object.fromEntries(policy.sections), JSON.parse(JSON.stringify(value)));
      assert.ok(sameHujson(policy, readHujson(layOut(policy))));
    }),
    { numRuns: 200 },
  );
});

test('check points at the line, and warns of what is unwise', () => {
  const check = (spec: object) =>
    tailnetPolicy.check!({ apiKey: { secretFrom: { env: 'X' } }, ...spec }).map(
      ({ message, severity = 'error', place }) =>
        `${severity} ${place?.line ?? ''}:${place?.column ?? ''} ${message}`,
    );
  const good = '{"acls": [], "tests": [{}], "somethingNew": {}}';
  assert.deepEqual(check({ content: good }), []);
  assert.match(
    check({ content: '{\n  "acls": [],\n  "tests" [{}]\n}' }).join(),
    /^error 3:11 ":" is expected after "tests"/,
  );
  assert.match(check({ content: '{"acls": []}' }).join(), /^warning : the policy has no tests/);
  assert.match(
    check({ content: '{"tests": [{}]}' }).join(),
    /^warning : the policy has neither acls nor grants/,
  );
  assert.match(
    check({ content: good.replace('somethingNew', 'acls') }).join(),
    /^warning 1:29 "acls" stands twice/,
  );
  assert.match(check({}).join(), /give either content or contentFrom/);
  assert.match(check({ content: good, oauth: {} }).join(), /give either oauth.* or apiKey/);
  assert.match(
    check({ content: good, api: 'http://100.64.0.1:80' }).join(),
    /^warning : the secret would go over the network/,
  );
});

const policy = (ports: string, comment = 'ours') => `{
  // ${comment}
  "acls": [{"action": "accept", "src": ["*"], "dst": ["*:${ports}"]}],
  "tests": [{"src": "100.64.0.4", "accept": ["100.64.0.8:22"]}],
}
`;

async function open(t: TestContext, options: Partial<TailscaleApiOptions> = {}) {
  const served = new TailscaleApi({ tailnet: { devices: [], users: [] }, ...options });
  const api = await served.start();
  const http = createHttp();
  // A minute of polling takes 6 ms.
  const clock = { ...systemClock, sleep: (ms: number, s?: AbortSignal) => systemClock.sleep(ms / 10_000, s) };
  const client = served.addClient('policy_file');
  const env: Record<string, string> = { ID: client.id, SECRET: client.secret };
  const timeline = new Timeline(t, {
    ports: { http, clock },
    env,
  }).start();
  timeline.afterStop.push(
    () => void http.close(),
    () => void served.stop(),
  );
  const oauth = { clientID: { secretFrom: { env: 'ID' } }, clientSecret: { secretFrom: { env: 'SECRET' } } };
  const assign = (spec: object, more: object = {}) =>
    timeline.assign(resource('TailnetPolicy', 'acl', { api, oauth, ...spec }, more));
  const writes = () => served.asked.filter((a) => a.startsWith('POST') && a.includes('/acl If-Match'));
  return { served, timeline, assign, writes, env };
}

test('a policy that was not imported is left alone, and the way on is said', async (t) => {
  const { served, timeline, assign, writes } = await open(t);
  await served.edit(() => policy('443', 'theirs').replace(/ *"tests".*\n/, ''));
  assign({ content: policy('22') });
  const status = await timeline.expect(KEY, 'False', 'NotImported');
  const { message } = status.conditions.find(({ type }) => type === 'Ready')!;
  assert.match(message, new RegExp(`ETag is ${served.etag}.*homeostat import tailnet-policy`));
  assert.deepEqual(writes(), []);
  // Made from another policy than the one that is there now: somebody was quicker.
  assign({ content: policy('22'), importedFrom: 'a'.repeat(64) });
  await timeline.expect(KEY, 'False', 'NotImported');
  assert.match(served.text, /theirs/);
  assign({ content: policy('22'), importedFrom: served.etag });
  await timeline.expect(KEY, 'True');
  assert.match(served.text, /ours/);
});

test('whoever edits while the first write is on its way is not overwritten either', async (t) => {
  const { served, timeline, assign } = await open(t);
  served.beforeWrite = () => {
    served.beforeWrite = undefined;
    return served.edit((text) => text.replace('unrestricted', 'quickly edited'));
  };
  assign({ content: policy('22'), importedFrom: served.etag });
  await timeline.expect(KEY, 'False', 'NotImported');
  assert.match(served.text, /quickly edited/);
});

test('one that is equal to git is known from then on, whoever wrote it', async (t) => {
  const { served, timeline, assign, writes } = await open(t);
  await served.edit(() => policy('22'));
  assign({ content: policy('22') });
  await timeline.expect(KEY, 'True');
  assert.deepEqual(writes(), []);
  assign({ content: policy('22,443') });
  await eventually(() => assert.match(served.text, /22,443/));
  await timeline.expect(KEY, 'True');
});

test('ts-default replaces the policy that nobody edited, and no other', async (t) => {
  const { served, timeline, assign, writes } = await open(t);
  assign({ content: policy('22'), importedFrom: 'ts-default' });
  await timeline.expect(KEY, 'True');
  assert.deepEqual(writes(), ['POST /api/v2/tailnet/-/acl If-Match: "ts-default"']);
  assign({ content: policy('22,443'), importedFrom: 'ts-default' });
  await eventually(() => assert.match(served.text, /22,443/));
  await timeline.expect(KEY, 'True');

  const other = await open(t);
  await other.served.edit((text) => text.replace('unrestricted', 'edited'));
  const edited = other.served.text;
  other.assign({ content: policy('22'), importedFrom: 'ts-default' });
  await other.timeline.expect(KEY, 'False', 'NotImported');
  assert.equal(other.served.text, edited);
});

test('an edit in the admin console is noticed by polling and put back, its comments too', async (t) => {
  const { served, timeline, assign } = await open(t);
  assign({ content: policy('22'), importedFrom: 'ts-default' });
  await timeline.expect(KEY, 'True');
  const ours = served.text;
  await served.edit((text) => text.replace('*:22', '*:*'));
  await eventually(() => assert.equal(timeline.status(KEY).healedTotal, 1));
  assert.equal(served.text, ours);
  await served.edit((text) => text.replace('// ours', '// theirs'));
  await eventually(() => assert.equal(timeline.status(KEY).healedTotal, 2));
  assert.equal(served.text, ours);
});

test('with drift: warn it is reported with its diff, and left', async (t) => {
  const { served, timeline, assign, writes } = await open(t);
  assign({ content: policy('22'), importedFrom: 'ts-default' });
  await timeline.expect(KEY, 'True');
  assign({ content: policy('22'), importedFrom: 'ts-default' }, { drift: 'warn' });
  await eventually(() => assert.equal(timeline.agent.status().sequence.running, 2));
  await served.edit((text) => text.replace('*:22', '*:*'));
  await eventually(() => assert.equal(timeline.condition(KEY, 'Ready')?.reason, 'Drifted'));
  const plan = await timeline.agent.plan();
  const change = plan.find(({ key }) => key === KEY)?.changes[0];
  // What was laid out anew is in the diff on neither side.
  const lines = (text: string) => new Set(text.split('\n'));
  const [before, after] = [lines(change!.text!.before), lines(change!.text!.after)];
  assert.deepEqual(
    [...before.difference(after)].map((l) => l.trim()),
    ['"*:*"'],
  );
  assert.deepEqual(
    [...after.difference(before)].map((l) => l.trim()),
    ['"*:22"'],
  );
  assert.equal(writes().length, 1);
});

test('somebody who edits while it is applied is not overwritten unseen', async (t) => {
  const { served, timeline, assign, writes } = await open(t);
  assign({ content: policy('22'), importedFrom: 'ts-default' });
  await timeline.expect(KEY, 'True');
  served.beforeWrite = () => {
    served.beforeWrite = undefined;
    return served.edit((text) => text.replace('// ours', '// quicker'));
  };
  assign({ content: policy('22,80') });
  await eventually(() => assert.match(served.text, /22,80/));
  await timeline.expect(KEY, 'True');
  assert.equal(writes().length, 3, 'one was refused, and what came of it was looked at again');
  assert.equal(new Set(writes()).size, 3, 'each names the policy that it replaces');
});

test('a policy that Tailscale refuses is never written; what fails stands in the condition', async (t) => {
  const { served, timeline, assign, writes } = await open(t);
  assign({ content: policy('22'), importedFrom: 'ts-default' });
  await timeline.expect(KEY, 'True');
  assign({ content: policy('443') });
  const failing = await timeline.expect(KEY, 'False', 'Invalid');
  assert.match(
    failing.conditions.find(({ type }) => type === 'Ready')!.message,
    /test\(s\) failed: from 100\.64\.0\.4: address "100\.64\.0\.8:22": want: Accept, got: Drop/,
  );
  assign({ content: policy('22').replace('"src": ["*"]', '"src": ["tag:nobody"]') });
  await eventually(() =>
    assert.match(timeline.condition(KEY, 'Ready')!.message, /tag not found: "tag:nobody"/),
  );
  assert.equal(writes().length, 1);
  // What was confirmed is kept up meanwhile.
  await served.edit((text) => text.replace('// ours', '// theirs'));
  timeline.agent.reconcile(KEY);
  await eventually(() => assert.match(served.text, /\/\/ ours/));
});

for (const prune of ['orphan', 'delete', 'freely'] as const) {
  test(`removal leaves the policy as it is, with prune: ${prune} too`, async (t) => {
    const { served, timeline, assign, writes } = await open(t);
    assign({ content: policy('22'), importedFrom: 'ts-default' }, { prune, scope: 'fleet' });
    await timeline.expect(KEY, 'True');
    const ours = served.text;
    timeline.assign();
    await timeline.expectGone(KEY);
    assert.equal(served.text, ours);
    assert.equal(writes().length, 1);
  });
}

test('another tailnet is another policy: it is not overwritten because the first one was ours', async (t) => {
  const { served, timeline, assign, writes } = await open(t, { organisation: 'example.com' });
  assign({ content: policy('22'), importedFrom: 'ts-default' });
  await timeline.expect(KEY, 'True');
  // The same stand-in, as if it were another one.
  await served.edit((text) => text.replace('// ours', '// another tailnet’s'));
  assign({ content: policy('22,80'), tailnet: 'example.com' });
  await timeline.expect(KEY, 'False', 'NotImported');
  assert.deepEqual(
    writes().filter((w) => w.includes('example.com')),
    [],
  );
});

test('a token is used until it expires; one that was revoked is replaced; an API key does as well', async (t) => {
  const served = new TailscaleApi({ tailnet: { devices: [], users: [] } });
  const api = await served.start();
  const http = createHttp();
  t.after(() => Promise.all([http.close(), served.stop()]));
  const { id, secret } = served.addClient('policy_file:read');
  const clock = new FakeClock();
  const spec = {
    api,
    content: policy('22'),
    oauth: { clientID: id, clientSecret: { secretFrom: { env: 'S' } } },
  };
  const d = desiredOf<Record<string, unknown>>(KEY, spec, {
    digest: '',
    content: (v) => ({ bytes: Buffer.from(typeof v === 'string' ? v : secret), secret: true }),
  });
  const observe = (more: object = {}) =>
    tailnetPolicy.observe({ ...d, ...more }, { http, clock } as never, new AbortController().signal);
  const tokens = () => served.asked.filter((a) => a.endsWith('/oauth/token')).length;
  await observe();
  await observe();
  assert.equal(tokens(), 1);
  await clock.advance(3_600_000);
  await observe();
  assert.equal(tokens(), 2);
  served.revokeTokens();
  await observe();
  assert.equal(tokens(), 3);
  const key = served.apiKey('policy_file:read');
  const { oauth: _, ...others } = spec;
  const content = () => ({ bytes: Buffer.from(`${key}\n`), secret: true });
  await observe({ spec: { ...others, apiKey: { secretFrom: { env: 'K' } } }, content });
  assert.equal(tokens(), 3);
});

test('each refusal says what to do about it', async (t) => {
  const { served, timeline, assign, env } = await open(t, { organisation: 'example.com' });
  const refused = async (spec: object, reason: string, message: RegExp) => {
    assign({ content: policy('22'), importedFrom: 'ts-default', ...spec });
    await eventually(() => {
      const ready = timeline.condition(KEY, 'Ready');
      assert.ok(ready);
      assert.equal(ready.reason, reason, ready.message);
      assert.match(ready.message, message);
    });
  };
  const client = (...scopes: string[]) => {
    const { id, secret } = served.addClient(...scopes);
    env[`S${id}`] = secret;
    return { oauth: { clientID: id, clientSecret: { secretFrom: { env: `S${id}` } } } };
  };
  const wrong = { clientID: 'nobody', clientSecret: { secretFrom: { env: 'SECRET' } } };
  await refused({ oauth: wrong }, 'Unauthorized', /OAuth client's id or secret is wrong/);
  await refused(
    client('devices:core'),
    'MissingScope',
    /needs the scope policy_file:read; it has devices:core/,
  );
  await refused({ tailnet: 'other.example' }, 'NoSuchTailnet', /is the tailnet's name right/);
  served.failing = { status: 429, headers: { 'retry-after': '1' }, body: '{"message":"slow down"}' };
  await refused({ tailnet: 'example.com' }, 'RateLimited', /slow down/);
  served.failing = undefined;
  await timeline.expect(KEY, 'True');
  assign({ content: policy('22,80'), tailnet: 'example.com', ...client('policy_file:read') });
  await timeline.expect(KEY, 'False', 'MissingScope');
  assert.match(timeline.condition(KEY, 'Ready')!.message, /writing the policy.*needs the scope policy_file;/);
});

test('the API away for a while is waited out', async (t) => {
  const { served, timeline, assign } = await open(t);
  served.failing = { status: 503, body: 'upstream' };
  assign({ content: policy('22'), importedFrom: 'ts-default' });
  await timeline.expect(KEY, 'False', 'Error');
  served.failing = undefined;
  await timeline.expect(KEY, 'True');
});

test('what the API says is understood in whatever shape it comes', () => {
  const test = (more: object) =>
    JSON.stringify({ message: 'test(s) failed', data: [{ user: 'a', ...more }] });
  const other = (data: unknown) => JSON.stringify({ message: 'src=tag not found', data });
  const problems: Record<string, string | undefined> = {
    '{}': undefined,
    '': undefined,
    [test({ errors: ['x', 'y'] })]: 'test(s) failed: from a: x; from a: y',
    [test({ errors: 'x' })]: 'test(s) failed: from a: x',
    [test({ errors: { line: 2 } })]: 'test(s) failed: from a: {"line":2}',
    [test({ errors: null })]: 'test(s) failed',
    [other('see the documentation')]: 'src=tag not found: see the documentation',
    [other({ line: 2 })]: 'src=tag not found: {"line":2}',
    [other(null)]: 'src=tag not found',
    [other(['x', 7, null])]: 'src=tag not found',
    [JSON.stringify({ message: 7, data: [{ errors: ['x'] }] })]: 'x',
  };
  for (const [body, problem] of Object.entries(problems))
    assert.equal(readAnswer(body)?.problem, problem, body);
  assert.deepEqual(readAnswer('{"message":"warning(s) found","data":[{"user":"a","warnings":["w"]}]}'), {
    warnings: ['from a: w'],
  });
  for (const body of ['<html>sign in</html>', '"text"', '[]'])
    assert.equal(readAnswer(body), undefined, body);
  fc.assert(
    fc.property(fc.json(), (body) => {
      readAnswer(body);
    }),
  );
});

test('a policy with the old spelling of its sections is read as Go reads it', () => {
  const check = (content: string) =>
    tailnetPolicy.check!({ apiKey: { secretFrom: { env: 'X' } }, content }).map(({ message }) => message);
  assert.deepEqual(check('{"ACLs": [], "Tests": [{}], "TagOwners": {}}'), []);
  assert.match(check('{"ACLs": [], "acls": [], "tests": [{}]}').join(), /^"acls" stands twice/);
  assert.match(check('{"acls": [], "tests" = [{}]}').join(), /"=" is Terraform’s: .* stands ":"/);
});

test('what the server warns of is reported, and what answers without JSON refuses nothing', async (t) => {
  const { served, timeline, assign, writes } = await open(t);
  const body = '{"message":"warning(s) found","data":[{"user":"a","warnings":["nobody owns it"]}]}';
  served.validates = { status: 200, body };
  assign({ content: policy('22'), importedFrom: 'ts-default' });
  await timeline.expect(KEY, 'True');
  assert.match(timeline.condition(KEY, 'PolicyWarnings')!.message, /warns: from a: nobody owns it/);
  served.validates = { status: 200, body: '<html>sign in</html>' };
  assign({ content: policy('443'), importedFrom: 'ts-default' });
  const refused = await timeline.expect(KEY, 'False', 'Error');
  const { message } = refused.conditions.find(({ type }) => type === 'Ready')!;
  assert.match(message, /is no JSON .*is this Tailscale’s API/);
  assert.equal(writes().length, 1);
});
