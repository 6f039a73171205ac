// The kind Container on a real engine, one for all stages. Whatever happens, at most one container of a stage runs,
// one runs again within ten seconds of the agent's return, and the one that is not ours keeps its process.
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { DOCKER } from '../../support/capabilities.ts';
import { startDockerd, type TestEngine } from '../../support/dockerd.ts';
import { resource } from '../../support/timeline.ts';
import { FaultHost } from '../support/host.ts';
import { HASTE, type Scenario } from './stage.ts';

const IMAGE = 'test/alloy:1';
const RUNS_AGAIN_MS = 10_000;
let engine: Promise<TestEngine> | undefined;

async function start(): Promise<TestEngine> {
  const missing = DOCKER.missing();
  if (missing !== undefined)
    throw new Error(`this scenario needs ${DOCKER.name}: ${missing}; ${DOCKER.remedy}`);
  const started = await startDockerd();
  await started.image(IMAGE, ['ENTRYPOINT ["/sbin/tini", "--"]', 'CMD ["sleep", "100000"]']);
  await started.docker('run', '-d', '--network=none', '--name=penny-web', IMAGE);
  return started;
}

export const container: Scenario = {
  name: 'Container (a real Docker engine)',
  slow: true,
  requires: DOCKER,
  async open(common) {
    engine ??= start();
    const { address, docker } = await engine;
    const host = new FaultHost({ ...common, haste: HASTE, config: { dockerHost: address } });
    const key = `Container/${host.name}`;
    const name = `${host.name}-alloy`;
    const spec = (more: object) => [
      resource('Container', host.name, { name, image: IMAGE, pull: 'never', network: 'none', ...more }),
    ];
    const good = { env: { MODE: 'two' }, memory: '64m' };
    const bad = spec({ command: ['sh', '-c', 'exit 3'] });
    // Synchronous, since a look right after a kill is.
    const list = (...filters: string[]) =>
      execFileSync(
        'docker',
        ['ps', '--no-trunc', ...filters.flatMap((f) => ['--filter', f]), '--format', '{{.Names}}'],
        { env: { ...process.env, DOCKER_HOST: address }, encoding: 'utf8' },
      )
        .split('\n')
        .filter((n) => n.startsWith(name));
    const penny = () => docker('inspect', '--format', '{{.State.Pid}} {{.State.StartedAt}}', 'penny-web');
    const pennyBefore = await penny();
    const atMostOne = (): void => {
      const running = list();
      if (running.length > 1) throw new Error(`${running.length} run at once: ${running}`);
    };
    return {
      host,
      origins: { [key]: 'created' },
      revisions: [
        { name: 'v1', resources: spec({ env: { MODE: 'one' } }), outcomes: { [key]: 'Ready' } },
        { name: 'v2', resources: spec(good), outcomes: { [key]: 'Ready' } },
        { name: 'refused', resources: bad, outcomes: { [key]: 'RolledBack' } },
        {
          name: 'heal',
          resources: bad,
          outcomes: { [key]: 'RolledBack' },
          tamper: async () => void (await docker('rm', '--force', name)),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => `${list('status=running')} ${await all(docker, name)} ${await penny()}`,
      inspect: atMostOne,
      async back() {
        const deadline = performance.now() + RUNS_AGAIN_MS;
        for (;;) {
          atMostOne();
          if (list().length === 1) return;
          if (performance.now() > deadline) throw new Error('none runs ten seconds after the agent is back');
          await delay(100);
        }
      },
      async settledCheck() {
        const running = list();
        if (running.length !== 1 || running[0] !== name) throw new Error(`what runs is ${running}`);
        const kept = await all(docker, name);
        if (kept !== name) throw new Error(`left behind: ${kept}`);
        const format = '{{.Config.Cmd}} {{.State.Running}} {{.HostConfig.RestartPolicy.Name}}';
        const is = await docker('inspect', '--format', format, name);
        if (is !== '[sleep 100000] true always') throw new Error(`it runs as ${is}`);
        if ((await penny()) !== pennyBefore) throw new Error('the container that is not ours was touched');
      },
      async close() {
        await host.destroy();
        const left = (await all(docker, name)).split(' ').filter(Boolean);
        if (left.length > 0) await docker('rm', '--force', ...left);
      },
    };
  },
  async end() {
    await (await engine)?.stop();
    engine = undefined;
  },
};

/** Names of all of a stage's containers, running or not. */
async function all(docker: TestEngine['docker'], name: string): Promise<string> {
  const found = await docker('ps', '--all', '--format', '{{.Names}}');
  return found
    .split('\n')
    .filter((n) => n.startsWith(name))
    .sort()
    .join(' ');
}
