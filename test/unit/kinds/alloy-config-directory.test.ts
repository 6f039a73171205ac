// AlloyConfig, where Alloy loads a directory as a whole, and what it was started with: a real agent, against a fake Alloy.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { sha256 } from '../../../api/json.ts';
import { parseCommandLine, validateFlags } from '../../../kinds/alloy-config/command-line.ts';
import { directoryHash } from '../../../kinds/alloy-config/files.ts';
import { lockouts } from '../../../kinds/alloy-config/http-block.ts';
import { alloyConfig } from '../../../kinds/alloy-config/index.ts';
import { lineWith } from '../../support/alloy-line.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeAlloy } from '../../support/fake-alloy.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource } from '../../support/timeline.ts';

const KEY = 'AlloyConfig/alloy';

/** An Alloy that loads the whole directory, in which somebody has a file. */
function setting(t: TestContext, loads?: string) {
  const directory = path.join(temporaryDirectory(t), 'alloy');
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, 'theirs.alloy'), '// theirs\n');
  const alloy = new FakeAlloy(loads === undefined ? directory : path.join(directory, loads));
  alloy.start();
  const { line, units } = lineWith(t, alloy);
  const at = (name: string) => path.join(directory, name);
  const assign = (spec: object) =>
    void line.assign(resource('AlloyConfig', 'alloy', { path: at('main.alloy'), ...spec }));
  return { line, alloy, units, directory, at, assign };
}

test('while a directory is validated, nothing of the copy can be loaded with it', async (t) => {
  const { line, alloy, directory, at, assign } = setting(t);
  const seen: string[][] = [];
  const copies: Record<string, string>[] = [];
  alloy.invalid = () => {
    seen.push(fs.readdirSync(directory).filter((name) => name.endsWith('.alloy')));
    const copy = alloy.validations.at(-1)!.at(-1)!;
    copies.push(
      Object.fromEntries(
        fs.readdirSync(copy).map((name) => [name, fs.readFileSync(path.join(copy, name), 'utf8')]),
      ),
    );
    return undefined;
  };
  assign({ content: '// ours\n' });
  await line.expect(KEY, 'True', 'Applied');
  assert.ok(seen.length > 0);
  for (const names of seen) assert.deepEqual(names, ['theirs.alloy']);
  assert.deepEqual(copies[0], { 'main.alloy': '// ours\n', 'theirs.alloy': '// theirs\n' });
  assert.deepEqual(fs.readdirSync(directory).sort(), ['main.alloy', 'theirs.alloy'], 'nothing is left');
  assert.equal(alloy.loaded, '// ours\n// theirs\n');
  assert.equal(fs.readFileSync(at('theirs.alloy'), 'utf8'), '// theirs\n');
});

test('a fault that was there before the change is its owner’s, and one that came with it is ours', async (t) => {
  const { line, alloy, at, assign } = setting(t);
  fs.writeFileSync(at('theirs.alloy'), 'invalid\n');
  assign({ content: '// ours\n' });
  await line.expect(KEY, 'False', 'NeighbourRefused');
  assert.match(line.condition(KEY, 'Ready')!.message, /theirs\.alloy:1:1/);
  assert.equal(fs.existsSync(at('main.alloy')), false);
  // Mended by its owner: that wakes, and nobody has to commit.
  fs.writeFileSync(at('theirs.alloy'), '// needs ours\n');
  await line.expect(KEY, 'True');

  // What theirs refers to leaves ours: Alloy finds the fault in theirs.
  alloy.invalid = (text) =>
    text.includes('needs ours') &&
    !fs.readFileSync(path.join(alloy.validations.at(-1)!.at(-1)!, 'main.alloy'), 'utf8').includes('// ours')
      ? 'no such component'
      : undefined;
  assign({ content: '// other\n' });
  await line.expect(KEY, 'False', 'Invalid');
  assert.equal(fs.readFileSync(at('main.alloy'), 'utf8'), '// ours\n');
});

