// What is wrong with JSON, in words.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as z from 'zod';
import { inWords } from '../../../api/errors.ts';
import { jsonMistake, mistakesIn } from '../../../api/mistakes.ts';

function mistakeOf(text: string): string {
  try {
    JSON.parse(text);
  } catch (error) {
    return jsonMistake(text, error);
  }
  return 'it is JSON';
}

test('where a text stops being JSON, by line and column', () => {
  for (const [text, says] of [
    ['', 'it is empty'],
    ['  \n', 'it is empty'],
    ['{"a": 1', /line 1, column 8: expected/],
    ['{"a": "x', 'it ends too early'],
    ['[1, 2', /^(line 1, column 6|it ends too early)/],
    ['{"a": }', 'line 1, column 7: "}" is not expected here'],
    ['{\n  "a": 1,\n  "b": tru\n}', /^line 3, column 11: .* is not expected here/],
    ['{\n  "a": 1,\n}', /^line 3, column 1: expected double-quoted property name/],
    ['{\n  a: 1}', /^line 2, column 3: expected/],
    ['hello', 'line 1, column 1: "h" is not expected here'],
    ['<html>', 'line 1, column 1: "<" is not expected here'],
    ['{} x', /^line 1, column 4: unexpected non-whitespace/],
    ['{"password": "open-sesame" oops}', /^line 1, column 28: /],
  ] as const) {
    const said = mistakeOf(text);
    if (typeof says === 'string') assert.equal(said, says, text);
    else assert.match(said, says, text);
    assert.doesNotMatch(said, /sesame/);
  }
});

test('whatever the text, the place is in it, and no more than a character of it is repeated', () => {
  const text = fc.oneof(
    fc.string(),
    fc.json().chain((json) => fc.nat(json.length).map((n) => json.slice(0, n) + '?' + json.slice(n))),
  );
  fc.assert(
    fc.property(text, (broken) => {
      const said = mistakeOf(broken);
      const place = /^line (\d+), column (\d+): /.exec(said);
      if (place === null) return assert.match(said, /^it (is JSON|is empty|ends too early)$/);
      const line = broken.split('\n')[Number(place[1]) - 1];
      assert.ok(
        line !== undefined && Number(place[2]) <= line.length + 1,
        `${JSON.stringify(broken)}: ${said}`,
      );
      assert.doesNotMatch(said, /is not valid JSON|Unexpected token|at position/);
    }),
  );
});

test('a field, what it is, and what would be right', () => {
  const Schema = z.strictObject({
    url: z.url({ error: 'write a URL' }),
    count: z.number().max(3),
    kind: z.enum(['a', 'b']),
    list: z.array(z.strictObject({ name: z.string() })),
    flag: z.boolean().optional(),
  });
  const say = (value: unknown) => {
    const { error } = Schema.safeParse(value);
    return error === undefined ? '' : mistakesIn(error, value, Object.keys(Schema.shape));
  };
  const right = { url: 'http://x', count: 1, kind: 'a', list: [] };
  assert.equal(say(right), '');
  assert.equal(say({ ...right, url: { url: 'x' } }), 'field url: it is an object: write a URL');
  assert.equal(say({ ...right, url: undefined }), 'field url: it is missing: write a URL');
  assert.equal(say({ ...right, count: '1' }), 'field count: it is "1", and must be a number');
  assert.equal(say({ ...right, count: 9 }), 'field count: it is 9, and 3 is the most');
  assert.equal(say({ ...right, kind: 'c' }), 'field kind: it is "c", and must be "a" or "b"');
  assert.equal(say({ ...right, list: [{ name: null }] }), 'field list[0].name: it is null, and must be text');
  assert.equal(say({ ...right, falg: true }), 'there is no field "falg": did you mean "flag"?');
  assert.equal(say('text'), 'it is "text", and must be an object');
});

test('errors of the system have words and a place, those of our own their message', () => {
  const system = (fields: object, message: string) => inWords(Object.assign(new Error(message), fields));
  assert.equal(
    system(
      { code: 'EADDRINUSE', syscall: 'listen', address: '127.0.0.1', port: 80 },
      'listen EADDRINUSE: address already in use',
    ),
    '127.0.0.1:80: another program listens there (EADDRINUSE)',
  );
  assert.equal(
    system(
      { code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: 'nowhere' },
      'getaddrinfo ENOTFOUND nowhere',
    ),
    'nowhere: there is no host of that name (ENOTFOUND)',
  );
  assert.equal(
    system({ code: 'ENOENT', syscall: 'open', path: '/x' }, 'ENOENT: no such file'),
    '/x: no such file or directory (ENOENT)',
  );
  assert.equal(
    system({ code: 'ETIMEDOUT' }, 'http://x did not answer within 5 ms'),
    'http://x did not answer within 5 ms',
  );
  const both = new AggregateError(
    [
      Object.assign(new Error('connect ECONNREFUSED ::1:1'), {
        code: 'ECONNREFUSED',
        syscall: 'connect',
        address: '::1',
        port: 1,
      }),
    ],
    '',
  );
  assert.match(inWords(both), /nothing listens there \(ECONNREFUSED\)/);
});
