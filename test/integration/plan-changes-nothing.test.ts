// What only looks changes nothing: `homeostat plan` beside an agent that runs, on the same state directory, and an agent
// on a host in mode observe.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { processesWithEnvironment } from '../../agent/providers/process-identity.ts';
import { AgentStatus, isTrue } from '../../api/status.ts';
import { askAgent } from '../../cli/socket.ts';
import { agentFiles } from '../bench/agents.ts';
import { eventually } from '../support/eventually.ts';
import { homeostatIn } from '../support/homeostat.ts';
import { resource } from '../support/manifest.ts';
import { PROGRAM } from '../support/program.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';

const MARK = 'HOMEOSTAT_TEST_CHILD';
const service = (mark: string) => ({
  unit: 'sleeper.service',
  manager: 'supervised',
  state: 'running',
  command: ['/bin/sleep', '1000'],
  env: { [MARK]: mark },
});

async function end(agent: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (agent.exitCode !== null || agent.signalCode !== null) return;
  const ended = once(agent, 'exit');
  agent.kill(signal);
  await ended;
}

/** An agent with a child, and manifests that ask for the same child and one more file. */
async function begin(t: TestContext) {
  const directory = temporaryDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  for (const name of ['root', 'state', 'manifests']) fs.mkdirSync(at(name));
  const spec = service(directory);
  const files = agentFiles([resource('Service', 'sleeper', spec)], {
    root: at('root'),
    stateDir: at('state'),
    socket: at('agent.sock'),
  });
  fs.writeFileSync(at('agent.json'), files['agent.json']);
  fs.writeFileSync(at('state/bundle.json'), files['bundle.json']);
  const document = (kind: string, name: string, fields: object): string =>
    JSON.stringify({ apiVersion: 'homeostat.dev/v1', kind, metadata: { name }, ...fields });
  const hosts = { all: true };
  fs.writeFileSync(
    at('manifests/all.yaml'),
    [
      document('Host', 'bench', { spec: { mode: 'enforce' } }),
      document('Service', 'sleeper', { hosts, spec }),
      document('File', 'motd', {
        hosts,
        spec: { path: '/etc/motd', content: { secretFrom: { env: 'MOTD' } } },
      }),
    ].join('\n---\n'),
  );
  const startAgent = () => {
    const agent = spawn(process.execPath, [PROGRAM, 'agent', '--config', at('agent.json')], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    t.after(() => end(agent, 'SIGTERM'));
    return agent;
  };
  t.after(() => {
    for (const pid of children()) process.kill(pid, 'SIGKILL');
  });
  const agent = startAgent();
  const children = (): number[] => processesWithEnvironment(`${MARK}=${directory}`);
  // Confirmed: from then on it writes nothing by itself.
  const ready = (mode: string): Promise<void> =>
    eventually(async () => {
      const answer = await askAgent({ socket: at('agent.sock'), config: '' }, 'GET', '/v1/status');
      const { status } = z.object({ status: AgentStatus }).parse(answer);
      assert.equal(status.mode, mode);
      assert.ok(
        status.resources.length === 1 && status.resources.every((r) => isTrue(r.conditions, 'Ready')),
      );
    });
  await ready('enforce');
  const [child] = children();
  return { at, agent, child, children, startAgent, ready, spec };
}

test('plan beside a running agent leaves its children, its unfinished files and everything else as they are', async (t) => {
  const { at, agent, child, children } = await begin(t);
  for (const name of ['bundle.json.new', 'supervised/sleeper.service.pid.json.new'])
    fs.writeFileSync(at(`state/${name}`), 'half');
  const before = [treeText(at('state')), treeText(at('root'))];
  const homeostat = homeostatIn(at('.'));
  const where = ['--dir', at('manifests'), '--host', 'bench', '--root', at('root'), '--state', at('state')];
  const planned = await homeostat(['plan', ...where], { MOTD: 'hello' });
  assert.match(planned.stdout, /~ File\/motd[\s\S]*1 to change, 1 in sync/, planned.stdout + planned.stderr);
  assert.equal(planned.status, 2);
  assert.deepEqual([treeText(at('state')), treeText(at('root'))], before);
  assert.deepEqual(children(), [child], 'the child runs, and is the same');
  assert.equal(agent.exitCode, null);
});

test('an agent that only observes leaves the children of an earlier one when it stops', async (t) => {
  const { at, agent, child, children, startAgent, ready, spec } = await begin(t);
  await end(agent, 'SIGKILL');
  const observing = agentFiles([resource('Service', 'sleeper', spec)], {}, 'observe');
  fs.writeFileSync(at('state/bundle.json'), observing['bundle.json']);
  const observer = startAgent();
  await ready('observe');
  await end(observer, 'SIGTERM');
  assert.equal(observer.exitCode, 0);
  assert.deepEqual(children(), [child]);
});

test('plan makes no directory: neither the sandbox nor the state', async (t) => {
  const { at } = await begin(t);
  const homeostat = homeostatIn(at('.'));
  const where = ['--dir', at('manifests'), '--host', 'bench', '--root', at('new'), '--state', at('other')];
  const planned = await homeostat(['plan', ...where], { MOTD: 'hello' });
  assert.match(planned.stdout, /2 to change/, planned.stdout + planned.stderr);
  assert.deepEqual([at('new'), at('other')].map(fs.existsSync), [false, false]);
});
