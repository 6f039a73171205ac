// Containers of a Docker engine, as Container documents; those of compose projects by their project. All of them go
// in as comments: what homeostat keeps carries its label, so it would make each one anew once, and that is to be
// decided for one after the other. Fields: docs.docker.com/reference/api/engine (ContainerInspect, ImageInspect).
import { inWords } from '../../../api/errors.ts';
import type { Docker } from '../../../kinds/ports.ts';
import { type Draft, type Gathered, NOTHING, nameFor } from './draft.ts';
import { isSecretValue, withoutSecrets } from './secrets.ts';

const TIMEOUT_MS = 10_000;
const COMPOSE = 'com.docker.compose.';
const OURS = 'dev.homeostat.';

interface Config {
  readonly Image?: string;
  readonly Hostname?: string;
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly Env?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
}
interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly Image: string;
  readonly Config: Config;
  readonly HostConfig: {
    readonly NetworkMode?: string;
    readonly PidMode?: string;
    readonly Privileged?: boolean;
    readonly ReadonlyRootfs?: boolean;
    readonly Memory?: number;
    readonly CapAdd?: readonly string[] | null;
    readonly CapDrop?: readonly string[] | null;
    readonly RestartPolicy?: { readonly Name?: string };
    readonly PortBindings?: Readonly<
      Record<string, readonly { HostIp: string; HostPort: string }[] | null>
    > | null;
  };
  readonly Mounts: readonly {
    readonly Type: string;
    readonly Name?: string;
    readonly Source: string;
    readonly Destination: string;
    readonly RW: boolean;
    readonly Propagation?: string;
  }[];
}

export async function gatherDocker(host: string, docker: Docker): Promise<Gathered> {
  let listed: readonly { Id: string }[];
  try {
    listed = await get(docker, '/containers/json', { all: true });
  } catch (error) {
    const message = inWords(error);
    return /no Docker engine answers/.test(message) && !process.env['DOCKER_HOST']
      ? NOTHING
      : { drafts: [], notes: [`Docker could not be asked, so containers were left out: ${message}`] };
  }
  const containers: Draft[] = [];
  const projects = new Map<string, string[]>();
  for (const { Id } of listed) {
    const found = await get<Inspected>(docker, `/containers/${Id}/json`);
    const labels = found.Config.Labels ?? {};
    if (Object.keys(labels).some((label) => label.startsWith(OURS))) continue;
    const directory = labels[`${COMPOSE}project.working_dir`];
    if (directory !== undefined)
      projects.set(directory, [...(projects.get(directory) ?? []), labels[`${COMPOSE}service`] ?? '?']);
    else containers.push(containerDraft(host, found, await imageConfig(docker, found.Image)));
  }
  return {
    drafts: [...containers, ...[...projects].map((project) => projectDraft(host, project))],
    notes: [],
  };
}

async function get<T>(docker: Docker, path: string, query: Record<string, boolean> = {}): Promise<T> {
  const { status, body } = await docker.request('GET', path, { query, timeoutMs: TIMEOUT_MS });
  if (status !== 200) throw new Error(`the engine answers ${status} to ${path}`);
  return JSON.parse(body) as T;
}

/** What a container has from its image need not be said. */
async function imageConfig(docker: Docker, id: string): Promise<Config> {
  try {
    return (
      (await get<{ Config?: Config | null }>(docker, `/images/${encodeURIComponent(id)}/json`)).Config ?? {}
    );
  } catch {
    return {}; // the image was removed under it; more is said than need be
  }
}

