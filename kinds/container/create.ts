// The container that a spec asks for, in the words of the Engine API (POST /containers/create), and how one that is
// there differs from it. Pure.
import { isSecretRef } from '../../api/documents.ts';
import { digestOf } from '../../api/json.ts';
import { capability } from '../container-powers.ts';
import { type Container, describeContainer, nameOf } from '../docker-engine.ts';
import type { Change, Desired } from '../kind.ts';
import { OUR_LABELS, parsePort } from './check.ts';
import type { ContainerSpec, Mount } from './schema.ts';

/** `Container/alloy`: whose it is. */
export const OWNER_LABEL = `${OUR_LABELS}resource`;
/** Of the spec that it was made from. */
export const SPEC_LABEL = `${OUR_LABELS}spec`;

/** What a change of needs no other container. */
const NOT_OF_THE_CONTAINER: readonly (keyof ContainerSpec)[] = ['adopt', 'pull', 'restart', 'restartOn'];

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
  /** A path of the host as the engine sees it. */
  readonly hostPath: (path: string) => string;
}

export function createBody(
  d: Desired<ContainerSpec>,
  { image, hostPath }: CreateOptions,
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
    Labels: { ...spec.labels, [OWNER_LABEL]: d.key, [SPEC_LABEL]: specDigest(spec) },
    ExposedPorts: Object.fromEntries((spec.ports ?? []).map((port) => [parsePort(port).container, {}])),
    HostConfig: defined({
      NetworkMode: spec.network ?? 'bridge',
      PidMode: spec.pid,
      Privileged: spec.privileged,
      ReadonlyRootfs: spec.readOnlyRoot,
      CapAdd: spec.capAdd?.map(capability),
      CapDrop: spec.capDrop?.map(capability),
      Memory: bytesOf(spec.memory),
      RestartPolicy: restartPolicy(spec),
      PortBindings: portBindings(spec.ports ?? []),
      Mounts: (spec.mounts ?? []).map((mount) => mountOf(mount, hostPath)),
    }),
  });
}

function envOf(d: Desired<ContainerSpec>): Record<string, string> {
  const env = Object.entries(d.spec.env ?? {});
  return Object.fromEntries(env.map(([name, value]) => [name, d.content(value).bytes.toString('utf8')]));
}

export function restartPolicy(spec: ContainerSpec): { Name: string } {
  return { Name: spec.restart ?? 'always' };
}

