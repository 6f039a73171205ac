// Documents by the hundred: valid ones render, are applied on a sandbox root and then differ in nothing; ones that
// are broken in one place are told at that very line. The seed is fixed, so that a run repeats the last; set
// FAST_CHECK_SEED for others.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dump } from 'js-yaml';
import { Payload } from '../../../api/bundle.ts';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { kinds } from '../../../kinds/index.ts';
import { Timeline } from '../../support/timeline.ts';
import { memorySnapshot } from './support.ts';

const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20_261_123);
const HOST = `apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: testhost, labels: {role: any}}
spec: {mode: enforce, address: 100.64.0.8, vars: {x: y}}
`;

interface Document {
  readonly name: string;
  readonly spec: Record<string, unknown>;
  readonly more: Record<string, unknown>;
}

const name = fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?$/);
const mode = fc.constantFrom('0600', '0640', '0644', '0755', '644');
const text = fc.oneof(
  fc.string({ maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 50 }),
  fc.constantFrom(
    '',
    '\n',
    'yes',
    '0644',
    '- a',
    '{',
    '$1 ${HOME} ${host.name}\n',
    '$${host.name}',
    '# no comment',
    'a: b',
    ' lead',
  ),
);
const more = fc.record(
  {
    drift: fc.constantFrom('enforce'),
    prune: fc.constantFrom('delete', 'orphan', 'freely'),
    hosts: fc.constantFrom(
      { all: true },
      { names: ['testhost'] },
      { matchLabels: { role: 'any' } },
      { matchExpressions: [{ key: 'x', operator: 'DoesNotExist' }] },
    ),
  },
  { requiredKeys: ['hosts'] },
);
const spec = fc.oneof(
  fc.record({ content: text, mode, inPlace: fc.boolean() }, { requiredKeys: ['content'] }),
  fc.record({ type: fc.constant('directory'), mode }, { requiredKeys: ['type'] }),
  fc.record({
    type: fc.constant('symlink'),
    target: fc.stringMatching(/^(\/|\.\.\/|)elsewhere\/[a-z/]{0,12}$/),
  }),
);
const documents: fc.Arbitrary<Document[]> = fc
  .uniqueArray(fc.record({ name, spec, more }), { minLength: 1, maxLength: 6, selector: (d) => d.name })
  .map((all) => all.map((d) => ({ ...d, spec: { path: `/data/${d.name}`, ...d.spec } })));

function yaml({ name, spec, more }: Document): string {
  return dump({ apiVersion: 'homeostat.dev/v1', kind: 'File', metadata: { name }, ...more, spec });
}

test('valid documents render, apply, and then differ in nothing', async (t) => {
  let line: Timeline | undefined;
  await fc.assert(
    fc.asyncProperty(documents, async (all) => {
      const files = { 'host.yaml': HOST, 'files.yaml': all.map(yaml).join('---\n') };
      const { revision, diagnostics } = await compile(memorySnapshot(files), kinds);
      assert.ok(revision, diagnostics.map(formatDiagnostic).join('\n'));
      const { resources } = Payload.parse(JSON.parse(revision.hosts.get('testhost')!.payloadText));
      assert.equal(resources.length, all.length);
      line = new Timeline(t).start().assign(...resources);
      for (const { name } of all) await line.expect(`File/${name}`, 'True');
      assert.deepEqual(
        (await line.agent.plan()).flatMap((p) => [...p.changes, ...(p.error ?? [])]),
        [],
      );
      for (const { name, spec } of all) {
        if (typeof spec['content'] !== 'string') continue;
        const expected = spec['content'].replace(/(\$?)\$\{host\.name\}/g, (_, escaped) =>
          escaped ? '${host.name}' : 'testhost',
        );
        assert.equal(line.read(`/data/${name}`), expected.replace(/\$\$\{(?!host\.name)/g, '${'));
      }
      await line.stop();
    }),
    { numRuns: 60, seed },
  );
});

/** A way to break one document: the text, and the line that is wrong (counted in the document, from 1). */
type Break = (text: string) => { readonly text: string; readonly line: number } | undefined;

function atLine(pattern: RegExp, replacement: string): Break {
  return (text) => {
    const lines = text.split('\n');
    const index = lines.findIndex((l) => pattern.test(l));
    if (index < 0) return undefined;
    lines[index] = lines[index]!.replace(pattern, replacement);
    return { text: lines.join('\n'), line: index + 1 };
  };
}

const BREAKS: Readonly<Record<string, Break>> = {
  'a misspelt field of the spec': atLine(/^ {2}path:/, '  pth:'),
  'a misspelt field of the document': atLine(/^metadata:/, 'metdata:'),
  'an unknown kind': atLine(/^kind: File$/, 'kind: Flie'),
  'another apiVersion': atLine(/^apiVersion: .*/, 'apiVersion: v2'),
  'a relative path': atLine(/^ {2}path: .*/, '  path: data/x'),
  'a path that is a number': atLine(/^ {2}path: .*/, '  path: 7'),
  'a path with an unknown variable': atLine(/^ {2}path: .*/, '  path: /data/${vars.nope}'),
  'a tab': atLine(/^ {2}path:/, '\tpath:'),
  'a key given twice': atLine(/^( {2}path: .*)$/, '$1\n$1'),
  'a name that is none': atLine(/^ {2}name: .*/, '  name: NOT A NAME'),
  'an unknown type': atLine(/^ {2}type: .*/, '  type: pipe'),
  'a mode that is none': atLine(/^ {2}mode: .*/, '  mode: rw-r--r--'),
};

for (const [what, breakIt] of Object.entries(BREAKS)) {
  test(`broken in one place: ${what} is told at its line`, async () => {
    let broken = 0;
    await fc.assert(
      fc.asyncProperty(documents, fc.nat(), async (all, pick) => {
        const texts = all.map(yaml);
        const index = pick % texts.length;
        const wrong = breakIt(texts[index]!);
        if (wrong === undefined) return;
        broken += 1;
        const before = texts.slice(0, index).join('---\n');
        const first = before === '' ? 0 : before.split('\n').length; // with the divider's own line
        texts[index] = wrong.text;
        const files = { 'host.yaml': HOST, 'files.yaml': texts.join('---\n') };
        const { revision, diagnostics } = await compile(memorySnapshot(files), kinds);
        assert.equal(revision, undefined);
        const places = diagnostics.filter((d) => d.severity === 'error').map((d) => `${d.file}:${d.line}`);
        // A key that is given twice is wrong where it comes again.
        const expected = first + wrong.line + (what === 'a key given twice' ? 1 : 0);
        assert.ok(
          places.includes(`files.yaml:${expected}`),
          `${expected} expected:\n${diagnostics.map(formatDiagnostic).join('\n')}\n${files['files.yaml']}`,
        );
      }),
      { numRuns: 50, seed },
    );
    assert.ok(broken >= 10, `only ${broken} documents could be broken in this way`);
  });
}
