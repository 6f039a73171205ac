// What is wrong with manifests never costs more than in proportion to their size: work is counted, not timed. What is
// counted are the steps of suggestions, and the characters that are looked at one by one (parsing, places).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDiagnostic, suggestionSteps } from '../../../api/diagnostics.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { memorySnapshot, testKinds } from './support.ts';

type Files = Record<string, string>;

const host = (name: string, more = ''): string =>
  `---\napiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}${more}}\nspec: {}\n`;
const file = (name: string, rest: string): string =>
  `---\napiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\n${rest}\n`;
const range = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
const word = (i: number): string => `w${(i * 2654435761).toString(36)}x`;

/** By name: manifests of size n that are wrong in one way, n times. */
const CASES: Record<string, { of: (n: number) => Files; n: number }> = {
  'a folder that was renamed': {
    n: 400,
    of: (n) => ({
      'h.yaml': host('pi'),
      'f.yaml': range(n, (i) =>
        file(`f${i}`, `hosts: {all: true}\nspec: {path: /f${i}, contentFrom: hosts/${word(i)}/config.alloy}`),
      ).join(''),
      ...Object.fromEntries(range(n, (i) => [`machines/${word(i)}/config.alloy`, 'text'])),
    }),
  },
  'many ends of documents': {
    n: 500,
    of: (n) => ({ 'h.yaml': host('pi'), 'a.yaml': 'x: [\n...\n'.repeat(n) + 'kind: Fil\n...\n'.repeat(n) }),
  },
  'one key many times': {
    n: 500,
    of: (n) => ({ 'h.yaml': host('pi'), 'a.yaml': 'apiVersion: x\nkey: 1\n'.repeat(n) }),
  },
  'unknown fields': {
    n: 500,
    of: (n) => ({
      'h.yaml': host('pi'),
      'a.yaml': file(
        'a',
        `hosts: {all: true}\n${range(n, (i) => `${word(i)}: 1\n`).join('')}spec: {path: /a, content: x, ${range(n, (i) => `${word(i)}: 1`).join(', ')}}`,
      ),
    }),
  },
  'unknown names in one text': {
    n: 500,
    of: (n) => ({
      'h.yaml': host('pi') + host('mac'),
      'a.yaml': file(
        'a',
        `hosts: {all: true}\nspec:\n  path: /a\n  content: "${range(n, (i) => `\${vars.${word(i)}}`).join(' ')}"`,
      ),
      'b.yaml': file('b', 'hosts: {all: true}\nspec: {path: /b, contentFrom: b.txt}'),
      'b.txt': range(n, (i) => `\${vars.${word(i)}}\n`).join(''),
    }),
  },
  'hosts that there are not': {
    n: 300,
    of: (n) => ({
      'h.yaml': range(n, (i) => host(`h-${word(i)}`)).join(''),
      'a.yaml': range(n, (i) =>
        file(`a${i}`, `hosts: {names: [g-${word(i)}]}\nspec: {path: /a${i}, content: x}`),
      ).join(''),
    }),
  },
  'labels that no host has': {
    n: 300,
    of: (n) => ({
      'h.yaml': range(n, (i) => host(`h${i}`, `, labels: {id: ${word(i)}}`)).join(''),
      'a.yaml': range(n, (i) =>
        file(`a${i}`, `hosts: {matchLabels: {id: g${word(i)}}}\nspec: {path: /a${i}, content: x}`),
      ).join(''),
    }),
  },
  'references to what is not there, from every host': {
    n: 300,
    of: (n) => ({
      'h.yaml': range(20, (i) => host(`h${i}`)).join(''),
      'a.yaml': range(n, (i) =>
        file(
          `a-${word(i)}`,
          `hosts: {all: true}\ndependsOn: [{ref: File/b-${word(i)}}]\nspec: {path: /a${i}, content: x}`,
        ),
      ).join(''),
    }),
  },
};

async function work(files: Files): Promise<{ readonly steps: number; readonly looked: number }> {
  const before = suggestionSteps();
  const { charCodeAt } = String.prototype;
  let looked = 0;
  const count = (value: unknown): void => {
    Object.defineProperty(String.prototype, 'charCodeAt', { value, writable: true, configurable: true });
  };
  count(function (this: string, at: number): number {
    looked += 1;
    return charCodeAt.call(this, at);
  });
  try {
    await compile(memorySnapshot(files), testKinds);
  } finally {
    count(charCodeAt);
  }
  return { steps: suggestionSteps() - before, looked };
}

