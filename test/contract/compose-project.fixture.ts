// ComposeProject on a real engine with real `docker compose`, broken with docker's own program.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createDocker } from '../../agent/providers/docker.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createMounts } from '../../agent/providers/mounts.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { composeProject } from '../../kinds/compose-project/index.ts';
import { COMPOSE } from '../support/capabilities.ts';
import { composeFile, IMAGE, Stack, stackImage } from '../support/compose-stack.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { sharedEngine } from '../support/shared-engine.ts';
import { treeText } from '../support/tree.ts';
import type { Fixture } from './fixture.ts';

export const composeProjectFixture: Fixture = {
  kind: composeProject,
  requires: [COMPOSE],
  async open(t) {
    const engine = await sharedEngine();
    await stackImage(engine);
    const root = temporaryDirectory(t);
    const [files, docker, processes] = [
      createFiles({ root }),
      createDocker(engine.address),
      createProcesses(),
    ];
    const stack = new Stack(engine, path.join(root, 'contract'), 'contract');
    t.after(async () => {
      await stack.destroy();
      await Promise.all([files.close(), docker.close(), processes.close()]);
    });
    stack.write('compose.yaml', composeFile());
    stack.write('.env', 'RETENTION=2d');
    await stack.compose('up', '--detach');
    const { grafana } = await stack.containers();
    const run = async (...args: string[]) => void (await engine.docker(...args));
    const container = async (service: string) => (await stack.containers())[service]!.id;
    const until = async (service: string, format: string, value: string) => {
      const id = await container(service);
      await eventually(async () =>
        assert.equal(await engine.docker('inspect', '--format', format, id), value),
      );
    };
    const exporter = { image: IMAGE, restart: 'always', network_mode: 'none' };
    const secret = { secretFrom: { file: '/never/read/here' } };
    return {
      ports: { files, docker, processes, mounts: createMounts({ root }), clock: systemClock },
      specs: [
        {
          directory: '/contract',
          services: {
            exporter: { ...exporter, environment: { A: '1', SECRET: secret } },
            second: {
              ...exporter,
              healthcheck: { test: ['CMD-SHELL', '! test -e /tmp/ill'], interval: '500ms', retries: 2 },
            },
          },
          extend: { prometheus: { appendCommand: ['--more'] } },
        },
        {
          directory: '/contract',
          services: { exporter: { ...exporter, labels: { a: 'b' } } },
          extend: { prometheus: { appendCommand: ['--more', '--still-more'] }, loki: { labels: { a: 1 } } },
        },
      ],
      breakages: {
        'docker rm -f of ours': async () => run('rm', '-f', await container('exporter')),
        'docker stop of theirs': async () => run('stop', await container('prometheus')),
        // One without a healthcheck: an engine that pauses another just as it starts a probe answers nothing about it.
        'docker pause': async () => run('pause', await container('exporter')),
        'up without our file': async () =>
          void (await stack.compose('--file=compose.yaml', 'up', '--detach', '--remove-orphans')),
        'an edited file of ours': () =>
          stack.write('compose.override.yaml', stack.read('compose.override.yaml').replace('"1"', '"2"')),
        'a deleted env file': () => fs.rmSync(path.join(root, 'contract/compose.homeostat.exporter.env')),
        'an override of theirs': () => stack.write('compose.override.yml', 'services: {}\n'),
      },
      unwell: {
        'a healthcheck fails': {
          async harm() {
            await run('exec', await container('second'), 'touch', '/tmp/ill');
            await until('second', '{{.State.Health.Status}}', 'unhealthy');
          },
          async repair() {
            await run('exec', await container('second'), 'sh', '-c', 'exec /bin/busybox rm /tmp/ill');
            await until('second', '{{.State.Health.Status}}', 'healthy');
          },
        },
        'one of ours ended, and the engine has started it again': {
          async harm() {
            // Not waited for: what runs beside a process that ends is killed with it.
            await run('exec', '--detach', await container('exporter'), 'sh', '-c', 'kill -TERM 1');
            await until('exporter', '{{.RestartCount}}', '1');
          },
          repair: async () => run('restart', '--time=1', await container('exporter')),
        },
        'one of theirs has ended by itself, and nobody starts it': {
          async harm() {
            await run('exec', '--detach', await container('prometheus'), 'sh', '-c', 'kill -HUP 1');
            await until('prometheus', '{{.State.Status}}', 'exited');
          },
          repair: async () => run('start', await container('prometheus')),
        },
      },
      async fingerprint() {
        const now = await stack.containers();
        const shown = Object.entries(now).sort(([a], [b]) => (a < b ? -1 : 1));
        const texts = shown.map(([service, { id, state, command, env, labels }]) => {
          // Compose's own labels say how it came to be, which is not what it is.
          const ours = Object.entries(labels).filter(([name]) => !name.startsWith('com.docker.compose.'));
          const isSame = service !== 'grafana' || id === grafana!.id;
          return `${service} ${isSame ? '' : 'made anew'} ${state} ${command} ${env?.toSorted()} ${JSON.stringify(ours.sort())}`;
        });
        return [treeText(root), ...texts].join('\n');
      },
    };
  },
};
