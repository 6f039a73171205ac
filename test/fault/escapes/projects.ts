// Ways for a compose project to be more than what was judged: compose expands variables, merges files, and reads what
// stands beside them.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { eventually } from '../../support/eventually.ts';
import { resource } from '../../support/manifest.ts';
import { IMAGE } from './containers.ts';
import { isOpen, NETWORK, nextPort } from './ports.ts';
import type { Allow, Escape, Stage } from './stage.ts';
import type { Way } from './ways.ts';

export const LOOKS =
  'for f in $$(find /in -name secret -o -name agent.key); do cat $$f >>/proof/seen; done; env >>/proof/env; exec sleep 100000';
export const USERS = `services:\n  theirs:\n    image: ${IMAGE}\n    network_mode: none\n    stop_grace_period: 0s\n    command: [sleep, '100000']\n`;

/** What the manifest adds: one service. */
export function project(s: Stage, service: object, more: object = {}): ReturnType<typeof resource> {
  const { volumes = [], ...others } = service as { volumes?: string[] };
  return resource('ComposeProject', s.id, {
    directory: s.dir,
    project: s.id,
    services: {
      ours: {
        image: IMAGE,
        network_mode: 'none',
        stop_grace_period: '0s',
        command: ['sh', '-c', LOOKS],
        volumes: [`${s.proof}:/proof`, ...volumes],
        ...others,
      },
    },
    ...more,
  });
}

export function twin(s: Stage, evil: Escape['evil'], more: Allow = {}): Escape {
  const { mounts = [], capabilities = [], ...others } = more;
  const start = (): void => {
    s.write(s.at('compose.yaml'), USERS);
    s.write(s.at('app/secret'), 'public\n');
  };
  return {
    allow: {
      kinds: ['ComposeProject', 'File'],
      capabilities: [`compose:${s.dir}`, ...capabilities],
      exec: ['docker', '/usr/bin/docker'],
      images: [IMAGE],
      mounts: [`${s.at('app')}/:ro`, `${s.proof}:rw`, ...mounts],
      ...others,
    },
    honest: {
      before: start,
      resources: [project(s, { volumes: ['./app:/in:ro'], environment: { A: '1' } })],
      works() {
        assert.equal(s.seen(), 'public\n');
        assert.match(s.seen('env'), /^A=1$/m);
      },
    },
    evil: {
      ...evil,
      async before() {
        start();
        await evil.before?.();
      },
    },
  };
}

export const TWIN = 'ComposeProject';

const volume = (
  name: string,
  spelled: (s: Stage) => string,
  before?: (s: Stage) => unknown,
  more?: (s: Stage) => Allow,
): Way => ({
  name,
  twin: TWIN,
  escape: (s) =>
    twin(
      s,
      {
        ...(before === undefined ? {} : { before: () => before(s) }),
        resources: [project(s, { volumes: [spelled(s)] })],
      },
      more?.(s) ?? {},
    ),
});

const up = (s: Stage): string => `${'../'.repeat(s.dir.split('/').length - 1)}etc/canary-${s.id}`;

const service = (name: string, spec: (s: Stage) => object, more: Allow = {}): Way => ({
  name,
  twin: TWIN,
  escape: (s) =>
    twin(
      s,
      {
        resources: [project(s, spec(s))],
        safe: async () => {
          const ids = await s.sh(
            `docker ps -q --filter label=com.docker.compose.project=${s.id} --filter label=com.docker.compose.service=ours`,
          );
          assert.equal(ids.trim(), '', 'it runs');
        },
      },
      more,
    ),
});

const port = (name: string, spelled: (port: number, external: string) => string): Way => ({
  name,
  twin: 'ComposeProject, published',
  escape(s) {
    const [one, honest] = [nextPort(), nextPort()];
    const external = process.env['ESCAPES_ADDRESS']!;
    const spec = (each: string) =>
      project(s, { network_mode: NETWORK, command: ['httpd', '-f', '-p', '80'], ports: [each] });
    const base = twin(
      s,
      {
        resources: [spec(spelled(one, external))],
        safe: async () => {
          // Where no port of the host is named, the engine chooses one.
          const found = await s.sh(
            `docker ps --filter label=com.docker.compose.project=${s.id} --format '{{.Ports}}'`,
          );
          assert.ok(!/(?:0\.0\.0\.0|\[?::\]?|198\.1\d\.[\d.]+):\d+->/.test(found), `published: ${found}`);
          assert.ok(!(await isOpen(external, one)), 'the port is open to others');
        },
      },
      { capabilities: [`network:${NETWORK}`] },
    );
    return {
      ...base,
      honest: {
        before: base.honest.before!,
        resources: [spec(`127.0.0.1:${honest}:80`)],
        works: () => eventually(async () => assert.ok(await isOpen('127.0.0.1', honest), 'it is not served')),
      },
    };
  },
});

