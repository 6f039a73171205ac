// Ways for a container to see, write or open what its owner did not grant.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { resource } from '../../support/manifest.ts';
import type { Swap } from './line.ts';
import type { Allow, Escape, Stage } from './stage.ts';
import type { Way } from './ways.ts';

export const IMAGE = 'test/escape:1';
/** It writes down whatever it can read below /in, and tries to write there. */
const COMMAND = [
  'sh',
  '-c',
  'for f in $(find /in -maxdepth 8 -name secret -o -maxdepth 8 -name agent.key); do cat $f >>/proof/seen; done; touch /in/written; sleep 100000',
];

export function container(s: Stage, spec: object, mounts: object[] = []): ReturnType<typeof resource> {
  // Stages share an engine, and what is in service is found by its key.
  return resource('Container', s.id, {
    name: s.id,
    image: IMAGE,
    pull: 'never',
    network: 'none',
    command: COMMAND,
    stopTimeoutSeconds: 0,
    mounts: [{ type: 'bind', source: s.proof, target: '/proof' }, ...mounts],
    ...spec,
  });
}

const bind = (source: string, readOnly = true): object => ({ type: 'bind', source, target: '/in', readOnly });

function twin(s: Stage, evil: Escape['evil'], more: Allow = {}): Escape {
  const mounts = [`${s.dir}/:ro`, `${s.proof}:rw`, ...(more.mounts ?? [])];
  return {
    allow: { kinds: ['Container', 'File'], paths: [`${s.dir}/`], images: [IMAGE], ...more, mounts },
    honest: {
      before: () => s.write(s.at('app/secret'), 'public\n'),
      resources: [container(s, {}, [bind(s.at('app'))])],
      works() {
        assert.equal(s.seen(), 'public\n');
        assert.ok(!fs.existsSync(s.at('app/written')), 'what is granted ro was written to');
      },
    },
    evil,
  };
}

/** Nothing that the host has is in a container of this name now. */
async function noContainer(s: Stage): Promise<void> {
  const mounts = await s.sh(
    `docker inspect -f '{{range .Mounts}}{{.Source}} {{end}}' ${s.id} 2>/dev/null || true`,
  );
  const allowed = [s.proof, s.at('app')];
  for (const source of mounts.split(/\s+/).filter((each) => each.startsWith('/')))
    assert.ok(allowed.includes(source), `a container has ${source} mounted`);
}

interface MountWay {
  readonly name: string;
  before?(s: Stage): unknown;
  source(s: Stage): string;
  readonly swap?: (s: Stage) => Swap;
  readonly mounts?: (s: Stage) => string[];
  readonly more?: Partial<Escape['evil']>;
  readonly readOnly?: boolean;
}

const mount = ({ name, before, source, swap, mounts, more, readOnly = true }: MountWay): Way => ({
  name,
  twin: 'Container',
  escape: (s) =>
    twin(
      s,
      {
        ...(before === undefined ? {} : { before: () => before(s) }),
        resources: [container(s, {}, [bind(source(s), readOnly)])],
        safe: () => noContainer(s),
        ...(swap === undefined ? {} : { swap: swap(s) }),
        ...more,
      },
      mounts === undefined ? {} : { mounts: mounts(s) },
    ),
});

const swapped =
  (at: Swap['at']) =>
  (s: Stage): Swap => ({ at, do: () => s.link(s.vault, 'x') });

/** Granted as a mount, by an owner who did not say in words that it amounts to root. */
const rootEquivalent = (place: string, readOnly: boolean): Way =>
  mount({
    name: `${place}${readOnly ? '' : ', to be written to'}`,
    before: (s) => s.sh(`test -e ${place} || mkdir -p ${place}`),
    source: () => place,
    mounts: () => ['/etc/:rw', '/run/:rw', '/home/:rw', '/var/spool/:rw'],
    readOnly,
  });

/** What an engine is asked to give a container beyond what it gives by default. */
const power = (name: string, spec: object, more: Allow = {}): Way => ({
  name,
  twin: 'Container',
  escape: (s) =>
    twin(
      s,
      {
        resources: [container(s, spec)],
        safe: async () =>
          assert.equal((await s.sh(`docker ps -q --filter name=^/?${s.id}$`)).trim(), '', 'it runs'),
      },
      more,
    ),
});