function mountOf(mount: Mount, hostPath: CreateOptions['hostPath']): Record<string, unknown> {
  switch (mount.type) {
    case 'bind':
      return defined({
        Type: 'bind',
        Source: hostPath(mount.source),
        Target: mount.target,
        ReadOnly: mount.readOnly,
        BindOptions: mount.propagation === undefined ? undefined : { Propagation: mount.propagation },
      });
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

export function bytesOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const power = { k: 1, m: 2, g: 3 }[text.at(-1) as 'k'];
  return Number(text.slice(0, -1)) * 1024 ** power;
}

function defined(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

export function isOurs(key: string, container: Container): boolean {
  return container.Config.Labels?.[OWNER_LABEL] === key;
}

/** Whether it can be made what is wanted: restart policy and networks can be mended, all else takes another one. */
export function isUsable(d: Desired<ContainerSpec>, container: Container): boolean {
  return (
    !['removing', 'dead'].includes(container.State.Status) &&
    configChanges(d, container).every(({ what }) => what === 'restart' || what === 'network')
  );
}

/** How a container of ours differs from what is wanted; [] when it is as wanted, running or not. */
export function configChanges(d: Desired<ContainerSpec>, container: Container): Change[] {
  const { spec } = d;
  const changes: Change[] = [];
  const made = container.Config.Labels?.[SPEC_LABEL] ?? 'none';
  if (made !== specDigest(spec)) {
    const from = container.Config.Image === spec.image ? `of spec ${made}` : container.Config.Image;
    const to = container.Config.Image === spec.image ? `of spec ${specDigest(spec)}` : spec.image;
    changes.push({ what: 'container', from, to });
  }
  changes.push(...envChanges(d, container), ...limitChanges(spec, container));
  const policy = container.HostConfig.RestartPolicy.Name || 'no';
  const wanted = restartPolicy(spec).Name;
  if (policy !== wanted) changes.push({ what: 'restart', from: policy, to: wanted });
  changes.push(...networkChanges(spec, container));
  return changes;
}

/** Only values of secrets can differ while the spec is the same; they are compared, and never shown. */
function envChanges(d: Desired<ContainerSpec>, { Config }: Container): Change[] {
  const has = new Set(Config.Env ?? []);
  return Object.entries(d.spec.env ?? {})
    .filter(([name, value]) => isSecretRef(value) && !has.has(`${name}=${d.content(value).bytes}`))
    .map(([name]) => ({ what: `env ${name}`, from: '[another secret]', to: '[secret]' }));
}

/** What `docker update` can change. The engine gives an absent limit as 0, '', null, or -1. */
const LIMITS = [
  'BlkioWeight',
  'CpuPeriod',
  'CpuQuota',
  'CpuRealtimePeriod',
  'CpuRealtimeRuntime',
  'CpuShares',
  'CpusetCpus',
  'CpusetMems',
  'KernelMemory',
  'MemoryReservation',
  'NanoCpus',
  'PidsLimit',
] as const;

function limitChanges(spec: ContainerSpec, { HostConfig }: Container): Change[] {
  const isUnset = (value: unknown): boolean => [undefined, null, 0, -1, ''].includes(value as null);
  const changes: Change[] = LIMITS.filter((limit) => !isUnset(HostConfig[limit])).map((limit) => ({
    what: limit,
    from: String(HostConfig[limit]),
    to: 'none',
  }));
  const memory = bytesOf(spec.memory) ?? 0;
  const has = HostConfig['Memory'];
  if ((has ?? 0) !== memory) {
    changes.push({ what: 'memory', from: has ? `${has} bytes` : 'no limit', to: spec.memory ?? 'no limit' });
  }
  return changes;
}

/** The one network that the spec names; '' where there is nothing to connect. */
export function networkOf({ network = 'bridge' }: ContainerSpec): string {
  return network === 'host' || network === 'none' || network.startsWith('container:') ? '' : network;
}

/** The networks a container is connected to, by name; empty before its first start on some engines. */
export function networksOf({ NetworkSettings }: Container): string[] {
  return Object.keys(NetworkSettings.Networks ?? {});
}

function networkChanges(spec: ContainerSpec, container: Container): Change[] {
  const wanted = networkOf(spec);
  if (wanted === '') return [];
  const has = networksOf(container);
  if (has.length === 1 && has[0] === wanted) return [];
  return [{ what: 'network', from: has.join(', ') || 'none', to: wanted }];
}

/** What a container of ours lacks of being where and how it should, apart from its configuration. */
export function stateChanges(d: Desired<ContainerSpec>, container: Container): Change[] {
  const changes: Change[] = [];
  const name = nameOf(container);
  if (name !== d.spec.name) changes.push({ what: 'name', from: name, to: d.spec.name });
  const { Running, Paused, Restarting } = container.State;
  if (!Running || Paused || Restarting) {
    changes.push({ what: 'state', from: describeContainer(container), to: 'running' });
  } else {
    const stale = staleInput(d, container);
    if (stale !== undefined) {
      changes.push({ what: 'process', from: `started before ${stale} changed`, to: 'restarted' });
    }
  }
  return changes;
}

/** What is remembered of the container that was brought to where it should be. A type, so that it is Json. */
export type Memory = {
  readonly spec: string;
  /** ID of its image: what is healed is made of the same, wherever the image's name points by then. */
  readonly image: string;
  readonly startedAt: string;
  /** By reference, the digest of each input that the process was started with. */
  readonly inputs: { readonly [ref: string]: string };
};

export function memoryIn(d: Desired<ContainerSpec>): Memory | undefined {
  return d.memory as Memory | undefined;
}

export function memoryOf(d: Desired<ContainerSpec>, { Image, State }: Container): Memory {
  const inputs = Object.entries(d.inputs).map(([ref, { digest }]) => [ref, digest] as const);
  return {
    spec: specDigest(d.spec),
    image: Image,
    startedAt: State.StartedAt,
    inputs: Object.fromEntries(inputs),
  };
}

/** An input that is newer than the process. Of a start that we did not make only the time is known. */
function staleInput(d: Desired<ContainerSpec>, { State }: Container): string | undefined {
  const memory = memoryIn(d);
  const known = memory?.startedAt === State.StartedAt ? memory.inputs : {};
  return (d.spec.restartOn ?? []).find((ref) => {
    const input = d.inputs[ref];
    if (input === undefined) return false;
    const startedWith = known[ref];
    return startedWith === undefined
      ? input.appliedAtMs > Date.parse(State.StartedAt)
      : startedWith !== input.digest;
  });
}
