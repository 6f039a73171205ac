// What the host around the agent can do: disks, limits, clocks, and programs that hang or go away. Every case must
// be healed or told, and be back to normal by itself when the surroundings are. EIO is injected into node:fs by
// hooks.ts, since this needs no device that lies; clocks likewise.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Resource } from '../../../api/bundle.ts';
import { findCondition } from '../../../api/status.ts';
import { STANDIN } from '../../support/alloy/harness.ts';
import { resource } from '../../support/timeline.ts';
import { FaultController } from '../support/controller.ts';
import { quietPort, ServedTailscale } from '../support/fakes.ts';
import { FaultHost, settled } from '../support/host.ts';
import { inParallel, Tally } from '../support/tally.ts';

const YEAR_MS = 365 * 24 * 3600 * 1000;
const HOUR_MS = 3600 * 1000;
/** A namespace of its own, whose limits are nobody else's. */
const NAMESPACE = ['unshare', '--user', '--map-root-user', '--'];

const file = (content: string): Resource[] => [resource('File', 'f', { path: '/data/f', content })];
const key = 'File/f';

interface Case {
  readonly name: string;
  readonly haste?: number;
  play(host: FaultHost, hurried: boolean): Promise<void>;
}

async function comes(what: string, holds: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await delay(10);
  }
}

async function isReady(host: FaultHost): Promise<void> {
  await host.reaches(settled(host.sequence, { [key]: 'Ready' }));
}

async function tells(host: FaultHost, reason: string): Promise<void> {
  await host.reaches(settled(host.sequence, { [key]: reason }));
}

async function healsAgain(host: FaultHost, content: string, ms?: number): Promise<void> {
  fs.writeFileSync(path.join(host.root, 'data/f'), 'tampered');
  await comes('drift is healed', () => host.read('data/f') === content, ms);
}

async function condition(host: FaultHost, name: string) {
  return findCondition((await host.status()).conditions, name);
}

/** What happens while a file can't be written, and after it can again. */
async function refusesAndRecovers(
  host: FaultHost,
  reason: string,
  recover: () => void,
  content = 'two\n',
): Promise<void> {
  host.publish(file(content));
  await tells(host, reason);
  if (host.read('data/f') !== 'one\n') throw new Error(`the old file is not whole: ${host.read('data/f')}`);
  recover();
  await isReady(host);
  await healsAgain(host, content);
}

async function onTmpfs(host: FaultHost, size: string, body: (place: string) => Promise<void>): Promise<void> {
  const place = path.join(host.root, 'data');
  fs.mkdirSync(place);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', place]);
  try {
    host.publish(file('one\n'));
    await host.start();
    await isReady(host);
    await body(place);
  } finally {
    await host.kill();
    execFileSync('umount', ['-l', place]);
  }
}

function errno(code: string, below: 'root/data' | 'state'): Case {
  return {
    name: `${code} ${below === 'state' ? 'in the state directory' : 'where a file is kept'}`,
    haste: 5,
    async play(host) {
      const toggle = path.join(host.directory, 'errno');
      host.publish(file('one\n'));
      await host.start({ errno: { toggle, under: path.join(host.directory, below) } });
      await isReady(host);
      fs.writeFileSync(toggle, code);
      if (below === 'root/data') return refusesAndRecovers(host, code, () => fs.rmSync(toggle));
      await healsAgain(host, 'one\n');
      host.publish(file('two\n'));
      await comes(
        'NotKept is told',
        async () => (await condition(host, 'ManifestAccepted'))?.reason === 'NotKept',
      );
      fs.rmSync(toggle);
      await isReady(host);
    },
  };
}

function clock(name: string, which: 'wall' | 'monotonic', offsetMs: number): Case {
  return {
    name,
    async play(host) {
      const offset = path.join(host.directory, 'offset');
      host.publish(file('one\n'));
      await host.start({ clock: { [which]: offset } });
      await isReady(host);
      fs.writeFileSync(offset, String(offsetMs));
      await healsAgain(host, 'one\n');
      host.publish(file('two\n'));
      await isReady(host);
      await healsAgain(host, 'two\n');
      fs.writeFileSync(offset, '0');
      host.publish(file('three\n'));
      await isReady(host);
      await healsAgain(host, 'three\n');
    },
  };
}

const inotify = (limit: 'max_inotify_watches' | 'max_inotify_instances'): Case => ({
  name: `${limit} used up`,
  async play(host) {
    const limits = `/proc/sys/user/${limit}`;
    host.publish(file('one\n'));
    await host.start(undefined, [...NAMESPACE, 'sh', '-c', `echo 0 >${limits}; exec "$@"`, 'sh']);
    await isReady(host);
    await comes('Polling is told', async () => (await condition(host, 'FilesWatched'))?.reason === 'Polling');
    if (!/^homeostat_watches_polled [1-9]/m.test(await host.exposition()))
      throw new Error('the metric says nothing');
    await healsAgain(host, 'one\n');
    const enter = ['--target', String(host.pid), '--user', '--preserve-credentials', '--'];
    execFileSync('nsenter', [...enter, 'sh', '-c', `echo 1000 >${limits}`]);
    await comes(
      'it watches again',
      async () => (await condition(host, 'FilesWatched'))?.status === 'True',
      40_000,
    );
    await healsAgain(host, 'one\n', 1000);
  },
});

