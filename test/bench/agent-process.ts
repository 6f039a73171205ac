// An agent in a process of its own that is told by lines on stdin to pass over everything once more, and tells how
// many milliseconds that took. Its arguments: a directory, and a JSON file with the resources.
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { AgentConfig, ALLOW_EVERYTHING } from '../../agent/config.ts';
import { createAgent } from '../../agent/main.ts';
import { createLog } from '../../agent/providers/log.ts';
import type { Resource } from '../../api/bundle.ts';
import { onStopSignal } from '../../cli/stop-signals.ts';

const [directory, manifest] = process.argv.slice(2) as [string, string];
const config = AgentConfig.parse({
  host: 'bench',
  root: path.join(directory, 'root'),
  stateDir: path.join(directory, 'state'),
  allow: ALLOW_EVERYTHING,
});
const { agent, ports } = createAgent(config, 'bench', createLog('silent'));
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
await agent.idle();
// The watches are armed by now, or about to be: each wakes its key once.
setTimeout(async () => {
  await agent.idle();
  console.log('ready');
}, 500);
createInterface({ input: process.stdin }).on('line', async () => {
  const began = performance.now();
  agent.reconcile();
  await agent.idle();
  console.log(performance.now() - began);
});
onStopSignal(
  async () => {
    await agent.stop();
    await ports.close();
    process.exit();
  },
  () => {},
);
