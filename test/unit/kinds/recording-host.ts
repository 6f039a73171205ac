// A host that writes down what is done to it, as a permission would name it: by where links really lead, what a unit's
// text really runs, what an engine is really asked for. It judges by itself, and not by any code of a kind.
import fs from 'node:fs';
import path from 'node:path';
import { createFiles } from '../../../agent/providers/files.ts';
import type { Permission } from '../../../kinds/kind.ts';
import type { Docker, Files, HttpResponse, Ports } from '../../../kinds/ports.ts';
import { FakeSystemd } from '../../support/fake-systemd.ts';

const WRITES: readonly string[] = [
  'replaceAtomic',
  'rewriteInPlace',
  'setAttributes',
  'makeDirectory',
  'makeSymlink',
  'remove',
  'withCandidate',
  'withCandidates',
];
const READS: readonly string[] = ['show', 'watch', 'manager', 'daemonReload'];
const UNITS = /^\/etc\/systemd\/system\/([^/]+?)(?:\.d\/[^/]+)?$/;

export interface Touched extends Pick<Permission, 'type' | 'value' | 'mode'> {
  readonly by: string;
}

export class RecordingHost {
  readonly root: string;
  readonly touched: Touched[] = [];
  readonly ports: Partial<Ports>;
  readonly #files: ReturnType<typeof createFiles>;

  constructor(root: string, options: Parameters<typeof createFiles>[0], clock: Ports['clock']) {
    this.root = root;
    this.#files = createFiles({ root, ...options });
    this.ports = {
      clock,
      files: this.#recordedFiles(this.#files),
      units: this.#recordedUnits(new FakeSystemd(root, clock)),
      docker: this.#docker(),
      processes: {
        locate: programPath,
        run: async (command, args) => {
          this.#add('exec', programPath(command), args.join(' '));
          return { exitCode: 0, stdout: '', stderr: '' };
        },
      },
      http: {
        request: async (url) => {
          this.#add('url', new URL(url).origin, url);
          return answer(200, '{"status":"success","data":{"resultType":"vector","result":[]}}');
        },
      },
      sockets: { connect: async (address) => this.#add('url', `tcp://${address}`, 'connect') },
    };
  }

  async close(): Promise<void> {
    await this.#files.close();
  }

  #add(type: Permission['type'], value: string, by: string, mode?: 'ro' | 'rw'): void {
    this.touched.push({ type, value, by, ...(mode === undefined ? {} : { mode }) });
  }

  /** Where a path of the manifest is on this host, links followed except at its end. */
  #place(p: string): string {
    return path.join(this.#real(path.dirname(p)), path.basename(p));
  }

