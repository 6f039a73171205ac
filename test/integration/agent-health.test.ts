// What the agent does about itself, as a process: it ends in order for its memory's sake, and knows a crash loop.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { AgentStatus, findCondition } from '../../api/status.ts';
import { askAgent } from '../../cli/socket.ts';
import { agentFiles, fileResources } from '../bench/agents.ts';
import { eventually } from '../support/eventually.ts';
import { PROGRAM } from '../support/program.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

function begin(t: TestContext) {
  const directory = temporaryDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  for (const name of ['root', 'state']) fs.mkdirSync(at(name));
  const places = { root: at('root'), stateDir: at('state'), socket: at('agent.sock') };
  const files = agentFiles(fileResources(1), places);
  fs.writeFileSync(at('agent.json'), files['agent.json']);
  fs.writeFileSync(at('state/bundle.json'), files['bundle.json']);
  const start = (env: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [PROGRAM, 'agent', '--config', at('agent.json')], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    });
    t.after(() => void child.kill('SIGKILL'));
    let log = '';
    child.stdout.on('data', (chunk) => {
      log += chunk;
    });
    return { child, ended: once(child, 'close'), log: () => log };
  };
  const ask = (method: string, url: string, body?: object) =>
    askAgent({ socket: at('agent.sock'), config: '' }, method, url, body);
  const stable = async () => {
    const { status } = z.object({ status: AgentStatus }).parse(await ask('GET', '/v1/status'));
    return findCondition(status.conditions, 'Stable');
  };
  return { at, start, ask, stable };
}

test('memory above the ceiling: it ends in order, with an exit code that says to start it anew', async (t) => {
  const { at, start } = begin(t);
  fs.writeFileSync(at('grown.mjs'), 'process.memoryUsage.rss = () => 2 ** 30;\n');
  const { ended, log } = start({ NODE_OPTIONS: `--import=${at('grown.mjs')}` });
  assert.deepEqual(await ended, [75, null]);
  assert.match(log(), /"detail":"the agent takes 1024 MiB, and memoryCeilingMiB is 512"[\s\S]*"agent stops"/);
});

test('five starts that were killed are a crash loop, and resume ends it', async (t) => {
  const { at, start, ask, stable } = begin(t);
  for (let i = 1; i <= 4; i++) {
    const { child, ended } = start();
    await eventually(async () => assert.equal(await stable(), undefined));
    child.kill('SIGKILL');
    await ended;
  }
  const { child, ended, log } = start();
  await eventually(async () => assert.equal((await stable())?.reason, 'CrashLoop'));
  assert.match(log(), /"crash loop"/);
  await ask('POST', '/v1/resume', {});
  assert.equal((await stable())?.status, 'True');
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  assert.deepEqual(JSON.parse(fs.readFileSync(at('state/starts.json'), 'utf8')), {
    starts: [],
    looping: false,
  });
});