test('a heal reloads no directory in which somebody else’s file is refused', async (t) => {
  const { line, alloy, at, assign } = setting(t);
  assign({ content: '// ours\n' });
  await line.expect(KEY, 'True');
  const { loaded } = alloy;
  await line.agent.suspend(KEY, 60_000, 'the test edits');
  fs.writeFileSync(at('theirs.alloy'), 'invalid\n');
  fs.writeFileSync(at('main.alloy'), '// edited\n');
  line.agent.resume(KEY);
  await line.expect(KEY, 'False', 'NeighbourRefused');
  assert.equal(fs.readFileSync(at('main.alloy'), 'utf8'), '// ours\n', 'ours is put back all the same');
  assert.equal(alloy.loaded, loaded);
  fs.writeFileSync(at('theirs.alloy'), '// theirs again\n');
  await line.expect(KEY, 'True');
  assert.equal(alloy.loaded, '// ours\n// theirs again\n');
});

test('an http block of somebody else’s that would lock us out is theirs to mend', async (t) => {
  const { line, at, assign } = setting(t);
  const text = 'http {\n  auth {\n    basic {\n      username = "a"\n      password = "b"\n    }\n  }\n}\n';
  fs.writeFileSync(at('theirs.alloy'), text);
  assign({ content: '// ours\n' });
  await line.expect(KEY, 'False', 'NeighbourRefused');
  assert.match(line.condition(KEY, 'Ready')!.message, /theirs\.alloy:2:3: http \{ auth \}/);
});

test('a document that becomes one of several files keeps its place, and what it drops goes', async (t) => {
  const { line, directory, at, assign } = setting(t);
  fs.writeFileSync(at('main.alloy'), '// as the user had it\n');
  assign({ content: '// ours\n' });
  await line.expect(KEY, 'True');
  assign({ path: directory, files: { 'a.alloy': { content: '// a\n' }, 'b.alloy': { content: '// b\n' } } });
  await eventually(() =>
    assert.deepEqual(fs.readdirSync(directory).sort(), ['a.alloy', 'b.alloy', 'theirs.alloy']),
  );
  await line.expect(KEY, 'True');
  line.assign();
  await line.expectGone(KEY);
  assert.deepEqual(fs.readdirSync(directory).sort(), ['main.alloy', 'theirs.alloy']);
  assert.equal(fs.readFileSync(at('main.alloy'), 'utf8'), '// as the user had it\n');
});

test('a file that a document got later must be nobody’s, and what it gave up is not its own any more', async (t) => {
  const { line, directory, at, assign } = setting(t);
  const files = (...names: string[]) => ({
    path: directory,
    files: Object.fromEntries(names.map((name) => [name, { content: `// ours ${name}\n` }])),
  });
  assign(files('a.alloy'));
  await line.expect(KEY, 'True');
  assign(files('a.alloy', 'theirs.alloy'));
  await line.expect(KEY, 'False', 'NotOurs');
  assert.equal(fs.readFileSync(at('theirs.alloy'), 'utf8'), '// theirs\n');
  assign(files('a.alloy', 'b.alloy'));
  await line.expect(KEY, 'True');
  assign(files('a.alloy'));
  await eventually(() => assert.deepEqual(fs.readdirSync(directory).sort(), ['a.alloy', 'theirs.alloy']));
  await line.expect(KEY, 'True');
  // Somebody else's by now, whatever its name was before.
  fs.writeFileSync(at('b.alloy'), '// theirs, too\n');
  await line.expect(KEY, 'True');
  line.assign();
  await line.expectGone(KEY);
  assert.deepEqual(fs.readdirSync(directory).sort(), ['b.alloy', 'theirs.alloy']);
  assert.equal(fs.readFileSync(at('b.alloy'), 'utf8'), '// theirs, too\n');
});