const cases: Case[] = [
  {
    name: 'a full disk',
    play: (host) =>
      onTmpfs(host, '64k', async (place) => {
        fs.writeFileSync(path.join(place, 'filler'), Buffer.alloc(48 * 1024));
        const large = 'x'.repeat(40 * 1024);
        await refusesAndRecovers(host, 'ENOSPC', () => fs.rmSync(path.join(place, 'filler')), large);
      }),
  },
  {
    name: 'a read-only file system',
    play: (host) =>
      onTmpfs(host, '1m', async (place) => {
        execFileSync('mount', ['-o', 'remount,ro', place]);
        await refusesAndRecovers(host, 'EROFS', () => execFileSync('mount', ['-o', 'remount,rw', place]));
      }),
  },
  ...(['EIO', 'EDQUOT', 'ENFILE'] as const).map((code) => errno(code, 'root/data')),
  ...(['EIO', 'ENOSPC'] as const).map((code) => errno(code, 'state')),
  inotify('max_inotify_watches'),
  inotify('max_inotify_instances'),
  {
    name: 'file descriptors used up',
    async play(host) {
      host.publish(file('one\n'));
      await host.start();
      await isReady(host);
      const open = fs.readdirSync(`/proc/${host.pid}/fd`).length;
      const limit = (n: number) => execFileSync('prlimit', ['--pid', String(host.pid), `--nofile=${n}:4096`]);
      limit(open - 2);
      fs.writeFileSync(path.join(host.root, 'data/f'), 'tampered');
      await delay(1500);
      if (host.isDown) throw new Error(`the agent ended: ${host.tail()}`);
      limit(4096);
      await comes('drift is healed', () => host.read('data/f') === 'one\n');
      host.publish(file('two\n'));
      await isReady(host);
      if (!fs.readFileSync(host.log, 'utf8').includes('EMFILE')) throw new Error('nothing told of it');
    },
  },
  {
    name: 'tailscaled gone, and back',
    haste: 20,
    async play(host) {
      const served = await new ServedTailscale(host.directory).start();
      host.use({ config: { tailscaleSockets: [served.socket] } });
      const t = 'TailscaleClient/t';
      const reaches = (outcome: string) => host.reaches(settled(host.sequence, { [t]: outcome }));
      try {
        host.publish([resource('TailscaleClient', 't', { webclient: true, metrics: { check: false } })]);
        await host.start();
        await reaches('Ready');
        await served.close();
        await comes('it is told', async () => {
          const { resources } = await host.status();
          return findCondition(resources[0]!.conditions, 'Ready')?.status !== 'True';
        });
        served.tailscale.change({ RunWebClient: false });
        await served.start();
        await comes('the webclient is on again', () => served.tailscale.current['RunWebClient'] === true);
        await reaches('Ready');
      } finally {
        await served.close();
      }
    },
  },
  {
    name: 'Alloy hangs',
    haste: 5,
    async play(host, hurried) {
      const address = `127.0.0.1:${await quietPort()}`;
      const config = path.join(host.root, 'etc/alloy/config.alloy');
      const common = { address, unit: 'alloy.service', manager: 'supervised' };
      const alloy = { path: '/etc/alloy/config.alloy', binary: STANDIN, ...common };
      const revision = (content: string) => [
        resource('AlloyConfig', 'a', { ...alloy, content }),
        resource(
          'Service',
          'a',
          {
            unit: 'alloy.service',
            manager: 'supervised',
            command: [STANDIN, 'run', `--server.http.listen-addr=${address}`, config],
            env: { FAULT_HOST: host.name, HOMEOSTAT_NODE: process.execPath },
          },
          { dependsOn: [{ ref: 'AlloyConfig/a', until: 'Applied' }] },
        ),
      ];
      const both = { 'AlloyConfig/a': 'Ready', 'Service/a': 'Ready' };
      host.publish(revision('// one\n'));
      await host.start(hurried ? { timeoutsDividedBy: 10 } : {});
      await host.reaches(settled(host.sequence, both), 30_000);
      const { pid } = host.children()[0]!;
      process.kill(pid, 'SIGSTOP');
      fs.writeFileSync(config, 'tampered');
      await comes('the file is healed all the same', () => fs.readFileSync(config, 'utf8') === '// one\n');
      await comes(
        'it is told',
        async () => {
          const { resources } = await host.status();
          const { conditions } = resources.find((r) => r.key === 'AlloyConfig/a')!;
          return conditions.some(
            (c) => c.status !== 'True' && /NoAnswer|AlloySilent|ETIMEDOUT/.test(c.reason),
          );
        },
        100_000,
      );
      process.kill(pid, 'SIGCONT');
      host.publish(revision('// two\n'));
      await host.reaches(settled(host.sequence, both), 60_000);
    },
  },
  clock('the clock set back by a year', 'wall', -YEAR_MS),
  clock('the clock set forward by a year', 'wall', YEAR_MS),
  clock('an hour of suspend', 'monotonic', HOUR_MS),
];

/** @param hurried an Alloy that hangs is given up ten times sooner than after its real 75 s. */
export async function surroundings({
  program,
  hurried,
}: {
  program: string;
  hurried: boolean;
}): Promise<Tally> {
  const tally = new Tally('surroundings');
  const controller = new FaultController();
  await controller.start();
  const only = process.env['FAULT_ONLY'];
  try {
    const chosen = cases.filter((c) => only === undefined || c.name.includes(only));
    await inParallel(chosen, 3, async ({ name, haste, play }) => {
      const host = new FaultHost({ controller, program, ...(haste === undefined ? {} : { haste }) });
      const began = performance.now();
      await tally.check(name, () => play(host, hurried));
      console.log(`  ${name} (${((performance.now() - began) / 1000).toFixed(0)} s)`);
      await host.destroy();
    });
    return tally;
  } finally {
    await controller.stop();
  }
}
