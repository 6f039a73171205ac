// The launcher of what is installed: a flag that node does not know would end the agent at once.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { AGENT_NODE_ARGUMENTS, AGENT_TIER_ARGUMENTS, LAUNCHER } from '../../../scripts/bundle.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

/** @returns what node is called with, by a node that says it has this version */
function calledWith(t: TestContext, version: string, ...command: string[]): string[] {
  const directory = temporaryDirectory(t);
  const node = `#!/bin/sh\nif [ "$1" = --version ]; then echo ${version}; else printf '%s\\n' "$@"; fi\n`;
  fs.writeFileSync(path.join(directory, 'node'), node, { mode: 0o755 });
  fs.writeFileSync(path.join(directory, 'homeostat'), LAUNCHER, { mode: 0o755 });
  const env = { ...process.env, PATH: `${directory}:${process.env['PATH']}` };
  const words = execFileSync(path.join(directory, 'homeostat'), command, { env, encoding: 'utf8' });
  return words.trim().split('\n');
}

test('this node knows every flag that the launcher gives its major', (t) => {
  const words = calledWith(t, process.version, 'agent', '--config', 'a b');
  const flags = words.slice(0, words.indexOf('agent')).filter((word) => word.startsWith('--'));
  for (const flag of AGENT_TIER_ARGUMENTS) assert.ok(flags.includes(flag), flag);
  assert.equal(execFileSync(process.execPath, [...flags, '-p', '1 + 1'], { encoding: 'utf8' }), '2\n');
});

for (const version of ['v24.11.0', 'v28.0.0', 'v260.0.0', '']) {
  test(`node ${version || 'without a version'} gets no flag that it may not know`, (t) => {
    const words = calledWith(t, version, 'agent', '--config', 'a b');
    assert.deepEqual(words.slice(0, -4), [...AGENT_NODE_ARGUMENTS]);
    assert.deepEqual(words.slice(-3), ['agent', '--config', 'a b']);
  });
}

test('only the agent has its code left as it is: what ends by itself should be quick', (t) => {
  for (const command of ['once', 'plan', 'controller', 'get'])
    for (const flag of AGENT_TIER_ARGUMENTS)
      assert.ok(!calledWith(t, process.version, command, 'a b').includes(flag), `${command} ${flag}`);
});
