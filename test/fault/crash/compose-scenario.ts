// ComposeProject with real `docker compose` on a real engine, one for all stages. The agent's children are killed with
// it, compose in the middle of its work included: that is what systemd does to a service that ended (KillMode=mixed),
// and launchd to a job.
import fs from 'node:fs';
import path from 'node:path';
import { sha256 } from '../../../api/json.ts';
import { COMPOSE } from '../../support/capabilities.ts';
import { composeFile, IMAGE, Stack, stackImage } from '../../support/compose-stack.ts';
import { startDockerd, type TestEngine } from '../../support/dockerd.ts';
import { resource } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';
import { FaultHost } from '../support/host.ts';
import type { Scenario } from './stage.ts';

const THEIRS = composeFile();
/** Compose itself gets no faster, and a pass has 180 s of the hasty clock. */
const HASTE = 3;
const WITHIN_MS = 90_000;
let engine: Promise<TestEngine> | undefined;

async function start(): Promise<TestEngine> {
  const started = await startDockerd();
  await stackImage(started);
  return started;
}

export const compose: Scenario = {
  name: 'ComposeProject (real docker compose and a real engine)',
  slow: true,
  requires: COMPOSE,
  async open(common) {
    engine ??= start();
    const shared = await engine;
    const host = new FaultHost({ ...common, haste: HASTE, config: { dockerHost: shared.address } });
    const stack = new Stack(shared, path.join(host.root, host.name), host.name);
    stack.write('compose.yaml', THEIRS);
    stack.write('compose.override.yml', 'services: {}\n');
    stack.write('.env', 'RETENTION=2d');
    await stack.compose('up', '--detach');
    const { grafana } = await stack.containers();
    const key = 'ComposeProject/c';
    const secret = path.join(host.directory, 'secret');
    fs.writeFileSync(secret, 'tskey-1');
    const exporter = { image: IMAGE, restart: 'always', network_mode: 'none' };
    const spec = (services: object, ...more: string[]) => [
      resource('ComposeProject', 'c', {
        directory: `/${host.name}`,
        services,
        extend: { prometheus: { appendCommand: more } },
      }),
    ];
    const environment = { SECRET: { secretFrom: { file: secret } } };
    const bad = spec({ exporter }, '--bad');
    const running = async () =>
      Object.entries(await stack.containers()).filter(([, c]) => c.state === 'running');
    return {
      host,
      withinMs: WITHIN_MS,
      origins: { [key]: 'created' },
      revisions: [
        { name: 'v1', resources: spec({ old: exporter }, '--one'), outcomes: { [key]: 'Ready' } },
        {
          name: 'v2',
          resources: spec({ exporter: { ...exporter, environment } }, '--two'),
          outcomes: { [key]: 'Ready' },
        },
        { name: 'refused', resources: bad, outcomes: { [key]: 'RolledBack' } },
        {
          name: 'heal',
          resources: bad,
          outcomes: { [key]: 'RolledBack' },
          tamper: async () =>
            void (await shared.docker('rm', '-f', (await stack.containers())['exporter']!.id)),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      async fingerprint() {
        const all = Object.entries(await stack.containers()).sort(([a], [b]) => (a < b ? -1 : 1));
        const shown = all.map(([service, { id, state, command }]) => {
          const isSame = service !== 'grafana' || id === grafana!.id;
          return `${service} ${state} ${command} ${isSame ? '' : 'made anew'}`;
        });
        const tree = treeText(host.root)
          .split('\n')
          .map((line) => line.replace(/[^ ]{60,}$/, (content) => sha256(content).slice(0, 12)));
        const text = [...tree, ...shown, ...(await stack.names())].join('\n');
        return text.replaceAll(host.name, 'stack');
      },
      inspect() {
        endChildren(stack.directory);
        if (stack.read('compose.yaml') !== THEIRS) throw new Error('their compose file was changed');
        if (!stack.read('.env').endsWith('RETENTION=2d')) throw new Error('their .env was changed');
        if (!stack.has('compose.homeostat.yaml')) return;
        JSON.parse(stack.read('compose.homeostat.yaml').replace(/^#.*\n/, ''));
      },
      async settledCheck() {
        const now = Object.fromEntries(await running());
        const names = Object.keys(now).sort().join(' ');
        const known = ['exporter grafana loki prometheus', 'grafana loki old prometheus'];
        if (!known.includes(names)) throw new Error(`what runs is ${names}`);
        const last = now['prometheus']!.command!.at(-1)!;
        if (last !== (names === known[0] ? '--two' : '--one'))
          throw new Error(`prometheus runs with ${last}`);
        if (now['grafana']!.id !== grafana!.id) throw new Error('grafana, which is not ours, was made anew');
        const containers = await stack.names();
        if (containers.length !== 4) throw new Error(`left behind: ${containers.join(' ')}`);
      },
      async close() {
        await host.destroy();
        endChildren(stack.directory);
        await stack.destroy();
      },
    };
  },
  async end() {
    await (await engine)?.stop();
    engine = undefined;
  },
};

/** Every process that works in this directory, which only the agent starts any in. */
function endChildren(directory: string): void {
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const cwd = fs.readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, '');
      if (cwd === directory) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
}
