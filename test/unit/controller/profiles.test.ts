// Documents that name a profile get what they would get with its lines written out; and how little is done again. What
// people are told of wrong profiles: test/golden/mistakes/profile-*.txt.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dump } from 'js-yaml';
import type * as z from 'zod';
import { Payload, type Resource } from '../../../api/bundle.ts';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { type Compilation, compile } from '../../../controller/pipeline/compile.ts';
import type { AnyKind } from '../../../kinds/kind.ts';
import { memorySnapshot, testKinds } from './support.ts';

const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20_261_129);
const HOSTS = `apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: pi, labels: {alloy: apt}}
spec: {mode: enforce, vars: {mode: "0600"}}
---
kind: Host
metadata: {name: mac}
spec: {}
`;

type Fields = Readonly<Record<string, unknown>>;

const yaml = (kind: string, name: string, fields: Fields, metadata: Fields = {}): string =>
  dump({ apiVersion: 'homeostat.dev/v1', kind, metadata: { name, ...metadata }, ...fields });

async function good(files: Record<string, string>, previous?: Compilation): Promise<Compilation> {
  const result = await compile(memorySnapshot(files), testKinds, previous);
  assert.deepEqual(result.diagnostics.map(formatDiagnostic), []);
  return result;
}

function resources(result: Compilation, host: string): Record<string, Resource> {
  const { payloadText } = result.revision!.hosts.get(host)!;
  const list = Payload.parse(JSON.parse(payloadText)).resources;
  return Object.fromEntries(list.map((r) => [`${r.kind}/${r.name}`, r]));
}

const diagnosticsOf = async (files: Record<string, string>): Promise<string[]> =>
  (await compile(memorySnapshot(files), testKinds)).diagnostics.map(formatDiagnostic);

test('a document has where it goes, its dependencies and its removal from the profile that it names', async () => {
  const result = await good({
    'h.yaml': HOSTS,
    'p.yaml': yaml('Profile', 'p', {
      hosts: { matchLabels: { alloy: 'apt' } },
      prune: 'freely',
      dependsOn: ['File/first', { ref: 'File/second', until: 'Applied' }],
    }),
    'a.yaml': `${yaml('File', 'first', { hosts: { all: true }, spec: { path: '/1', content: 'x' } })}---
${yaml('File', 'second', { hosts: { all: true }, spec: { path: '/2', content: 'x' } })}---
${yaml('File', 'third', { hosts: { all: true }, spec: { path: '/3', content: 'x' } })}`,
    's.yaml': yaml('Service', 's', {
      profile: 'p',
      dependsOn: ['File/third'],
      spec: { unit: 's.service' },
    }),
  });
  assert.equal(resources(result, 'mac')['Service/s'], undefined);
  assert.deepEqual(resources(result, 'pi')['Service/s'], {
    kind: 'Service',
    name: 's',
    dependsOn: [
      { ref: 'File/first', until: 'Ready' },
      { ref: 'File/second', until: 'Applied' },
      { ref: 'File/third', until: 'Ready' },
    ],
    drift: 'enforce',
    prune: 'freely',
    suspend: false,
    spec: { unit: 's.service' },
    source: 's.yaml:1',
  });
});

test('what the document says itself wins; of a dependency that both name, the document’s holds', async () => {
  const result = await good({
    'h.yaml': HOSTS,
    'p.yaml': yaml('Profile', 'p', {
      hosts: { names: ['pi'] },
      prune: 'freely',
      dependsOn: ['File/f'],
      spec: { enabled: true, port: 80 },
    }),
    'f.yaml': yaml('File', 'f', { ...placed('mac'), spec: file('/f') }),
    's.yaml': yaml('Service', 's', {
      profile: 'p',
      ...placed('mac'),
      prune: 'orphan',
      dependsOn: [{ ref: 'File/f', until: 'Applied' }],
      spec: { unit: 's.service', port: 90 },
    }),
    'o.yaml': yaml('Policy', 'of-the-fleet', { profile: 'q', runOn: 'mac', spec: {} }),
    'q.yaml': yaml('Profile', 'q', { hosts: { all: true }, spec: { tailnet: 't' } }),
  });
  const all = resources(result, 'mac');
  assert.equal(resources(result, 'pi')['Service/s'], undefined);
  assert.deepEqual(all['Service/s']?.dependsOn, [{ ref: 'File/f', until: 'Applied' }]);
  assert.equal(all['Service/s']?.prune, 'orphan');
  assert.deepEqual(all['Service/s']?.spec, { enabled: true, port: 90, unit: 's.service' });
  assert.equal(all['Policy/of-the-fleet']?.scope, 'fleet', 'hosts of the profile give way to runOn');
});

const placed = (host: string) => ({ hosts: { names: [host] } });
const file = (path: string) => ({ path, content: 'x' });