export const containerWays: readonly Way[] = [
  mount({
    name: 'a mount of a link that leads out',
    before: (s) => s.link(s.vault, 'x'),
    source: (s) => s.at('x'),
  }),
  mount({
    name: 'a mount below a link that leads out',
    before: (s) => s.link('/etc', 'x'),
    source: (s) => s.at(`x/canary-${s.id}`),
  }),
  {
    name: 'a link to / by a File, and a mount of it',
    twin: 'Container',
    escape: (s) =>
      twin(s, {
        resources: [
          resource('File', 'x', { type: 'symlink', path: s.at('x'), target: '/' }),
          { ...container(s, {}, [bind(s.at('x'))]), dependsOn: [{ ref: 'File/x', until: 'Applied' }] },
        ],
        safe: () => noContainer(s),
      }),
  },
  mount({
    name: 'a mount swapped for a link after it was judged',
    before: (s) => s.write(s.at('x/secret'), 'public\n'),
    source: (s) => s.at('x'),
    swap: swapped('prepare'),
  }),
  mount({
    name: 'a mount swapped for a link just before it is made',
    before: (s) => s.write(s.at('x/secret'), 'public\n'),
    source: (s) => s.at('x'),
    swap: swapped('apply'),
  }),
  mount({ name: '/, with its grant', source: () => '/', mounts: () => ['/:ro'] }),
  mount({ name: 'what holds the agent’s state', source: () => '/var/lib', mounts: () => ['/var/lib:ro'] }),
  mount({ name: 'the agent’s state', source: (s) => s.state, mounts: (s) => [`${s.state}:ro`, '/var/:ro'] }),
  mount({
    name: 'the agent’s state by a link',
    before: (s) => s.link(s.state, 'x'),
    source: (s) => s.at('x'),
    mounts: () => ['/var/:ro'],
  }),
  mount({
    name: 'the agent’s state by a bind mount',
    async before(s) {
      fs.mkdirSync(s.at('x'));
      await s.sh(`mount --bind ${s.state} ${s.at('x')}`);
      s.after(() => s.sh(`umount -l ${s.at('x')}`));
    },
    source: (s) => s.at('x'),
  }),
  mount({
    name: 'what holds a bind mount of the agent’s state',
    async before(s) {
      fs.mkdirSync(s.at('x/y'), { recursive: true });
      await s.sh(`mount --bind ${s.state} ${s.at('x/y')}`);
      s.after(() => s.sh(`umount -l ${s.at('x/y')}`));
    },
    source: (s) => s.at('x'),
    // It may run, without what is mounted below.
    more: { refusal: ['NotAllowed', 'Settling', ''], safe: undefined },
  }),
  mount({ name: '/ by /proc/1/root', source: () => '/proc/1/root', mounts: () => ['/proc/:ro'] }),
  mount({
    name: 'the vault by /proc/1/root',
    source: (s) => `/proc/1/root${s.vault}`,
    mounts: () => ['/proc/:ro'],
  }),
  mount({
    name: '".." in a mount',
    source: (s) => `${s.dir}/../../etc`,
    more: { refusal: ['Unsupported', 'NotAllowed'] },
  }),
  mount({
    name: 'a mount that is granted ro, to be written to',
    before: (s) => s.write(s.at('x/secret'), 'public\n'),
    source: (s) => s.at('x'),
    readOnly: false,
    more: { safe: undefined },
  }),
  ...[
    '/run/docker.sock',
    '/run',
    '/run/dbus',
    '/run/dbus/system_bus_socket',
    '/run/systemd',
    '/run/tailscale',
  ].map((place) => rootEquivalent(place, true)),
  ...[
    '/etc',
    '/etc/crontab',
    '/etc/cron.daily',
    '/etc/pam.d',
    '/etc/ssh',
    '/etc/sudoers',
    '/etc/apt',
    '/etc/profile.d',
    '/etc/udev',
    '/home',
    '/etc/ld.so.conf.d',
    '/etc/init.d',
  ].map((place) => rootEquivalent(place, false)),
  {
    name: 'a volume whose driver binds a path of the host',
    twin: 'Container',
    escape: (s) =>
      twin(
        s,
        {
          async before() {
            await s.sh(`docker volume create -d local -o type=none -o o=bind -o device=${s.vault} ${s.id}-v`);
            s.after(() => s.sh(`docker volume rm -f ${s.id}-v`));
          },
          resources: [
            container(s, {}, [{ type: 'volume', source: `${s.id}-v`, target: '/in', readOnly: true }]),
          ],
        },
        { mounts: [`${s.id}-v:rw`] },
      ),
  },
  {
    name: 'a volume that becomes a link to the host',
    twin: 'Container',
    escape: (s) =>
      twin(
        s,
        {
          async before() {
            await s.sh(`docker volume create ${s.id}-v`);
            const place = (await s.sh(`docker volume inspect -f '{{.Mountpoint}}' ${s.id}-v`)).trim();
            fs.rmdirSync(place);
            fs.symlinkSync(s.vault, place);
            s.after(() => s.sh(`rm -f ${place}; docker volume rm -f ${s.id}-v`));
          },
          resources: [
            container(s, {}, [{ type: 'volume', source: `${s.id}-v`, target: '/in', readOnly: true }]),
          ],
          refusal: ['NotAllowed'],
        },
        { mounts: [`${s.id}-v:rw`] },
      ),
  },
  {
    name: 'a secret in the environment that is not granted',
    twin: 'Container',
    escape: (s) =>
      twin(s, {
        resources: [
          container(s, {
            env: { STOLEN: { secretFrom: { file: path.join(s.vault, 'secret') } } },
            command: ['sh', '-c', 'env >/proof/seen; sleep 100000'],
          }),
        ],
      }),
  },
  power('an image that is not granted', { image: 'test/other:1' }),
  power('privileged', { privileged: true }),
  power('the host’s processes', { pid: 'host' }),
  power('the host’s network', { network: 'host' }),
  power('another container’s network', { network: 'container:other' }),
  power('a capability', { capAdd: ['NET_ADMIN'] }),
  power(
    'a capability that amounts to root, granted as a capability',
    { capAdd: ['SYS_ADMIN'] },
    {
      capabilities: ['CAP_SYS_ADMIN'],
    },
  ),
  power('all capabilities', { capAdd: ['ALL'] }, { capabilities: ['CAP_SYS_PTRACE', 'ALL'] }),
];
