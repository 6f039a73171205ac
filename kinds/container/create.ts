// The container that a spec asks for, in the words of the Engine API (POST /containers/create).
// Pure.
import { isSecretRef } from '../../api/documents.ts';
import { digestOf } from '../../api/json.ts';
import { capability } from '../container-powers.ts';
import type { ResolvedBind } from '../mounts-wanted.ts';
import { OUR_LABELS, parsePort } from './check.ts';
import { deviceMappings, type ResolvedDevice } from './devices.ts';
import { modeOf, networkingConfig, networksWanted } from './networks.ts';
import type { ContainerSpec, D, Mount } from './schema.ts';

/** `Container/alloy`: whose it is. */
export const OWNER_LABEL = `${OUR_LABELS}resource`;
/** Of the spec that it was made from. */
export const SPEC_LABEL = `${OUR_LABELS}spec`;

/** A page is the least that a tmpfs has. */
const COVER_BYTES = 4096;

/** What a change of needs no other container. */
const NOT_OF_THE_CONTAINER: readonly (keyof ContainerSpec)[] = [
  'adopt',
  'pull',
  'registry',
  'removeOldImages',
  'restart',
  'restartOn',
];

/** Digest of all that a container can't change while it exists; secrets are compared by value (envChanges). */
export function specDigest(spec: ContainerSpec): string {
  const kept = Object.entries(spec).filter(([field]) => !NOT_OF_THE_CONTAINER.includes(field as 'adopt'));
  const env = Object.entries(spec.env ?? {}).map(([name, value]) => [
    name,
    isSecretRef(value) ? null : value,
  ]);
  return digestOf({ ...Object.fromEntries(kept), env: Object.fromEntries(env) }).slice(0, 16);
}

export interface CreateOptions {
  /** The image's ID or reference. */
  readonly image: string;
  /** Where the spec's bind mounts lead, and what of them is covered. */
  readonly binds: readonly ResolvedBind[];
  readonly devices?: readonly ResolvedDevice[];
  /** Volumes that come along, by where the container sees them. */
  readonly volumes?: Readonly<Record<string, string>>;
}

export function createBody(
  d: D,
  { image, binds, devices = [], volumes = {} }: CreateOptions,
): Record<string, unknown> {
  const { spec } = d;
  return defined({
    Image: image,
    Entrypoint: spec.entrypoint,
    Cmd: spec.command,
    Env: Object.entries(envOf(d)).map(([name, value]) => `${name}=${value}`),
    Hostname: spec.hostname,
    User: spec.user,
    WorkingDir: spec.workingDir,
    StopTimeout: spec.stopTimeoutSeconds,
    Healthcheck: healthcheckOf(spec.healthcheck),
    Labels: { ...labelsOf(spec), [OWNER_LABEL]: d.key, [SPEC_LABEL]: specDigest(spec) },
    NetworkingConfig: networkingConfig(modeOf(spec), networksWanted(spec).get(modeOf(spec))),
    ExposedPorts: Object.fromEntries((spec.ports ?? []).map((port) => [parsePort(port).container, {}])),
    HostConfig: defined({
      NetworkMode: modeOf(spec),
      PidMode: spec.pid,
      Privileged: spec.privileged,
      ReadonlyRootfs: spec.readOnlyRoot,
      CapAdd: spec.capAdd?.map(capability),
      CapDrop: spec.capDrop?.map(capability),
      Memory: bytesOf(spec.memory),
      LogConfig:
        spec.logging === undefined
          ? undefined
          : { Type: spec.logging.driver ?? '', Config: spec.logging.options ?? {} },
      NanoCpus: nanoCpus(spec),
      PidsLimit: spec.pidsLimit,
      Ulimits: spec.ulimits === undefined ? undefined : ulimitsOf(spec.ulimits),
      ExtraHosts:
        spec.extraHosts === undefined
          ? undefined
          : Object.entries(spec.extraHosts).map(([name, address]) => `${name}:${address}`),
      GroupAdd: spec.groupAdd,
      Devices: devices.length === 0 ? undefined : deviceMappings(devices),
      RestartPolicy: restartPolicy(spec),
      PortBindings: portBindings(spec.ports ?? []),
      Mounts: [
        ...(spec.mounts ?? []).flatMap((mount) =>
          mount.type === 'bind'
            ? binds.filter(({ target }) => target === mount.target).flatMap(bindOf)
            : [mountOf(mount)],
        ),
        ...volumeMounts(volumes, spec.mounts ?? []),
      ],
    }),
  });
}

