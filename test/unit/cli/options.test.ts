// What the values of options may be, and what is said of those that they may not.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import * as options from '../../../cli/options.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const refuses = (parse: () => unknown, why: RegExp) => assert.throws(parse, { message: why });

test('a duration has a unit, and a least and a most', () => {
  const parse = options.duration('30d');
  assert.equal(parse('90s'), 90);
  assert.equal(parse('1.5h'), 5400);
  assert.equal(parse('30d'), 30 * 86_400);
  for (const wrong of ['', 'ever', '30', '-1s', '1e3s', '0x1s', ' 1s', '1w', 'Infinitys', '1h30m'])
    refuses(() => parse(wrong), /A duration is a number with s, m, h or d/);
  refuses(() => parse('0s'), /1s is the least/);
  refuses(() => parse('999999d'), /30d is the most/);
});

test('seconds are a number without a unit', () => {
  const parse = options.seconds(0.1, 86_400);
  assert.equal(parse('60'), 60);
  assert.equal(parse('0.1'), 0.1);
  for (const wrong of ['abc', '', '0', '-5', '1e2', 'NaN', 'Infinity', '86401', '10s', '0x10'])
    refuses(() => parse(wrong), /a number of seconds from 0.1 to 86400/);
});

test('a URL has http:// before it, and nothing behind the path', () => {
  assert.equal(options.url('http://127.0.0.1:8420/'), 'http://127.0.0.1:8420');
  assert.equal(options.url('https://mac.example.ts.net/base'), 'https://mac.example.ts.net/base');
  for (const forgotten of ['127.0.0.1:8420', 'localhost', 'mac.example.ts.net:8420/x', '[::1]:8420'])
    refuses(() => options.url(forgotten), /Write http:\/\/ before it: http:\/\//);
  for (const wrong of ['', 'ftp://x', 'http//x', 'file:///etc/passwd', 'javascript:alert(1)'])
    refuses(() => options.url(wrong), /begins with http:\/\/ or https:\/\//);
  for (const wrong of ['http://', 'http://a b', 'http://x:99999', 'http://[::1', 'http://%'])
    refuses(() => options.url(wrong), /It is not a URL/);
  refuses(() => options.url('http://x/?a=b'), /Leave out what follows/);
  refuses(() => options.url('http://me:secret@x'), /Leave out user and password/);
});

test('whatever a URL is, it is accepted as one to which paths are added, or refused in words', () => {
  const hosts = fc.oneof(
    fc.webUrl(),
    fc.string(),
    fc.string().map((s) => `http://${s}`),
    fc.domain(),
  );
  fc.assert(
    fc.property(hosts, (text) => {
      let url: string;
      try {
        url = options.url(text);
      } catch (error) {
        assert.doesNotMatch((error as Error).message, /Invalid URL/);
        return;
      }
      const full = new URL(`${url}/v1/fleet`);
      assert.ok(full.pathname.endsWith('/v1/fleet'), `${text} becomes ${full}`);
    }),
  );
});

test('paths: what is read must be there, what is written must have room', (t) => {
  const at = (name: string) => path.join(temporary, name);
  const temporary = temporaryDirectory(t);
  fs.writeFileSync(at('file'), 'x');
  fs.symlinkSync('loop', at('loop'));
  assert.equal(options.inputFile(at('file')), at('file'));
  refuses(() => options.inputFile(at('none')), /There is no such file/);
  refuses(() => options.inputFile(temporary), /It is a directory/);
  refuses(() => options.inputFile(at('file/x')), /There is no such file/);
  refuses(() => options.inputFile(at('loop')), /It can’t be looked at/);
  assert.equal(options.inputDirectory(temporary), temporary);
  refuses(() => options.inputDirectory(at('none')), /There is no directory/);
  refuses(() => options.inputDirectory(at('file')), /is not a directory/);
  assert.equal(options.file(at('new/deep/file')), at('new/deep/file'));
  refuses(() => options.file(temporary), /It is a directory/);
  refuses(() => options.file(at('file/x/y')), /file is a file, and nothing can be below it/);
  assert.equal(options.directory(at('new/deep')), at('new/deep'));
  refuses(() => options.directory(at('file')), /It is a file: name a directory/);
  refuses(() => options.directory('/proc/homeostat/x'), /Nothing can be made in \/proc/);
  for (const parse of [
    options.inputFile,
    options.inputDirectory,
    options.file,
    options.directory,
    options.socket,
  ]) {
    refuses(() => parse(''), /It is empty/);
    refuses(() => parse('a\0b'), /NUL/);
    refuses(() => parse('x'.repeat(5000)), /too long|at most|no such file|no directory/i);
  }
});

test('a socket is one, or is not there yet', async (t) => {
  const directory = temporaryDirectory(t);
  const place = path.join(directory, 's');
  const server = net.createServer().listen(place);
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  assert.equal(options.socket(place), place);
  assert.equal(options.socket(path.join(directory, 'later')), path.join(directory, 'later'));
  refuses(() => options.socket('/etc/passwd'), /It is not a socket/);
  refuses(() => options.socket(path.join(directory, 'x'.repeat(120))), /at most 107 bytes/);
});

test('what is no token is not repeated', () => {
  refuses(() => options.token('my-password'), /^what --token or HOMEOSTAT_TOKEN says is no token/);
});

test('an empty variable counts as none', (t) => {
  process.env['HOMEOSTAT_TEST_VARIABLE'] = '';
  t.after(() => delete process.env['HOMEOSTAT_TEST_VARIABLE']);
  const option = options.outputOption('json', 'yaml');
  assert.equal(options.orFrom('HOMEOSTAT_TEST_VARIABLE', option).envVar, undefined);
});