test('fields of the spec are filled in for each host, and files are found beside the profile', async () => {
  const result = await good({
    'h.yaml': HOSTS,
    'shared/p.yaml': yaml('Profile', 'p', {
      ...placed('pi'),
      spec: { contentFrom: 'motd.txt', mode: '${vars.mode}' },
    }),
    'shared/motd.txt': 'hello ${host.name}',
    'hosts/f.yaml': yaml('File', 'f', { profile: 'p', spec: { path: '/f' } }),
    'hosts/g.yaml': yaml('File', 'g', { profile: 'p', spec: { path: '/g', mode: '0640' } }),
    'shared/q.yaml': yaml('Profile', 'q', { ...placed('pi'), spec: file('/q') }),
    'q.yaml': yaml('File', 'q', { profile: 'q' }),
  });
  const of = (key: string) => resources(result, 'pi')[key]?.spec;
  assert.deepEqual(of('File/f'), { path: '/f', content: 'hello pi', mode: '0600' });
  assert.deepEqual(of('File/g'), { path: '/g', content: 'hello pi', mode: '0640' });
  assert.deepEqual(of('File/q'), { path: '/q', content: 'x' }, 'a document without a spec of its own');
});

test('a profile may say that its documents go nowhere; a document may take that back', async () => {
  const nowhere = { hosts: { matchLabels: { alloy: 'docker' } } };
  const profile = (annotations: Fields) => yaml('Profile', 'p', nowhere, annotations);
  const optional = (value: string) => ({ annotations: { 'homeostat.dev/optional': value, other: 'x' } });
  const f = (metadata: Fields) => yaml('File', 'f', { profile: 'p', spec: file('/f') }, metadata);
  const warned = async (ofProfile: Fields, ofDocument: Fields) =>
    (await diagnosticsOf({ 'h.yaml': HOSTS, 'p.yaml': profile(ofProfile), 'f.yaml': f(ofDocument) })).length;
  assert.equal(await warned({}, {}), 1);
  assert.equal(await warned(optional('true'), {}), 0);
  assert.equal(await warned(optional('true'), { annotations: { mine: 'x' } }), 0);
  assert.equal(await warned(optional('true'), optional('false')), 1);
  assert.equal(await warned({}, optional('true')), 0);
});

test('a profile that may be in a file that could not be read is not missed, and none is called unused', async () => {
  const files = {
    'h.yaml': HOSTS,
    'f.yaml': yaml('File', 'f', { profile: 'wanted', spec: file('/f') }),
    'q.yaml': yaml('Profile', 'q', placed('pi')),
  };
  assert.deepEqual(await diagnosticsOf(files), [
    'f.yaml:5:10: there is no Profile/wanted: add it (kind: Profile), or remove this line',
    'q.yaml:4:9: warning: no document names Profile/q: write profile: q into one, or remove it',
  ]);
  const broken = await diagnosticsOf({ ...files, 'p.yaml': 'kind: [' });
  assert.equal(broken.length, 1);
  assert.match(broken[0]!, /^p\.yaml:/);
});

test('ten thousand documents and a profile with a mistake are one diagnostic', async () => {
  const document = (i: number) => yaml('File', `f${i}`, { profile: 'p', spec: { path: `/f${i}` } });
  const found = await diagnosticsOf({
    'h.yaml': HOSTS,
    'p.yaml': yaml('Profile', 'p', { ...placed('pi'), dependsOn: ['File/nope'], spec: { content: 7 } }),
    'f.yaml': Array.from({ length: 10_000 }, (_, i) => document(i)).join('---\n'),
  });
  assert.deepEqual(found, [
    'p.yaml:9:5: there is no File/nope: add it, or remove the reference (for File/f0, File/f1 and 9998 more)',
    'p.yaml:11:12: "content" must be text, and YAML reads 7 as a number: write "7" in quotes (for File/f0, File/f1 and 9998 more)',
  ]);
});

/** The kinds, and how often a spec was checked. */
function counting(): { kinds: ReadonlyMap<string, AnyKind>; count: () => number } {
  let checked = 0;
  const plain = testKinds.get('File')!;
  const spec = (plain.spec as z.ZodType<Fields>).refine(() => {
    checked += 1;
    return true;
  });
  const counted = { ...plain, spec } as unknown as AnyKind;
  return { kinds: new Map([...testKinds, ['File', counted]]), count: () => checked };
}

