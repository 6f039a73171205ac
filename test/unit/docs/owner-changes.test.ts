// docs/owner-changes.md is true by tests: every row names one, it exists, and it is about what the row says.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { kinds } from '../../../kinds/index.ts';
import { EVERY_KIND, OWNER_CHANGES, type Row } from './owner-changes.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');
const folderOf = (kind: string): string => kind.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '-').toLowerCase();

/** Tests by their titles as the source has them, each with its body; a test that is skipped or still to be written is none. */
function testsOf(file: string): Map<string, string> {
  const text = read(file);
  const begins = [...text.matchAll(/^ *test\(\s*(['"`])((?:\\.|(?!\1).)*)\1/gm)];
  return new Map(begins.map((match, i) => [match[2]!, text.slice(match.index, begins[i + 1]?.index)]));
}

/** The fixture's ways of one sort, as text. */
function waysOf(kind: string, sort: 'breakages' | 'unwell'): string {
  const fixture = read(`test/contract/${folderOf(kind)}.fixture.ts`);
  const from = fixture.indexOf(`${sort}: `);
  assert.ok(from >= 0, `${kind} has no ${sort}`);
  const ends = ['silent: ', 'unwell: ', 'fingerprint: ', 'fingerprint('].map((next) =>
    fixture.indexOf(next, from + 1),
  );
  const ways = fixture.slice(from, Math.min(...ends.filter((end) => end > 0)));
  return ways.includes('grafanaUnwell(') ? ways + read('test/contract/grafana-unwell.ts') : ways;
}

const hasWay = (ways: string, name: string): boolean =>
  new RegExp(`^\\s*(?:${name}|'${name}'):|[{,] ${name}:`, 'm').test(ways);

/** @returns what is wrong with it */
function faultOf(kind: string | undefined, { outcome, reason, proof }: Row): string | undefined {
  if ('breakage' in proof) {
    if (outcome !== 'healed') return `a breakage of the contract suite is healed, not ${outcome}`;
    return hasWay(waysOf(kind!, 'breakages'), proof.breakage) ? undefined : `no breakage "${proof.breakage}"`;
  }
  if ('unwell' in proof) {
    if (outcome !== 'reported') return `what the contract suite has as unwell is reported, not ${outcome}`;
    if (!hasWay(waysOf(kind!, 'unwell'), proof.unwell)) return `no unwell "${proof.unwell}"`;
    const folder = path.join('kinds', folderOf(kind!));
    const sources = [
      ...fs.readdirSync(path.join(root, folder)).map((name) => path.join(folder, name)),
      'kinds/grafana-api.ts',
    ];
    return sources.some((file) => read(file).includes(`'${reason}'`))
      ? undefined
      : `no reason ${reason} in ${folder}`;
  }
  if (!fs.existsSync(path.join(root, proof.file))) return `no ${proof.file}`;
  const body = testsOf(proof.file).get(proof.test);
  if (body === undefined) return `${proof.file} has no test "${proof.test}"`;
  if (proof.step !== undefined && !body.includes(proof.step)) return `"${proof.test}" has no ${proof.step}`;
  if (outcome === 'reported' && reason === undefined) return 'what is reported has a reason';
  return reason === undefined || body.includes(reason) ? undefined : `"${proof.test}" expects no ${reason}`;
}

test('every row of docs/owner-changes.md names a test that shows it', () => {
  const all: [string | undefined, Row][] = [
    ...EVERY_KIND.map((row): [undefined, Row] => [undefined, row]),
    ...Object.entries(OWNER_CHANGES).flatMap(([kind, rows]) => rows.map((row): [string, Row] => [kind, row])),
  ];
  assert.deepEqual(
    all.flatMap(([kind, row]) => {
      const fault = faultOf(kind, row);
      return fault === undefined ? [] : [`${kind ?? 'every kind'}: ${row.byHand}: ${fault}`];
    }),
    [],
  );
});

test('every kind has rows, and there is no kind that it has rows of and is none', () => {
  assert.deepEqual(Object.keys(OWNER_CHANGES).sort(), [...kinds.keys()].sort());
  for (const [kind, rows] of Object.entries(OWNER_CHANGES)) assert.ok(rows.length >= 4, kind);
});

test('a title that no test has, a step that is not in it and a reason that it does not expect are found', () => {
  const file = 'test/unit/kinds/file.test.ts';
  const title = 'a directory in the way is never replaced: stalled, with what to do';
  const row = (more: Partial<Row> & Pick<Row, 'proof'>): Row => ({
    byHand: 'x',
    outcome: 'reported',
    reason: 'IsADirectory',
    ...more,
  });
  assert.equal(faultOf('File', row({ proof: { file, test: title } })), undefined);
  assert.match(faultOf('File', row({ proof: { file, test: `${title}!` } }))!, /has no test/);
  assert.match(faultOf('File', row({ proof: { file, test: title, step: 'no such' } }))!, /has no no such/);
  assert.match(faultOf('File', row({ proof: { file, test: title }, reason: 'Held' }))!, /expects no Held/);
  assert.match(faultOf('File', row({ proof: { breakage: 'write' } }))!, /healed, not reported/);
  assert.match(faultOf('File', row({ outcome: 'healed', proof: { breakage: 'wrote' } }))!, /no breakage/);
});