/** What begins as ours do would be taken for ours. */
function labelsOf({ labels = {} }: ContainerSpec): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([label]) => !label.startsWith(OUR_LABELS)));
}

function envOf(d: D): Record<string, string> {
  const env = Object.entries(d.spec.env ?? {});
  return Object.fromEntries(env.map(([name, value]) => [name, d.content(value).bytes.toString('utf8')]));
}

export function restartPolicy(spec: ContainerSpec): { Name: string } {
  return { Name: spec.restart ?? 'always' };
}

/** With what is empty over what is not to be seen of it: of the host nothing is in the way then. */
function bindOf({ resolved, target, readOnly, propagation, isRecursive, covers }: ResolvedBind): object[] {
  const options = {
    ...(propagation === undefined ? {} : { Propagation: propagation }),
    ...(isRecursive ? {} : { NonRecursive: true }),
  };
  return [
    defined({
      Type: 'bind',
      // Not as the manifest names it: a link that is swapped from now on is followed by nobody.
      Source: resolved.hostPath,
      Target: target,
      ReadOnly: readOnly || undefined,
      BindOptions: Object.keys(options).length === 0 ? undefined : options,
    }),
    ...covers.map((cover) => ({
      Type: 'tmpfs',
      Target: cover,
      ReadOnly: true,
      TmpfsOptions: { SizeBytes: COVER_BYTES, Mode: 0o555 },
    })),
  ];
}

function mountOf(mount: Exclude<Mount, { type: 'bind' }>): Record<string, unknown> {
  switch (mount.type) {
    case 'volume':
      return defined({
        Type: 'volume',
        Source: mount.source,
        Target: mount.target,
        ReadOnly: mount.readOnly,
      });
    case 'tmpfs': {
      const size = bytesOf(mount.size);
      return defined({
        Type: 'tmpfs',
        Target: mount.target,
        TmpfsOptions: size === undefined ? undefined : { SizeBytes: size },
      });
    }
  }
}

/** Where the spec mounts something itself, that is what is meant. */
export function volumeMounts(
  volumes: Readonly<Record<string, string>>,
  mounts: readonly { readonly target: string }[],
): Record<string, unknown>[] {
  const taken = new Set(mounts.map(({ target }) => target.replace(/\/+$/, '')));
  return Object.entries(volumes)
    .filter(([target]) => !taken.has(target))
    .map(([Target, Source]) => ({ Type: 'volume', Source, Target }));
}

function portBindings(ports: readonly string[]): Record<string, { HostIp: string; HostPort: string }[]> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { address, host, container } of ports.map(parsePort)) {
    bindings[container] ??= [];
    bindings[container].push({ HostIp: address, HostPort: host });
  }
  return bindings;
}

function healthcheckOf(check: ContainerSpec['healthcheck']): Record<string, unknown> | undefined {
  if (check === undefined) return undefined;
  const nanoseconds = (seconds: number | undefined) => (seconds === undefined ? undefined : seconds * 1e9);
  return defined({
    Test: ['CMD', ...check.command],
    Interval: nanoseconds(check.intervalSeconds),
    Timeout: nanoseconds(check.timeoutSeconds),
    StartPeriod: nanoseconds(check.startPeriodSeconds),
    Retries: check.retries,
  });
}

export function nanoCpus({ cpus }: ContainerSpec): number | undefined {
  return cpus === undefined ? undefined : Math.round(cpus * 1e9);
}

function ulimitsOf(ulimits: NonNullable<ContainerSpec['ulimits']>): object[] {
  return Object.entries(ulimits).flatMap(([Name, limit]) => {
    if (limit === undefined) return [];
    const { soft, hard } = typeof limit === 'number' ? { soft: limit, hard: limit } : limit;
    return [{ Name, Soft: soft, Hard: hard }];
  });
}

export function bytesOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const power = { k: 1, m: 2, g: 3 }[text.at(-1) as 'k'];
  return Number(text.slice(0, -1)) * 1024 ** power;
}

function defined(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
