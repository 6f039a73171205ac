// For any part of a project, with `check` left out: whatever a real compose asks a real engine for was asked of the host's
// owner. Containers are made and not started; what the engine then has is read here by itself.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../agent/providers/clock.ts';
import { createDocker } from '../../agent/providers/docker.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createMounts } from '../../agent/providers/mounts.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { composeProject } from '../../kinds/compose-project/index.ts';
import type { Permission } from '../../kinds/kind.ts';
import type { Ports, Processes } from '../../kinds/ports.ts';
import { COMPOSE, require } from '../support/capabilities.ts';
import { IMAGE, Stack, stackImage } from '../support/compose-stack.ts';
import { desiredOf } from '../support/desired.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const never = new AbortController().signal;
let engine: TestEngine;
before(async () => {
  if (COMPOSE.missing() !== undefined) return;
  engine = await startDockerd();
  await stackImage(engine);
});
after(() => engine?.stop());

const volume = fc.constantFrom(
  ...[
    './data:/a',
    './${UP:-../../etc}:/b:ro',
    '/etc:/c:ro',
    '${ROOT:-/}:/d',
    '~/x:/e',
    'named:/f',
    'bound:/g',
    '/anon',
  ],
);
const port = fc.constantFrom(
  ...['80', '81:81', '127.0.0.1:82:82', '0.0.0.0:83:83', '[::]:84:84', '[::ffff:0.0.0.0]:85:85'],
  ...['[::1]:86:86', '${IP:-0.0.0.0}:87:87', '127.0.0.1::88', '9000-9001:9000-9001', '${LOOP}:89:89'],
);
const powers = {
  volumes: fc.uniqueArray(volume, { minLength: 1, maxLength: 3 }),
  ports: fc.uniqueArray(port, { minLength: 1, maxLength: 3 }),
  cap_add: fc.uniqueArray(fc.constantFrom('net_admin', 'CAP_SYS_ADMIN', 'ALL'), {
    minLength: 1,
    maxLength: 2,
  }),
  security_opt: fc.constantFrom(['seccomp:unconfined'], ['apparmor=unconfined'], ['no-new-privileges:true']),
  devices: fc.constantFrom(['/dev/null:/dev/x'], ['/dev/zero']),
  logging: fc.constantFrom({ driver: 'json-file' }, { driver: 'syslog' }, { driver: '${LOG:-local}' }),
};
const added = fc.record(
  {
    image: fc.constantFrom(IMAGE, '${IMAGE:-stack/service:1}'),
    ...powers,
    network_mode: fc.constantFrom('none', 'host', '${NET:-host}'),
    pid: fc.constantFrom('host', '${PID:-host}'),
    privileged: fc.boolean(),
  },
  { requiredKeys: ['image', 'network_mode'] },
);
const spec = fc.record(
  {
    services: fc.record({ side: added }),
    extend: fc.record({ web: fc.record(powers, { requiredKeys: [] }) }),
  },
  { requiredKeys: ['services'] },
);

const BASE = `
services:
  web: { image: ${IMAGE}, network_mode: none, volumes: ["/opt:/theirs"], cap_add: [NET_ADMIN] }
volumes:
  bound: { driver_opts: { type: none, o: bind, device: /srv } }
  named: {}
`;

interface Inspected {
  readonly Config: { readonly Image: string; readonly Labels: Readonly<Record<string, string>> };
  readonly HostConfig: {
    readonly Binds: readonly string[] | null;
    readonly Mounts?: readonly { Type: string; Source?: string; ReadOnly?: boolean }[];
    readonly CapAdd: readonly string[] | null;
    readonly SecurityOpt: readonly string[] | null;
    readonly Devices: readonly { PathOnHost: string }[] | null;
    readonly LogConfig: { readonly Type: string };
    readonly NetworkMode: string;
    readonly PidMode: string;
    readonly Privileged: boolean;
    readonly PortBindings: Readonly<Record<string, readonly { HostIp: string }[]>> | null;
  };
}