  /** An engine is told where things are on the machine, and not in the sandbox. */
  #named(hostPath: string): string {
    return hostPath.startsWith(`${this.root}/`) ? hostPath.slice(this.root.length) : hostPath;
  }

  #real(p: string): string {
    const full = path.join(this.root, p);
    if (!fs.existsSync(full)) return p === '/' ? p : path.join(this.#real(path.dirname(p)), path.basename(p));
    return fs.realpathSync(full).slice(this.root.length) || '/';
  }

  #recordedFiles(files: Files): Files {
    return new Proxy(files, {
      get: (target, member) => {
        const value: unknown = Reflect.get(target, member);
        if (typeof value !== 'function') return value;
        // What a method does by another one is no more than what it was called for.
        if (!WRITES.includes(String(member))) return value.bind(target) as unknown;
        return (...args: unknown[]) => {
          this.#written(String(member), String(args[0]), args[1]);
          return (value as (...a: unknown[]) => unknown).apply(target, args);
        };
      },
    });
  }

  #written(by: string, p: string, content: unknown): void {
    const place = this.#place(p);
    const unit = UNITS.exec(place)?.[1];
    if (unit === undefined) this.#add('path', place, by);
    else {
      this.#add('unit', unit, by);
      if (by !== 'setAttributes') this.#add('root-equivalent', `unit-file:${unit}`, by);
      if (content instanceof Uint8Array) this.#runs(Buffer.from(content).toString());
    }
    if (by !== 'makeSymlink' || typeof content !== 'string') return;
    const target = this.#real(path.resolve(path.dirname(place), content));
    this.#add(
      'path',
      fs.statSync(path.join(this.root, target), { throwIfNoEntry: false })?.isDirectory() === true &&
        target !== '/'
        ? `${target}/`
        : target,
      'makeSymlink',
    );
  }

  /** systemd.syntax(7): continued lines are one, comments between them are none; systemd.service(5): ";" parts commands. */
  #runs(text: string): void {
    const lines = text.split('\n').filter((line) => !/^[ \t\r]*[#;]/.test(line));
    const joined = lines.join('\n').replace(/\\\n/g, ' ');
    for (const [, commands] of joined.matchAll(/^[ \t\r]*Exec[A-Za-z]*[ \t\r]*=(.*)$/gmu)) {
      for (const command of commands!.split(/[ \t]+;[ \t]+/)) {
        const program = /^\s*[-@:+!|]*\s*(\S+)/.exec(command)?.[1];
        if (program !== undefined) this.#add('exec', program, 'its unit');
      }
    }
  }

  #recordedUnits(units: FakeSystemd): FakeSystemd {
    return new Proxy(units, {
      get: (target, member) => {
        const value: unknown = Reflect.get(target, member, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          const unit = member === 'run' ? args[1] : args[0];
          if (!READS.includes(String(member))) this.#add('unit', String(unit), String(member));
          return (value as (...a: unknown[]) => unknown).apply(target, args);
        };
      },
    });
  }

  #docker(): Docker {
    return {
      address: 'unix:///run/docker.sock',
      version: async () => ({ engine: '28.1.1', api: '1.49' }),
      pull: async (reference) => {
        this.#add('image', reference, 'pull');
        return { state: 'done' };
      },
      logs: async () => '',
      watch: async (_, wake) => wake(),
      request: async (method, at, { body }) => {
        if (at.startsWith('/images/')) return answer(200, JSON.stringify(IMAGE));
        if (at.startsWith('/info'))
          return answer(200, '{"DockerRootDir":"/var/lib/docker","SecurityOptions":[]}');
        if (method === 'GET' && at === '/containers/json') return answer(200, '[]');
        if (method === 'POST' && at.startsWith('/containers/create')) this.#created(body as Created);
        if (method === 'GET' || method === 'HEAD') return answer(404, '{"message":"no such object"}');
        return answer(500, '{"message":"this engine makes nothing"}');
      },
    };
  }

  #created({ Image, HostConfig: host = {} }: Created): void {
    this.#add('image', Image, 'create');
    for (const { Type, Source, ReadOnly } of host.Mounts ?? []) {
      if (Type === 'tmpfs') continue;
      const place = Type === 'bind' ? this.#real(this.#named(Source)) : Source;
      this.#add('mount', place, 'create', ReadOnly === true ? 'ro' : 'rw');
    }
    for (const text of host.Binds ?? []) {
      const [source, , mode = ''] = text.split(':');
      const place = source!.startsWith('/') ? this.#real(this.#named(source!)) : source!;
      this.#add('mount', place, 'create', mode.split(',').includes('ro') ? 'ro' : 'rw');
    }
    const network = host.NetworkMode ?? 'default';
    if (network === 'host' || network.startsWith('container:'))
      this.#add('capability', `network:${network}`, 'create');
    for (const name of host.CapAdd ?? [])
      this.#add('capability', `CAP_${name.replace(/^CAP_/, '')}`, 'create');
    if (host.Privileged === true) this.#add('root-equivalent', 'privileged', 'create');
    if ((host.PidMode ?? '') !== '') this.#add('root-equivalent', 'pid', 'create');
    for (const { HostIp = '' } of Object.values(host.PortBindings ?? {}).flat()) {
      if (!/^127\.|^::1$/.test(HostIp)) this.#add('capability', `publish:${HostIp}`, 'create');
    }
  }
}

interface Created {
  readonly Image: string;
  readonly HostConfig?: {
    readonly Mounts?: readonly {
      readonly Type: string;
      readonly Source: string;
      readonly ReadOnly?: boolean;
    }[];
    readonly Binds?: readonly string[] | null;
    readonly NetworkMode?: string;
    readonly CapAdd?: readonly string[] | null;
    readonly Privileged?: boolean;
    readonly PidMode?: string;
    readonly PortBindings?: Readonly<Record<string, readonly { readonly HostIp?: string }[]>> | null;
  };
}

const IMAGE = { Id: `sha256:${'a'.repeat(64)}`, Config: { Env: [], Labels: {} }, RootFS: { Layers: [] } };

function programPath(command: string): string {
  return command.startsWith('/') ? command : `/usr/bin/${command}`;
}

function answer(status: number, body: string): HttpResponse {
  return { status, headers: {}, body };
}
