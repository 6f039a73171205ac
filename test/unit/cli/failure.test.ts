// One place turns what a command throws into a message.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import * as z from 'zod';
import { messageOf } from '../../../cli/failure.ts';

function thrown(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('it did not throw');
}

const RAW = /ZodError|✖|\bat .*\.ts:\d+|E[A-Z]{4,}:|\n\s+at /;

test('a message of ours is passed on as it is', () => {
  assert.equal(
    messageOf(new Error('there is no Host/pi: did you mean pie?')),
    'there is no Host/pi: did you mean pie?',
  );
});

test('an error of the system has words and its place', () => {
  const error = thrown(() => fs.readFileSync('/nonexistent/file'));
  assert.equal(messageOf(error), '/nonexistent/file: no such file or directory (ENOENT)');
});

test('what only a program does wrong is called a defect, with its place, and without a stack', () => {
  for (const work of [
    () => (undefined as unknown as { hosts: string[] }).hosts.length,
    () => new URL('nonsense'),
    () => JSON.parse('<html>'),
    () => z.object({ hosts: z.array(z.string()) }).parse({}),
    () => fs.readFileSync(null as unknown as string),
    () => new Array(-1),
  ]) {
    const message = messageOf(thrown(work));
    assert.match(message, /^this is a defect in homeostat \(failure\.test\.ts, line \d+\): ./);
    assert.doesNotMatch(message, RAW);
  }
  assert.equal(messageOf('a string'), 'this is a defect in homeostat: a string was thrown');
});

test('an older Node than the program needs is said to be it', () => {
  const error = thrown(() =>
    process.getBuiltinModule('node:module').createRequire(import.meta.url)('node:none'),
  );
  const { engines } = JSON.parse(fs.readFileSync('package.json', 'utf8')) as { engines: { node: string } };
  assert.equal(engines.node, '>=24');
  assert.match(
    messageOf(error),
    /^it needs Node 24 or newer, and \/.*node is v\d+.*: put another before it on PATH/,
  );
});