/** What a container was made with, in the words of grants. */
function given({ HostConfig: host, Config }: Inspected, service: string): string[] {
  const addresses = Object.values(host.PortBindings ?? {}).flatMap((all) => all.map(({ HostIp }) => HostIp));
  const binds = (host.Binds ?? [])
    .map((bind) => bind.split(':'))
    .filter(([source]) => !/^[0-9a-f]{64}$/.test(source!));
  const mounts = (host.Mounts ?? []).filter(({ Type, Source }) => Type !== 'tmpfs' && Source !== undefined);
  const secure = (host.SecurityOpt ?? []).filter(
    (option) => !/^(?:no-new-privileges.*|label=disable)$/.test(option),
  );
  return [
    `image docker.io/${Config.Image}`,
    ...addresses
      .filter((ip) => !['127.0.0.1', '::1'].includes(ip))
      .map((ip) => `capability publish:${ip === '' || ip.startsWith('::ffff:') ? '0.0.0.0' : ip}`),
    ...binds.map(
      ([source, , mode = 'rw']) => `mount ${source}:${mode.split(',').includes('ro') ? 'ro' : 'rw'}`,
    ),
    ...mounts.map(({ Source, ReadOnly = false }) => `mount ${Source}:${ReadOnly ? 'ro' : 'rw'}`),
    ...(host.CapAdd ?? []).map(
      (name) => `capability ${name === 'ALL' ? name : `CAP_${name.replace(/^CAP_/, '')}`}`,
    ),
    ...secure.map((option) => `root-equivalent security:${option.replace(':', '=')}:${service}`),
    ...(host.Devices ?? []).map(({ PathOnHost }) => `root-equivalent device:${PathOnHost}`),
    ...(['json-file', 'local'].includes(host.LogConfig.Type)
      ? []
      : [`capability logging:${host.LogConfig.Type}`]),
    ...(host.NetworkMode === 'host' ? ['capability network:host'] : []),
    ...(host.PidMode === 'host' ? [`root-equivalent pid:host:${service}`] : []),
    ...(host.Privileged ? [`root-equivalent privileged:${service}`] : []),
  ];
}

/** What the files of the owner give to `web` of themselves. */
const THEIRS = [`image docker.io/${IMAGE}`, 'mount /opt:rw', 'capability CAP_NET_ADMIN'];

const named = ({ type, value, mode }: Permission): string =>
  `${type} ${value}${mode === undefined ? '' : `:${mode}`}`;

test('whatever compose has an engine make was asked for', { timeout: 240_000 }, async (t) => {
  if (!require(t, COMPOSE)) return;
  const parent = temporaryDirectory(t);
  const stack = new Stack(engine, path.join(parent, 'any'), 'any');
  const [docker, files, processes, mounts] = [
    createDocker(engine.address),
    createFiles(),
    createProcesses(),
    createMounts(),
  ];
  t.after(async () => {
    await stack.destroy();
    await Promise.all([docker.close(), files.close(), processes.close()]);
  });
  const making: Processes = {
    ...processes,
    run(command, args, options) {
      const at = args.indexOf('up');
      if (at < 0) return processes.run(command, args, options);
      return processes.run(
        command,
        [...args.slice(0, at), 'create', ...args.slice(args.indexOf('--') + 1)],
        options,
      );
    },
  };
  const io = { docker, files, processes: making, mounts, clock: systemClock } as unknown as Ports;
  await fc.assert(
    fc.asyncProperty(spec, async (part) => {
      await stack.destroy();
      fs.rmSync(stack.directory, { recursive: true, force: true });
      fs.mkdirSync(path.join(stack.directory, 'data'), { recursive: true });
      stack.write('compose.yaml', BASE);
      stack.write('.env', 'LOOP=127.0.0.1\n');
      const whole = composeProject.spec.parse({ directory: stack.directory, ...part });
      const d = desiredOf('ComposeProject/any', whole);
      const resolved = await composeProject.resolve!(d, io, never);
      const asked = new Set([...composeProject.permissions(d.spec), ...resolved].map(named));
      const changes = composeProject.diff(d, await composeProject.observe(d, io, never));
      await composeProject.apply(changes, d, io, never);
      const ids = (await engine.docker('ps', '--all', '--quiet')).split('\n').filter(Boolean);
      const made = JSON.parse(await engine.docker('inspect', ...ids)) as Inspected[];
      assert.ok(made.length > 0);
      for (const container of made) {
        const service = container.Config.Labels['com.docker.compose.service']!;
        const theirs = service === 'web' ? THEIRS : [];
        for (const power of given(container, service)) {
          assert.ok(asked.has(power) || theirs.includes(power), `${service}: ${power} was not asked for`);
        }
      }
    }),
    { numRuns: 10, endOnFailure: true },
  );
});
