// Ports that note what a kind touches, as permissions: what is written, run, asked and read of secrets. Files are real, in
// a sandbox; everything else answers something and does nothing.
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { createFiles } from '../../agent/providers/files.ts';
import { secretPermissions } from '../../agent/secrets/store.ts';
import type { SecretRef } from '../../api/documents.ts';
import type { Permission } from '../../kinds/kind.ts';
import type { Files, Ports } from '../../kinds/ports.ts';
import { FakeClock } from './clock.ts';
import { FakeSystemd } from './fake-systemd.ts';
import { temporaryDirectory } from './sandbox.ts';

export interface Recording {
  readonly root: string;
  readonly ports: Ports;
  /** In their order; to be emptied by whoever begins anew. */
  readonly touched: Permission[];
  content(value: string | SecretRef): { bytes: Buffer; secret: boolean };
}

/** Programs that a kind runs by its own choice. */
const FIXED = ['apt-get', 'apt-cache', 'dpkg'];

/** @param answer body of every HTTP answer, and output of every program */
export function recordingPorts(t: TestContext, answer: () => string): Recording {
  const root = temporaryDirectory(t);
  const touched: Permission[] = [];
  const note = (type: Permission['type'], value: string): void => void touched.push({ type, value });
  const real = createFiles({ root });
  t.after(() => real.close());
  const clock = new FakeClock();
  const units = new FakeSystemd(root, clock);
  const onUnit =
    <T>(act: (unit: string) => Promise<T>) =>
    (unit: string): Promise<T> => {
      note('unit', unit);
      return act(unit);
    };
  const supervised = new FakeSystemd(path.join(root, 'supervised'), clock);
  const ports = {
    files: recordingFiles(real, note),
    clock,
    units: Object.assign(Object.create(units), {
      run: (job: 'start', unit: string, signal?: AbortSignal) =>
        onUnit(() => units.run(job, unit, signal))(unit),
      enable: onUnit((unit) => units.enable(unit)),
      disable: onUnit((unit) => units.disable(unit)),
      mask: onUnit((unit) => units.mask(unit)),
      unmask: onUnit((unit) => units.unmask(unit)),
    }),
    supervised: Object.assign(Object.create(supervised), {
      manager: 'supervised',
      run: onUnit(async () => undefined),
      definition: () => undefined,
      define(unit: string, { command }: { command: readonly string[] }) {
        note('unit', unit);
        note('exec', real.realPath(command[0]!, true));
      },
      undefine: onUnit(async () => undefined),
    }),
    processes: {
      locate: (program: string) =>
        program.startsWith('/') ? real.realPath(program, true) : `/usr/bin/${program}`,
      async run(command: string, args: readonly string[], { chosen }: { chosen?: true }) {
        if (chosen === true) note('exec', ports.processes.locate(command));
        else if (!FIXED.includes(command)) note('exec', command);
        const at = args.indexOf('install');
        if (command === 'apt-get' && !args.includes('--simulate') && at >= 0)
          note('package', args.at(-1)!.replace(/=.*/, ''));
        return { exitCode: 0, stdout: answer(), stderr: '' };
      },
    },
    http: {
      async request(url: string) {
        note('url', new URL(url).origin);
        return { status: 200, headers: { etag: '"x"' }, body: answer() };
      },
    },
    sockets: {
      async connect(address: string) {
        const { hostname, port } = new URL(`http://${address}`);
        note('url', `tcp://${hostname}:${port || '80'}`);
      },
    },
    tailscale: {
      prefs: async () => ({}),
      status: async () => ({
        backendState: 'Running',
        addresses: ['100.64.0.1'],
        keyExpiry: '',
        health: [],
        version: '1',
      }),
      setPrefs: async (prefs: object) => {
        for (const pref of Object.keys(prefs)) note('tailscale', pref);
      },
    },
    docker: {
      request: async () => {
        throw new Error('no engine here');
      },
    },
  };
  return {
    root,
    ports: ports as unknown as Ports,
    touched,
    content(value) {
      if (typeof value === 'string') return { bytes: Buffer.from(value), secret: false };
      for (const permission of secretPermissions([value])) note('secret', permission.value);
      return { bytes: Buffer.from('ExecStart=/usr/bin/from-secret'), secret: true };
    },
  };
}

function recordingFiles(real: Files, note: (type: 'path' | 'user', value: string) => void): Files {
  const at = (p: string): void => note('path', real.realPath(p));
  /** Directories that were made on the way to what was written: they go with it. */
  const made = new Set<string>();
  const makesWayTo = (p: string): void => {
    for (let above = path.dirname(p); above !== '/' && !real.exists(above); above = path.dirname(above))
      made.add(above);
  };
  return Object.assign(Object.create(real) as Files, {
    replaceAtomic(p: string, ...rest: [Uint8Array, object]) {
      at(p);
      makesWayTo(p);
      real.replaceAtomic(p, ...rest);
    },
    replaceFlushed(p: string, ...rest: [Uint8Array, object]) {
      at(p);
      makesWayTo(p);
      return real.replaceFlushed(p, ...rest);
    },
    rewriteInPlace(p: string, ...rest: [Uint8Array, object]) {
      at(p);
      real.rewriteInPlace(p, ...rest);
    },
    setAttributes(p: string, attributes: object) {
      at(p);
      real.setAttributes(p, attributes);
    },
    makeDirectory(p: string, attributes: object) {
      at(p);
      real.makeDirectory(p, attributes);
    },
    makeSymlink(p: string, target: string) {
      at(p);
      real.makeSymlink(p, target);
      if (!Object.values(LINKS).includes(target)) note('path', real.realPath(p, true));
    },
    // Beside the path, and gone afterwards.
    withCandidate<T>(p: string, content: Uint8Array, use: (candidate: string) => Promise<T>) {
      at(p);
      return real.withCandidate(p, content, use);
    },
    withCandidates<T>(
      p: string,
      contents: ReadonlyMap<string, Uint8Array>,
      use: (directory: string) => Promise<T>,
    ) {
      at(p);
      return real.withCandidates(p, contents, use);
    },
    removeStale: (p: string) => real.removeStale?.(p),
    remove(p: string) {
      if (!made.has(p)) at(p);
      real.remove(p);
    },
    userID(name: string) {
      note('user', name);
      return process.getuid?.() ?? 0;
    },
    groupID(name: string) {
      note('user', name);
      return process.getgid?.() ?? 0;
    },
  });
}

/** The host's own; an undo puts them back. */
const LINKS = { 'usr/bin/sh': 'dash', 'srv/app/link': '../../etc', 'srv/app/near': 'real' };

/** Directories and links of a host, some of which lead out of what is likely to be granted. */
export function furnish(root: string): void {
  const at = (p: string): string => path.join(root, p);
  for (const directory of [
    'etc/alloy',
    'etc/prometheus',
    'srv/app/real',
    'usr/bin',
    'var/lib/dpkg',
    'etc/systemd/system',
  ])
    fs.mkdirSync(at(directory), { recursive: true });
  fs.writeFileSync(at('etc/shadow'), 'root:secret', { mode: 0o600 });
  fs.writeFileSync(at('etc/prometheus/prometheus.yml'), 'global: {}\n');
  fs.writeFileSync(at('var/lib/dpkg/status'), '');
  fs.writeFileSync(at('usr/bin/dash'), '');
  for (const [link, target] of Object.entries(LINKS)) fs.symlinkSync(target, at(link));
  fs.linkSync(at('etc/shadow'), at('srv/app/hard'));
}
