// The installed form (scripts/bundle.ts): its launcher takes the same command lines as the whole program, and says the
// same of wrong ones; what runs for ever or in cron jobs is a small file of its own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { bundle } from '../../scripts/bundle.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

test('the launcher answers as the program does, help and mistakes included', async (t) => {
  const directory = temporaryDirectory(t);
  const place = path.join(directory, 'installed');
  await bundle(place);
  const bin = path.dirname(process.execPath);
  const homeostat = (...args: string[]) =>
    spawnSync(path.join(place, 'homeostat'), args, {
      cwd: directory,
      encoding: 'utf8',
      timeout: 60_000,
      env: { PATH: `${bin}:${process.env['PATH']}`, NO_COLOR: '1' },
    });
  for (const args of [['agent', '--help'], ['once', '--help'], ['plan', '-h'], ['help', 'agent'], []]) {
    const { status, stdout, stderr } = homeostat(...args);
    assert.deepEqual([status, stderr], [0, ''], args.join(' '));
    assert.match(stdout, /^Usage: homeostat[\s\S]*Exit codes:/);
  }
  for (const [args, code, says] of [
    [['agent', '--nonsense'], 1, /unknown option '--nonsense'/],
    [['agent', '--config'], 1, /argument missing/],
    [['agent', '--config', ''], 1, /It is empty/],
    [['agent', '--config='], 1, /It is empty/],
    [['agent', '--config', 'none.json'], 1, /configuration none\.json can't be read: .*no such file/],
    [['agent', '--config=none.json'], 1, /configuration none\.json can't be read: .*no such file/],
    [['agent', 'more'], 1, /too many arguments/],
    [['once', '--timeout', 'abc'], 1, /a number of seconds/],
    [['plan', '--dir', 'none'], 1, /There is no directory none/],
    [['plna'], 2, /did you mean plan\?/],
  ] as const) {
    const { status, stderr } = homeostat(...args);
    assert.match(stderr, says, args.join(' '));
    assert.equal(status, code, args.join(' '));
  }
  assert.match(homeostat('version').stdout, /^\d+\.\d+\.\d+\n$/);
  // What the agent's memory budget is won by (docs/performance.md).
  assert.doesNotMatch(fs.readFileSync(path.join(place, 'agent.cjs'), 'utf8'), /CommanderError/);
});
