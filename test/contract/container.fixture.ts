// Container on a real engine, broken with docker's own program.
import assert from 'node:assert/strict';
import { systemClock } from '../../agent/providers/clock.ts';
import { createDocker } from '../../agent/providers/docker.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createMounts } from '../../agent/providers/mounts.ts';
import { container } from '../../kinds/container/index.ts';
import { DOCKER } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { sharedEngine } from '../support/shared-engine.ts';
import type { Fixture } from './fixture.ts';

const NAME = 'contract-alloy';
/** All that a change would show in, without what differs from run to run. */
const STATE =
  '{{.Id}} {{.Name}} {{.State.Status}} {{.Config.Env}} {{.Config.Labels}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}}';

export const containerFixture: Fixture = {
  kind: container,
  requires: [DOCKER],
  async open(t) {
    const engine = await sharedEngine();
    await engine.image('test/contract:1', ['ENTRYPOINT ["/sbin/tini", "--"]', 'CMD ["sleep", "100000"]']);
    const docker = createDocker(engine.address);
    const files = createFiles();
    const run =
      (...args: string[]) =>
      async () =>
        void (await engine.docker(...args));
    const until = async (format: string, value: string) =>
      void (await eventually(async () =>
        assert.equal(await engine.docker('inspect', '--format', format, NAME), value),
      ));
    // An engine (moby 20.10) that pauses a container just as it starts a probe in it answers nothing about it any more.
    const pauseBetweenProbes = async (): Promise<void> => {
      const probes = () => engine.docker('inspect', '--format', '{{json .State.Health.Log}}', NAME);
      const before = await probes();
      await eventually(async () => assert.notEqual(await probes(), before));
      await engine.docker('pause', NAME);
    };
    const all = async () =>
      (await engine.docker('ps', '--all', '--quiet', '--no-trunc')).split('\n').filter(Boolean);
    await run('run', '--detach', '--network=none', '--name=penny-web', 'test/contract:1')();
    t.after(async () => {
      await engine.docker('rm', '--force', ...(await all()));
      await Promise.all([docker.close(), files.close()]);
    });
    const base = { name: NAME, image: 'test/contract:1', pull: 'never', network: 'none' };
    return {
      ports: { docker, files, mounts: createMounts(), clock: systemClock },
      specs: [
        {
          ...base,
          env: { MODE: 'one' },
          memory: '64m',
          mounts: [{ type: 'tmpfs', target: '/scratch' }],
          healthcheck: { command: ['sh', '-c', '! test -e /scratch/ill'], intervalSeconds: 1, retries: 2 },
        },
        { ...base, env: { MODE: 'two' }, restart: 'on-failure' },
      ],
      breakages: {
        'docker rm -f': run('rm', '--force', NAME),
        'docker stop': run('stop', NAME),
        'docker kill': run('kill', NAME),
        'docker pause': pauseBetweenProbes,
        'docker rename': run('rename', NAME, 'renamed'),
        'docker update of the restart policy': run('update', '--restart=no', NAME),
        'docker update of a limit': run('update', '--memory=128m', '--memory-swap=-1', NAME),
      },
      unwell: {
        'its healthcheck fails': {
          async harm() {
            await run('exec', NAME, 'touch', '/scratch/ill')();
            await until('{{.State.Health.Status}}', 'unhealthy');
          },
          async repair() {
            await run('exec', NAME, 'sh', '-c', 'exec /bin/busybox rm /scratch/ill')();
            await until('{{.State.Health.Status}}', 'healthy');
          },
        },
        'it ended, and the engine has started it again': {
          async harm() {
            // Not waited for: what runs beside a process that ends is killed with it.
            await run('exec', '--detach', NAME, 'sh', '-c', 'kill -TERM 1')();
            await until('{{.RestartCount}}', '1');
          },
          repair: run('restart', '--time=1', NAME),
        },
      },
      async fingerprint() {
        const ids = await all();
        return (await engine.docker('inspect', '--format', STATE, ...ids)).split('\n').sort().join('\n');
      },
    };
  },
};