for (const [name, { of, n }] of Object.entries(CASES)) {
  test(`four times as much of ${name} is at most six times the work`, async () => {
    const one = await work(of(n));
    const four = await work(of(4 * n));
    assert.ok(four.looked <= 6 * one.looked, `${four.looked} characters, and ${one.looked}`);
    // Suggestions have a budget, and cost nothing from there on.
    assert.ok(four.steps <= Math.max(6 * one.steps, 2_100_000), `${four.steps} steps, and ${one.steps}`);
  });
}

test('suggestions end when their work is done up, and are still there for the first of many', async () => {
  const before = suggestionSteps();
  const { diagnostics } = await compile(
    memorySnapshot(CASES['hosts that there are not']!.of(2000)),
    testKinds,
  );
  assert.ok(suggestionSteps() - before < 4_500_000, `${suggestionSteps() - before} steps`);
  assert.equal(diagnostics.filter(({ message }) => /^there is no Host/.test(message)).length, 2000);
  assert.match(diagnostics[0]!.message, /did you mean h-/);
});

test('a file that was moved is suggested by its name, at no cost', async () => {
  const files = {
    'h.yaml': host('pi'),
    'a.yaml': file('a', 'hosts: {all: true}\nspec: {path: /a, contentFrom: old/place/of/it/app.conf}'),
    'elsewhere/app.conf': 'x',
  };
  const { diagnostics } = await compile(memorySnapshot(files), testKinds);
  assert.match(diagnostics.map(formatDiagnostic).join('\n'), /did you mean elsewhere\/app\.conf\?/);
});

test('of many mistakes in one text, document or circle some are reported, and that there are more', async () => {
  const messages = async (files: Files): Promise<string[]> =>
    (await compile(memorySnapshot(files), testKinds)).diagnostics.map(({ message }) => message);
  const unknown = await messages(CASES['unknown names in one text']!.of(500));
  assert.equal(unknown.length, 2 * 21);
  assert.equal(unknown.filter((m) => m === '480 more names from here on have no value, either').length, 2);
  const fields = await messages(CASES['unknown fields']!.of(500));
  assert.ok(fields.length <= 202, String(fields.length));
  assert.match(
    fields.join('\n'),
    /there is more that is wrong with the spec of a File: mend what is reported first/,
  );

  const all = range(100, (i) => `{ref: File/f${i}}`).join(', ');
  const circles = await messages({
    'h.yaml': host('pi'),
    'a.yaml': range(100, (i) =>
      file(`f${i}`, `hosts: {all: true}\ndependsOn: [${all}]\nspec: {path: /f${i}, content: x}`),
    ).join(''),
  });
  assert.equal(circles.length, 100, 'one for each document, of 10,000');
  assert.ok(circles.every((m) => m.length < 400));
  assert.match(circles.at(-1)!, /File\/f0 → .* → … \d+ more … → .* → File\/f0; remove/);
});

test('a hundred references that wait for their values are no mistake yet', async () => {
  const ports = range(150, (i) => `{ref: "File/\${vars.x${i}}"}`).join(', ');
  const { diagnostics } = await compile(
    memorySnapshot({
      'f.yaml': `apiVersion: homeostat.dev/v1\nkind: Fleet\nmetadata: {name: f}\nspec: {vars: {${range(150, (i) => `x${i}: a`).join(', ')}}}\n`,
      'h.yaml': host('pi'),
      'a.yaml': file('a', 'hosts: {all: true}\nspec: {path: /a, content: x}'),
      's.yaml': `apiVersion: homeostat.dev/v1\nkind: Service\nmetadata: {name: s}\nhosts: {all: true}\nspec: {unit: a.service, restartOn: [${ports.replaceAll('{ref: ', '').replaceAll('}"}', '}"')}]}\n`,
    }),
    testKinds,
  );
  assert.deepEqual(diagnostics, []);
});

test('a claim of any length is looked up by its beginnings no further than a path can be long', async () => {
  const { diagnostics } = await compile(
    memorySnapshot({
      'h.yaml': host('pi'),
      'a.yaml': file('a', `hosts: {all: true}\nspec: {path: "${'/a'.repeat(200_000)}", content: x}`),
    }),
    testKinds,
  );
  assert.match(diagnostics[0]!.message, /has a name of 400005 characters \(file:\/a\/a/);
});