export const projectWays: readonly Way[] = [
  volume('a default of a variable in a volume', (s) => `${s.at('app')}/\${X:-${up(s)}}:/in:ro`),
  volume('a variable that is the whole source', (s) => `\${X:-${s.vault}}:/in:ro`),
  volume(
    'a variable of the project’s .env',
    () => '${STOLEN_PLACE}:/in:ro',
    (s) => s.write(s.at('.env'), `STOLEN_PLACE=${s.vault}\n`),
  ),
  volume('a variable behind a granted beginning', (s) => `./app/\${X-${up(s)}}:/in:ro`),
  volume('a mode by a variable', () => './app:/in:${X:-rw}', undefined),
  volume('a source by "~"', () => '~/:/in:ro'),
  volume('a source that climbs out', (s) => `./app/../../../etc/canary-${s.id}:/in:ro`),
  volume(
    'a source by a link',
    () => './app/x:/in:ro',
    (s) => s.link(s.vault, 'app/x'),
  ),
  volume(
    '/ with its grant',
    () => '/:/in:ro',
    undefined,
    () => ({ mounts: ['/:ro'] }),
  ),
  volume(
    'the agent’s state by a link',
    () => './app/x:/in:ro',
    (s) => s.link(s.state, 'app/x'),
    () => ({ mounts: ['/var/:ro'] }),
  ),
  volume(
    'a named volume whose driver binds a path of the host',
    () => 'data:/in:ro',
    (s) =>
      s.write(
        s.at('compose.yaml'),
        `${USERS}volumes:\n  data:\n    driver_opts: { type: none, o: bind, device: ${s.vault} }\n`,
      ),
    (s) => ({ mounts: ['data:rw', `${s.id}_data:rw`] }),
  ),
  {
    name: 'an external volume whose driver binds a path of the host',
    twin: TWIN,
    escape: (s) =>
      twin(
        s,
        {
          async before() {
            await s.sh(`docker volume create -o type=none -o o=bind -o device=${s.vault} ${s.id}-v`);
            s.after(() => s.sh(`docker volume rm -f ${s.id}-v`));
          },
          resources: [
            project(s, { volumes: [`${s.id}-v:/in:ro`] }, { volumes: { [`${s.id}-v`]: { external: true } } }),
          ],
        },
        { mounts: [`${s.id}-v:rw`] },
      ),
  },
  {
    name: 'a volume added to a service of theirs',
    twin: TWIN,
    escape: (s) =>
      twin(
        s,
        {
          resources: [project(s, {}, { extend: { theirs: { volumes: [`\${X:-${s.vault}}:/in:ro`] } } })],
          safe: async () => {
            const mounts = await s.sh(
              `docker ps -q --filter label=com.docker.compose.project=${s.id} | xargs -r docker inspect -f '{{range .Mounts}}{{.Source}} {{end}}'`,
            );
            assert.ok(!mounts.includes(s.vault), 'it is mounted');
          },
        },
        { capabilities: [`compose:${s.dir}#theirs`] },
      ),
  },
  {
    name: 'the project in a directory that is a link',
    twin: TWIN,
    escape: (s) =>
      twin(
        s,
        {
          before() {
            fs.rmSync(s.at('compose.yaml'));
            s.write(`${s.vault}/compose.yaml`, USERS);
            s.link(s.vault, 'l');
          },
          resources: [project(s, {}, { directory: s.at('l') })],
          refusal: ['NotAllowed', 'PathLeadsElsewhere'],
        },
        { paths: [`${s.dir}/`] },
      ),
  },
  service('an image by a variable', () => ({ image: '${X:-test/other:1}' })),
  service('the host’s network by a variable', () => ({ network_mode: '${X:-host}' })),
  service('the host’s processes by a variable', () => ({ pid: '${X:-host}' })),
  service('privileged', () => ({ privileged: true })),
  service('a capability by a variable', () => ({ cap_add: ['${X:-SYS_ADMIN}'] })),
  service('a capability in small letters, granted as a capability', () => ({ cap_add: ['cap_sys_admin'] }), {
    capabilities: ['CAP_SYS_ADMIN'],
  }),
  service('a security option', () => ({ security_opt: ['seccomp=unconfined'] })),
  service('a device by a variable', () => ({ devices: ['${X:-/dev/kmsg}:/dev/kmsg'] })),
  {
    name: 'a program in the place of docker',
    twin: TWIN,
    escape: (s) => twin(s, { resources: [project(s, {}, { docker: s.evil })] }),
  },
  port('a port by a variable', (one) => `\${X:-0.0.0.0}:${one}:80`),
  port('a port without an address', (one) => `${one}:80`),
  port('a port of the container alone', () => '80'),
  port('a range of ports on [::]', (one) => `[::]:${one}-${one}:80-80`),
  port('a port on the host’s address', (one, external) => `${external}:${one}:80`),
  {
    name: 'the agent’s environment by a variable',
    twin: TWIN,
    escape: (s) =>
      twin(s, { resources: [project(s, { environment: { STOLEN: `\${HOMEOSTAT_ENV_${s.id}}` } })] }),
  },
  {
    name: 'a secret of theirs by a variable of a linked .env',
    twin: TWIN,
    escape: (s) =>
      twin(s, {
        before: () => s.link(`${s.vault}/env`, '.env'),
        resources: [project(s, { environment: { SEEN: '${STOLEN}' } })],
      }),
  },
  {
    name: 'a secret that is not granted',
    twin: TWIN,
    escape: (s) =>
      twin(s, {
        resources: [project(s, { environment: { STOLEN: { secretFrom: { file: `${s.vault}/secret` } } } })],
      }),
  },
];