function containerDraft(host: string, found: Inspected, image: Config): Draft {
  const { Config: config, HostConfig: hostConfig } = found;
  const name = found.Name.replace(/^\//, '');
  const remarks: string[] = [];
  const own = <K extends 'Cmd' | 'Entrypoint'>(field: K): string[] | undefined => {
    const given = config[field] ?? [];
    if (given.length === 0 || JSON.stringify(given) === JSON.stringify(image[field])) return undefined;
    const { args, hidden } = withoutSecrets(given);
    if (hidden) remarks.push(`FILL-IN stands for what may be a secret: docker inspect ${name} has it.`);
    return args;
  };
  const shortID = found.Id.slice(0, 12);
  const network = hostConfig.NetworkMode;
  const spec = {
    name,
    image: config.Image ?? found.Image,
    entrypoint: own('Entrypoint'),
    command: own('Cmd'),
    env: environment(host, name, config, image, remarks),
    mounts: mountsOf(found, remarks),
    network: network === undefined || network === 'default' ? undefined : network,
    ports: portsOf(hostConfig.PortBindings ?? {}),
    hostname: config.Hostname === shortID || network === 'host' ? undefined : config.Hostname,
    pid: hostConfig.PidMode === 'host' ? 'host' : undefined,
    user: config.User === (image.User ?? '') ? undefined : config.User,
    workingDir: config.WorkingDir === (image.WorkingDir ?? '') ? undefined : config.WorkingDir,
    privileged: hostConfig.Privileged === true ? true : undefined,
    capAdd: hostConfig.CapAdd ?? undefined,
    capDrop: hostConfig.CapDrop ?? undefined,
    readOnlyRoot: hostConfig.ReadonlyRootfs === true ? true : undefined,
    memory: memoryOf(hostConfig.Memory ?? 0),
    restart: hostConfig.RestartPolicy?.Name || 'no',
    adopt: true,
  };
  return {
    kind: 'Container',
    name: nameFor(name, host),
    file: `${host}/containers.yaml`,
    hosts: [host],
    spec: Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined)),
    remarks,
    doubt: `homeostat would make ${name} anew once, to know it again by a label.\nRemove the comment signs for a container that it shall keep, and leave out those that are nobody's business.`,
  };
}

/** Values that may be secrets become a placeholder; they are not read again. */
function environment(
  host: string,
  container: string,
  config: Config,
  image: Config,
  remarks: string[],
): Record<string, unknown> | undefined {
  const inherited = new Set(image.Env ?? []);
  const own = (config.Env ?? []).filter((entry) => !inherited.has(entry));
  if (own.length === 0) return undefined;
  const env = own.map((entry) => {
    const [, name = entry, value = ''] = /^([^=]*)=([\s\S]*)$/.exec(entry) ?? [];
    if (!isSecretValue(name, value)) return [name, value.replaceAll('${', '$${')];
    const file = `/etc/homeostat/secrets/${container}-${name.toLowerCase().replaceAll('_', '-')}`;
    remarks.push(
      `${name} may be a secret: put its value into ${file} on ${host}, or encrypt it (homeostat secret encrypt).`,
    );
    return [name, { secretFrom: { file } }];
  });
  return Object.fromEntries(env);
}

function mountsOf({ Mounts }: Inspected, remarks: string[]): Record<string, unknown>[] | undefined {
  const mounts = Mounts.flatMap((mount) => {
    const readOnly = mount.RW ? {} : { readOnly: true };
    const propagation = ['rslave', 'rshared'].includes(mount.Propagation ?? '')
      ? { propagation: mount.Propagation }
      : {};
    if (mount.Type === 'bind')
      return [{ type: 'bind', source: mount.Source, target: mount.Destination, ...readOnly, ...propagation }];
    // A volume without a name of its own goes with its container.
    if (mount.Type === 'volume' && !/^[0-9a-f]{64}$/.test(mount.Name ?? ''))
      return [{ type: 'volume', source: mount.Name, target: mount.Destination, ...readOnly }];
    if (mount.Type === 'tmpfs') return [{ type: 'tmpfs', target: mount.Destination }];
    remarks.push(
      `What is at ${mount.Destination} is left out: it is a ${mount.Type} without a name, and would be lost.`,
    );
    return [];
  });
  return mounts.length === 0 ? undefined : mounts;
}

function portsOf(bindings: NonNullable<Inspected['HostConfig']['PortBindings']>): string[] | undefined {
  const ports = Object.entries(bindings).flatMap(([container, published]) =>
    (published ?? []).map(({ HostIp, HostPort }) => {
      const address = HostIp.includes(':') ? `[${HostIp}]` : HostIp || '0.0.0.0';
      return `${address}:${HostPort}:${container.replace(/\/tcp$/, '')}`;
    }),
  );
  return ports.length === 0 ? undefined : ports;
}

function memoryOf(bytes: number): string | undefined {
  if (bytes === 0) return undefined;
  const [divisor, unit] =
    bytes % 1024 ** 3 === 0 ? [1024 ** 3, 'g'] : bytes % 1024 ** 2 === 0 ? [1024 ** 2, 'm'] : [1024, 'k'];
  return `${Math.ceil(bytes / Number(divisor))}${unit}`;
}

function projectDraft(host: string, [directory, services]: [string, string[]]): Draft {
  return {
    kind: 'ComposeProject',
    name: nameFor(directory.split('/').at(-1) ?? 'compose', host),
    file: `${host}/containers.yaml`,
    hosts: [host],
    spec: { directory },
    remarks: [`Its services: ${[...new Set(services)].sort().join(', ')}.`],
    doubt: `${directory} stays its owner's: a ComposeProject adds services, or extend for theirs, and nothing is added yet.`,
  };
}
