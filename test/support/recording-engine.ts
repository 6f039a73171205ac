// An engine that runs nothing: it takes what it is asked for, shows it again as a real one does, and keeps the bodies of
// all that was created.
import type { Docker, HttpResponse } from '../../kinds/ports.ts';

/** The part of POST /containers/create by which a container gets at its host. */
export interface CreateBody {
  readonly Image: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly NetworkingConfig?: { readonly EndpointsConfig: Readonly<Record<string, object>> };
  readonly HostConfig: {
    readonly NetworkMode: string;
    readonly PidMode?: string;
    readonly Privileged?: boolean;
    readonly CapAdd?: readonly string[];
    readonly PortBindings: Readonly<Record<string, readonly { readonly HostIp: string }[]>>;
    readonly Mounts: readonly {
      readonly Type: string;
      readonly Source?: string;
      readonly Target: string;
      readonly ReadOnly?: boolean;
      readonly BindOptions?: { readonly Propagation?: string; readonly NonRecursive?: boolean };
    }[];
  } & Readonly<Record<string, unknown>>;
}

export interface RecordingEngine {
  readonly docker: Docker;
  readonly created: readonly CreateBody[];
  /** Networks that containers were connected to, apart from the one that they were made with. */
  readonly joined: readonly string[];
}

interface Kept {
  readonly body: CreateBody;
  name: string;
  running: boolean;
}

export function recordingEngine(): RecordingEngine {
  const created: CreateBody[] = [];
  const joined: string[] = [];
  const kept = new Map<string, Kept>();
  const answer = (status: number, value: unknown = {}): HttpResponse => ({
    status,
    headers: {},
    body: JSON.stringify(value),
  });
  const find = (nameOrID: string) =>
    [...kept].find(([id, { name }]) => id === nameOrID || name === nameOrID) ?? [undefined, undefined];
  const act = (id: string, action: string, query: Readonly<Record<string, unknown>>): HttpResponse => {
    const container = kept.get(id)!;
    if (action === 'start' || action === 'restart') container.running = true;
    if (action === 'stop') container.running = false;
    if (action === 'rename') container.name = String(query['name']);
    return answer(204);
  };
  const docker: Docker = {
    address: 'unix:///recording',
    version: async () => ({ engine: '28.0.0', api: '1.47' }),
    pull: async () => ({ state: 'done' }),
    logs: async () => '',
    watch: async () => undefined,
    async request(method, path, { query = {}, body }) {
      if (method === 'POST' && path === '/containers/create') {
        const id = String(created.length + 1).padStart(64, '0');
        created.push(body as CreateBody);
        kept.set(id, { body: body as CreateBody, name: String(query['name']), running: false });
        return answer(201, { Id: id });
      }
      if (path === '/info') return answer(200, { DockerRootDir: '/var/lib/docker' });
      if (path === '/containers/json')
        return answer(
          200,
          [...kept.keys()].map((Id) => ({ Id })),
        );
      if (path.startsWith('/images/')) return answer(200, { Id: 'sha256:image' });
      const [, kind, name = '', action] = path.split('/');
      if (kind === 'networks') {
        if (action === 'connect') joined.push(decodeURIComponent(name));
        return answer(200);
      }
      if (kind !== 'containers') return answer(404);
      const [id, container] = find(decodeURIComponent(name));
      if (id === undefined || container === undefined) return answer(404);
      if (method === 'GET') return answer(200, shown(id, container));
      if (method === 'DELETE') return answer(kept.delete(id) ? 204 : 404);
      return act(id, action ?? '', query);
    },
  };
  return { docker, created, joined };
}

function shown(Id: string, { body, name, running }: Kept): object {
  const { NetworkMode } = body.HostConfig;
  return {
    Id,
    Name: `/${name}`,
    Image: 'sha256:image',
    RestartCount: 0,
    State: {
      Status: running ? 'running' : 'created',
      Running: running,
      Paused: false,
      Restarting: false,
      OOMKilled: false,
      // None that is looked at: what really is mounted is for tests with a real engine.
      Pid: 0,
      ExitCode: 0,
      Error: '',
      StartedAt: '2026-01-01T00:00:00Z',
      FinishedAt: '0001-01-01T00:00:00Z',
    },
    Config: { Image: body.Image, Env: [], Labels: body.Labels },
    HostConfig: body.HostConfig,
    NetworkSettings: { Networks: body.NetworkingConfig?.EndpointsConfig ?? { [NetworkMode]: {} } },
    Mounts: [],
  };
}