test('a change of several files that is refused takes all of them back', async (t) => {
  const { line, alloy, directory, assign } = setting(t);
  const spec = (a: string, b: Record<string, object>) => ({
    path: directory,
    files: { 'a.alloy': { content: a }, ...b },
  });
  assign(spec('// a\n', { 'b.alloy': { content: '// b\n' } }));
  await line.expect(KEY, 'True');
  assign(spec('// refused\n', { 'c.alloy': { content: '// c\n' } }));
  await line.expect(KEY, 'False', 'RolledBack');
  assert.deepEqual(fs.readdirSync(directory).sort(), ['a.alloy', 'b.alloy', 'theirs.alloy']);
  assert.equal(alloy.loaded, '// a\n// b\n// theirs\n');
});

test('an Alloy that was started with another config is not reloaded, and that is reported', async (t) => {
  const { line, alloy, assign } = setting(t, 'theirs.alloy');
  assign({ content: '// ours\n' });
  await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.reason, 'FlagsDiffer'));
  assert.match(
    line.condition(KEY, 'Ready')!.message,
    /the config .*theirs\.alloy, and the document keeps .*main\.alloy/,
  );
  assert.deepEqual(alloy.reloads, []);
});

test('a file of another name in the directory, with the one of the document loaded alone, is nobody’s business', async (t) => {
  const { line, alloy, at, assign } = setting(t, 'main.alloy');
  assign({ content: '// ours\n' });
  await line.expect(KEY, 'True');
  fs.writeFileSync(at('theirs.alloy'), 'invalid\n');
  line.agent.reconcile(KEY);
  await line.expect(KEY, 'True');
  assert.equal(alloy.loaded, '// ours\n');
});

test('validate gets the flags of the Alloy that runs, but for what the document says, and none that it does not take', async (t) => {
  const { line, alloy, assign } = setting(t, 'main.alloy');
  alloy.flags = ['--server.http.listen-addr=127.0.0.1:12345', '--stability.level', 'experimental'];
  alloy.flags.push('--feature.community-components.enabled', '--storage.path=/var/lib/alloy');
  assign({ content: '// ours\n' });
  await line.expect(KEY, 'True');
  const flags = ['--stability.level=experimental', '--feature.community-components.enabled=true'];
  assert.deepEqual(alloy.validations[0]!.slice(0, -1), ['validate', ...flags]);
});

test('a command line is read as Alloy reads it, and what is none is not guessed at', () => {
  const parse = (line: string) => parseCommandLine(line.split(' '));
  const debian = parse('/usr/bin/alloy run --storage.path=/var/lib/alloy/data /etc/alloy');
  assert.equal(debian?.config, '/etc/alloy');
  assert.deepEqual(
    [debian?.stability, debian?.communityComponents, debian?.format],
    ['generally-available', false, 'alloy'],
  );
  assert.deepEqual(debian?.forValidate, []);
  const apart = parse(
    'alloy run /etc/alloy/c.alloy --disable-reporting --storage.path /data --config.extra-args -x',
  );
  assert.equal(apart?.config, '/etc/alloy/c.alloy');
  assert.deepEqual(apart?.forValidate, ['--config.extra-args=-x']);
  assert.equal(
    parse('alloy run --feature.community-components.enabled=false x.alloy')?.communityComponents,
    false,
  );
  assert.equal(parse('alloy run x.alloy')?.config, undefined, 'from which directory is not known');
  assert.equal(parse('/bin/sh -c start-alloy'), undefined);
  assert.equal(parse('run alloy'), undefined);
  const spec = alloyConfig.spec.parse({ content: 'x', stability: 'public-preview' }) as never;
  const running = parse('alloy run --stability.level=experimental --config.format=otelcol /x');
  assert.deepEqual(validateFlags(spec, running), [
    '--stability.level=public-preview',
    '--config.format=otelcol',
  ]);
  assert.deepEqual(validateFlags(spec, undefined), ['--stability.level=public-preview']);
});

test('a directory’s hash is of all its files, in the order of their names', () => {
  const contents = new Map([
    ['b.alloy', Buffer.from('2')],
    ['a.alloy', Buffer.from('1')],
  ]);
  assert.equal(directoryHash(contents), sha256('12'));
});

