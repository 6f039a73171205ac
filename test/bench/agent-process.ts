// An agent as a process of its own, on a sandbox root, with a manifest given as a file: what benches measure. Its
// arguments: the directory, and a JSON file with the resources. Prints one line when every resource had its pass.
import fs from 'node:fs';
import path from 'node:path';
import pino from 'pino';
import { Agent } from '../../agent/agent.ts';
import { AgentConfig } from '../../agent/config.ts';
import { openPorts } from '../../agent/main.ts';
import type { Resource } from '../../api/bundle.ts';
import { kinds } from '../../kinds/index.ts';

const [directory, manifest] = process.argv.slice(2) as [string, string];
const config = AgentConfig.parse({
  host: 'bench',
  root: path.join(directory, 'root'),
  stateDir: path.join(directory, 'state'),
  allow: { kinds: ['*'], paths: ['/'], units: ['*'], exec: ['*'], rootEquivalent: ['*'] },
});
const log = pino({ level: 'silent' });
const ports = openPorts(config, log);
const agent = new Agent({
  config,
  kinds,
  ports,
  log,
  env: {},
  version: 'bench',
  bootID: 'bench',
  random: Math.random,
});
agent.start();
agent.assign({
  sequence: 1,
  commit: 'bench',
  payload: {
    apiVersion: 'homeostat.dev/v1',
    host: { name: 'bench', labels: {}, mode: 'enforce', decommission: false, confirmRemovals: [] },
    resources: JSON.parse(fs.readFileSync(manifest, 'utf8')) as Resource[],
  },
});
const timer = setInterval(() => {
  if (!agent.ready) return;
  clearInterval(timer);
  console.log('ready');
}, 5);
process.once('SIGTERM', async () => {
  await agent.stop();
  await ports.close();
});
