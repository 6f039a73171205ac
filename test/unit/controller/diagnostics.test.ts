// Golden tests of what people are told about bad manifests: test/golden/diagnostics/<case>.txt (what could do harm)
// and test/golden/mistakes/<case>.txt (what people really get wrong, with the real kinds) hold the files
// (each after a line `=== path`), a line of dashes, and the diagnostics. UPDATE_GOLDEN=1 rewrites the latter.
// `=== path repeat N` repeats the text below it N times, with %d replaced by the count.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { kinds } from '../../../kinds/index.ts';
import { memorySnapshot, testKinds } from './support.ts';

const GOLDEN = join(import.meta.dirname, '../../golden');
const CASES = [
  { folder: 'diagnostics', known: testKinds },
  { folder: 'mistakes', known: kinds },
].flatMap(({ folder, known }) =>
  readdirSync(join(GOLDEN, folder))
    .sort()
    .map((file) => ({ folder, file, known })),
);

for (const { folder, file, known } of CASES) {
  test(`${folder}: ${basename(file, '.txt').replaceAll('-', ' ')}`, async () => {
    const path = join(GOLDEN, folder, file);
    const text = readFileSync(path, 'utf8');
    const cut = text.lastIndexOf('\n----\n');
    const input = cut < 0 ? text : text.slice(0, cut + 1);
    const expected = cut < 0 ? '' : text.slice(cut + 6);
    const result = await compile(memorySnapshot(filesOf(input)), known);
    const actual =
      [...result.diagnostics.map(formatDiagnostic), result.revision ? 'accepted' : 'refused'].join('\n') +
      '\n';
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, `${input}----\n${actual}`);
    else assert.equal(actual, expected);
  });
}

function filesOf(input: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const part of input.split(/^=== /m).slice(1)) {
    const end = part.indexOf('\n');
    const [path, word, count] = part.slice(0, end).split(' ');
    const text = part.slice(end + 1).replaceAll('<TAB>', '\t');
    files[path!] =
      word === 'repeat'
        ? Array.from({ length: Number(count) }, (_, i) => text.replaceAll('%d', String(i))).join('')
        : text;
  }
  return files;
}