test('what locks us out is found by its line, and what has to be evaluated is not guessed at', () => {
  const none = { basicAuth: undefined, tls: false };
  const at = (text: string, credentials: Parameters<typeof lockouts>[1] = none) =>
    lockouts(text, credentials).map(({ line, column }) => `${line}:${column}`);
  const auth = (filter: string, password = '"p"') =>
    `// http { auth { basic { } } }\nhttp {\n  auth {\n    basic {\n      username = "u"\n      password = ${password}\n    }\n${filter}\n  }\n}\n`;
  assert.deepEqual(at(auth('')), ['3:3']);
  assert.deepEqual(at(auth('filter { }')), [], 'an empty filter closes nothing');
  assert.deepEqual(at(auth('filter { paths = ["/"] }')), ['3:3']);
  assert.deepEqual(at(auth('filter { paths = ["/ui"] }')), []);
  const open = 'paths = ["/-/", "/metrics",\n"/api/v0/web/components"]\nauthenticate_matching_paths = false';
  assert.deepEqual(at(auth(`filter {\n${open}\n}`)), []);
  assert.deepEqual(at(auth('filter {\npaths = ["/metrics"]\nauthenticate_matching_paths = false\n}')), [
    '3:3',
  ]);
  assert.deepEqual(at(auth('filter { paths = local.file.x.content }')), []);
  assert.deepEqual(at('http {\n  auth { }\n}\n'), [], 'without basic nothing is asked for');
  const as = (username: string, password?: string) => ({ basicAuth: { username, password }, tls: false });
  assert.deepEqual(at(auth(''), as('u', 'p')), []);
  assert.deepEqual(at(auth(''), as('u', 'q')), ['3:3']);
  assert.deepEqual(at(auth(''), as('v')), ['3:3']);
  assert.deepEqual(at(auth('', 'sys.env("P")'), as('u', 'q')), []);
  const tls = (more: string) => `http {\n\ttls {\n\t\tcert_file = "c"\n${more}\n\t}\n}\n`;
  assert.deepEqual(at(tls('')), ['2:2']);
  assert.deepEqual(at(tls(''), { basicAuth: undefined, tls: true }), []);
  const client = tls('client_auth_type = "RequireAndVerifyClientCert"');
  assert.deepEqual(at(client, { basicAuth: undefined, tls: true }), ['2:2']);
  assert.deepEqual(at('mine.http "x" {\n  auth {\n    basic { }\n  }\n}\n'), []);
});

test('the controller finds a lockout in the text of the manifest', () => {
  const content = '// one\nhttp {\n  tls { }\n}\n';
  const [found] = alloyConfig.check!(alloyConfig.spec.parse({ content }));
  assert.deepEqual([found?.path, found?.place], [['content'], { line: 3, column: 3 }]);
  const files = { 'a.alloy': { content } };
  const [other] = alloyConfig.check!(alloyConfig.spec.parse({ path: '/etc/alloy', files }));
  assert.deepEqual(other?.path, ['files', 'a.alloy', 'content']);
});

test('several files are those of a directory, with a content each', () => {
  const check = (spec: object) =>
    alloyConfig.check!(alloyConfig.spec.parse(spec)).map(
      ({ path: at, message }) => `${at.join('.')}: ${message}`,
    );
  const files = { 'a.alloy': { content: '// a\n' } };
  assert.deepEqual(check({ files }), []);
  assert.match(check({ files, content: 'x' })[0]!, /^content: files and content exclude each other/);
  assert.match(check({ files: { 'a.alloy': {} } })[0]!, /^files\.a\.alloy: a file needs content/);
  assert.match(check({ files, path: '/etc/alloy/a.alloy' })[0]!, /^path: .*that of the directory/);
  assert.match(check({ files: {} })[0]!, /names no file/);
  assert.equal(alloyConfig.spec.safeParse({ files: { 'a.conf': { content: 'x' } } }).success, false);
  assert.deepEqual(alloyConfig.owns(alloyConfig.spec.parse({ files })), ['file:/etc/alloy/a.alloy']);
});