test('a profile is filled in once a commit, and again only where it or the document changed', async () => {
  const { kinds, count } = counting();
  const files: Record<string, string> = {
    'h.yaml': HOSTS,
    'p.yaml': yaml('Profile', 'p', placed('pi')),
    'q.yaml': yaml('Profile', 'q', { hosts: { all: true } }),
    'other.yaml': yaml('File', 'other', { profile: 'q', spec: file('/other') }),
  };
  for (let i = 0; i < 100; i++)
    files[`f${i}.yaml`] = yaml('File', `f${i}`, { profile: 'p', spec: file(`/f${i}`) });
  const first = await compile(memorySnapshot(files), kinds);
  assert.equal(count(), 101);
  files['f7.yaml'] = yaml('File', 'f7', { profile: 'p', spec: file('/seven') });
  const second = await compile(memorySnapshot(files), kinds, first);
  assert.equal(count(), 102, 'one document changed');
  files['q.yaml'] = yaml('Profile', 'q', placed('mac'));
  const snapshot = memorySnapshot(files);
  const third = await compile(snapshot, kinds, second);
  assert.equal(count(), 103, 'a profile of one document changed');
  assert.deepEqual(snapshot.reads, ['q.yaml']);
  assert.equal(third.revision?.hosts.get('pi')?.payloadDigest === undefined, false);
  assert.equal(resources(third, 'pi')['File/other'], undefined);
  assert.ok(resources(third, 'mac')['File/other']);
});

const hosts = fc.constantFrom<Fields>(
  { hosts: { all: true } },
  { hosts: { names: ['pi'] } },
  { hosts: { matchLabels: { alloy: 'apt' } } },
  { hosts: { matchExpressions: [{ key: 'alloy', operator: 'DoesNotExist' }] } },
);
const ref = fc.constantFrom('File/base-1', 'File/base-2', 'File/base-3');
const dependency = fc.oneof(
  ref,
  fc.record({ ref, until: fc.constantFrom('Applied', 'Ready') }, { requiredKeys: ['ref'] }),
);
const refOf = (item: unknown): string =>
  typeof item === 'string' ? item : (item as { readonly ref: string }).ref;
const envelope = fc.record(
  {
    prune: fc.constantFrom('delete', 'orphan', 'freely'),
    dependsOn: fc.uniqueArray(dependency, { maxLength: 3, selector: refOf }),
  },
  { requiredKeys: [] },
);
const spec = fc.record(
  {
    content: fc.constantFrom('x', '${host.name}', 'a: b\n'),
    mode: fc.constantFrom('0600', '${vars.mode}'),
    owner: fc.constantFrom('root', 'nobody'),
  },
  { requiredKeys: [] },
);
const profiles = fc.record({ hosts, envelope, spec: fc.option(spec, { nil: undefined }) });
const documents = fc.array(
  fc.record({ hosts: fc.option(hosts, { nil: {} }), envelope, spec, profile: fc.nat(1) }),
  { minLength: 1, maxLength: 6 },
);

interface Written {
  readonly hosts: Fields;
  readonly envelope: { readonly prune?: string; readonly dependsOn?: readonly unknown[] };
  readonly spec: Fields | undefined;
}

/** The document as a person would write it without profiles. */
function inlined(own: Written, profile: Written): Fields {
  const refs = new Set((own.envelope.dependsOn ?? []).map(refOf));
  const given = (profile.envelope.dependsOn ?? []).filter((item) => !refs.has(refOf(item)));
  return {
    ...profile.hosts,
    ...own.hosts,
    ...profile.envelope,
    ...own.envelope,
    dependsOn: [...given, ...(own.envelope.dependsOn ?? [])],
    spec: { content: 'none', ...profile.spec, ...own.spec },
  };
}

test('naming a profile and writing its lines out give the same payloads, commit after commit', async () => {
  const base: Record<string, string> = {
    'h.yaml': `${HOSTS}---\nkind: Fleet\nmetadata: {name: f}\nspec: {vars: {mode: "0644"}}\n`,
  };
  for (const i of [1, 2, 3])
    base[`base-${i}.yaml`] = yaml('File', `base-${i}`, { hosts: { all: true }, spec: file(`/base-${i}`) });
  let before: Compilation | undefined;
  await fc.assert(
    fc.asyncProperty(fc.tuple(profiles, profiles), documents, async (both, all) => {
      const naming = { ...base };
      const writtenOut = { ...base };
      both.forEach((profile, i) => {
        const spec = { content: 'none', ...profile.spec };
        naming[`p${i}.yaml`] = yaml('Profile', `p${i}`, { ...profile.hosts, ...profile.envelope, spec });
      });
      all.forEach((own, i) => {
        const path = { path: `/f${i}` };
        const fields = { ...own.hosts, ...own.envelope, spec: { ...own.spec, ...path } };
        naming[`f${i}.yaml`] = yaml('File', `f${i}`, { profile: `p${own.profile}`, ...fields });
        const whole = inlined({ ...own, spec: { ...own.spec, ...path } }, both[own.profile]!);
        writtenOut[`f${i}.yaml`] = yaml('File', `f${i}`, whole);
      });
      const expected = await good(writtenOut);
      const texts = (c: Compilation | undefined) =>
        [...(c?.revision?.hosts ?? [])].map(([name, host]) => [name, host.payloadText]);
      before = await compile(memorySnapshot(naming), testKinds, before);
      assert.deepEqual(
        before.diagnostics.filter(({ severity }) => severity === 'error').map(formatDiagnostic),
        [],
      );
      assert.deepEqual(texts(before), texts(expected));
    }),
    { numRuns: 150, seed },
  );
});
