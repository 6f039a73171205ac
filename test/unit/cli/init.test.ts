// What `init` writes, `validate` accepts: whatever the host is called, and whatever is in the directory already.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { cliRuns } from '../../support/cli-runs.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const run = cliRuns();

/** Names that YAML would take for something else, that are none, and that are nearly one. */
const NAMES = fc.oneof(
  fc.constantFrom(
    'true',
    'null',
    'no',
    '1',
    '1e3',
    '0x1f',
    '1.5',
    '2026-11-29',
    '.inf',
    '~',
    '-',
    'Foo Bar',
    'pi.',
    'a_b',
  ),
  fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,61}[a-z0-9]$/),
  fc.stringMatching(/^[a-z0-9.-]{1,70}$/),
  fc.string({ minLength: 1, maxLength: 70 }),
);
const BESIDE = fc.constantFrom(
  undefined,
  'notes.txt',
  'empty.yaml',
  'apiVersion: homeostat.dev/v1\nkind: Fleet\nmetadata: {name: other}\nspec: {}\n',
  'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {}\n',
  'services: {web: {image: nginx}}\n',
  'a: [\n',
);

test('whatever init accepts, validate accepts; whatever it refuses, it writes nothing of', async (t) => {
  const top = temporaryDirectory(t);
  const seen = { accepted: 0, refused: 0 };
  let n = 0;
  const property = fc.asyncProperty(NAMES, BESIDE, async (host, beside) => {
    const directory = path.join(top, String(n++));
    if (beside !== undefined) {
      fs.mkdirSync(directory);
      fs.writeFileSync(path.join(directory, 'beside.yaml'), beside);
    }
    const { status, stderr } = await run(top, ['init', directory, `--host=${host}`]);
    if (status === 0) {
      seen.accepted += 1;
      const validated = await run(top, ['validate', directory]);
      assert.equal(validated.status, 0, `${JSON.stringify(host)}: ${validated.stderr}`);
    } else {
      seen.refused += 1;
      assert.match(stderr, /^homeostat: /);
      assert.deepEqual(
        fs.existsSync(directory) ? fs.readdirSync(directory) : [],
        beside === undefined ? [] : ['beside.yaml'],
      );
    }
  });
  await fc.assert(property, {
    numRuns: 120,
    examples: [
      ['123', undefined],
      ['Foo Bar', undefined],
      ['pi', 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {}\n'],
    ],
  });
  assert.ok(seen.accepted > 10 && seen.refused > 10, JSON.stringify(seen));
});

test('init does not write over what is there, nor beside what validate would refuse with it', async (t) => {
  const directory = temporaryDirectory(t);
  assert.equal((await run(directory, ['init', 'm'])).status, 0);
  assert.match((await run(directory, ['init', 'm'])).stderr, /is there already; nothing was written/);
  fs.rmSync(path.join(directory, 'm/motd.yaml'));
  fs.renameSync(path.join(directory, 'm/fleet.yaml'), path.join(directory, 'm/other.yaml'));
  fs.rmSync(path.join(directory, 'm/hosts.yaml'));
  const second = await run(directory, ['init', 'm']);
  assert.match(second.stderr, /not valid beside what is in m; nothing was written:\n.*Fleet/);
  assert.deepEqual(fs.readdirSync(path.join(directory, 'm')), ['other.yaml']);
});
