// A real Docker engine of a test file's own: dockerd with its containerd, data, socket and process ids in a scratch
// directory, in namespaces that end with this process. There is no registry: images are imported from a tar of
// busybox and tini. It has no bridge of its own, so containers run with the network `none` or `host`, or, on an engine
// that is alone in its network namespace, in networks that are made for them.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './eventually.ts';

const run = promisify(execFile);
const APPLETS = [
  'sh',
  'sleep',
  'cat',
  'echo',
  'ls',
  'nc',
  'httpd',
  'wget',
  'grep',
  'touch',
  'true',
  'false',
  'printf',
];
const START_MS = 60_000;
const STOP_MS = 30_000;

export interface TestEngine {
  /** As in DOCKER_HOST. */
  readonly address: string;
  readonly directory: string;
  /** Runs the `docker` program on this engine. @returns what it wrote to stdout. @throws Error with its stderr */
  docker(...args: string[]): Promise<string>;
  /**
   * Imports an image with busybox in /bin and tini as /sbin/tini.
   * @param changes instructions of a Dockerfile, as `CMD ["sleep", "1000"]`.
   * @param files by their path in the image, more content; those in /bin and /sbin are executable.
   * @param copies by their path in the image, files of this machine.
   */
  image(
    reference: string,
    changes?: readonly string[],
    files?: Readonly<Record<string, string>>,
    copies?: Readonly<Record<string, string>>,
  ): Promise<void>;
  /** Of the first process in the engine's namespaces, as this process counts. */
  pid(): number;
  /** Ends the engine and starts it again on the same data, as an update of Docker does. */
  restart(): Promise<void>;
  /** Ends everything, and leaves no process, no mount and no file. */
  stop(): Promise<void>;
}

/** Call it in `before`, and its `stop` in `after`. @throws Error with the engine's log when it does not come up. */
export async function startDockerd(options: { ownNetwork?: boolean } = {}): Promise<TestEngine> {
  const directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-dockerd-')));
  const at = (name: string): string => path.join(directory, name);
  const address = `unix://${at('docker.sock')}`;
  const log = at('dockerd.log');
  let engine: ChildProcess;

  async function docker(...args: string[]): Promise<string> {
    const env = { ...process.env, DOCKER_HOST: address, DOCKER_CONFIG: at('client') };
    const { stdout } = await run('docker', args, { env, maxBuffer: 64 * 1024 * 1024 });
    return stdout.trim();
  }

  async function start(): Promise<void> {
    const dockerd = ['dockerd', '--data-root', at('data'), '--exec-root', at('exec')];
    dockerd.push('--pidfile', at('pid'), '--host', address, '--bridge=none', '--iptables=false');
    dockerd.push('--ip6tables=false');
    // Process ids and mounts of its own: containers and shims can't outlive it, and no mount can stay.
    // Mounts are shared within, as on a host that systemd booted, or rslave would be refused.
    const loopback = options.ownNetwork === true ? 'ip link set lo up && ' : '';
    const inside = ['sh', '-c', `${loopback}mount --make-rshared / && exec tini -- "$@"`, 'sh', ...dockerd];
    const namespaces = ['unshare', '--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc'];
    if (options.ownNetwork === true) namespaces.push('--net');
    const [first, ...rest] = ['setpriv', '--pdeathsig', 'KILL', '--', ...namespaces, ...inside];
    const output = fs.openSync(log, 'a');
    engine = spawn(first!, rest, { stdio: ['ignore', output, output], cwd: directory });
    fs.closeSync(output);
    const ended = once(engine, 'exit').then(() => {
      throw new Error(`dockerd ended: ${fs.readFileSync(log, 'utf8').slice(-2000)}`);
    });
    await Promise.race([eventually(() => docker('version'), START_MS), ended]);
    ended.catch(() => undefined); // from here on somebody means it
  }

  function first(): number {
    const children = fs.readFileSync(`/proc/${engine.pid}/task/${engine.pid}/children`, 'utf8');
    return Number(children.split(' ')[0]);
  }

  /** By SIGTERM to the first process of its namespace; by SIGKILL when that takes too long. */
  async function end(): Promise<void> {
    if (engine.exitCode !== null || engine.signalCode !== null) return;
    const ended = once(engine, 'exit');
    const late = setTimeout(() => engine.kill('SIGKILL'), STOP_MS);
    process.kill(first(), 'SIGTERM');
    await ended;
    clearTimeout(late);
  }

  await start();
  return {
    address,
    directory,
    docker,
    pid: first,

    async image(reference, changes = ['CMD ["sleep", "100000"]'], files = {}, copies = {}) {
      const root = fs.mkdtempSync(at('image-'));
      const put = (file: string, content: Buffer | string, mode: number): void => {
        fs.mkdirSync(path.join(root, path.dirname(file)), { recursive: true });
        fs.writeFileSync(path.join(root, file), content, { mode });
      };
      put('bin/busybox', fs.readFileSync(programPath('busybox')), 0o755);
      put('sbin/tini', fs.readFileSync(programPath('tini-static')), 0o755);
      for (const applet of APPLETS) fs.symlinkSync('busybox', path.join(root, 'bin', applet));
      put('etc/passwd', 'root:x:0:0:root:/:/bin/sh\n', 0o644);
      fs.mkdirSync(path.join(root, 'tmp'));
      for (const [file, content] of Object.entries(files)) {
        put(file, content, /^\/?s?bin\//.test(file) ? 0o755 : 0o644);
      }
      for (const [file, original] of Object.entries(copies)) {
        fs.mkdirSync(path.join(root, path.dirname(file)), { recursive: true });
        fs.copyFileSync(original, path.join(root, file));
      }
      const tar = at('image.tar');
      await run('tar', ['--create', '--file', tar, '--directory', root, '.']);
      await docker('import', ...changes.flatMap((change) => ['--change', change]), tar, reference);
      fs.rmSync(root, { recursive: true });
      fs.rmSync(tar);
    },

    async restart() {
      await end();
      await start();
    },

    async stop() {
      // Containers that ignore SIGTERM would hold up the engine's end for ten seconds each.
      const all = await docker('ps', '--all', '--quiet').catch(() => '');
      if (all !== '') await docker('rm', '--force', ...all.split('\n')).catch(() => undefined);
      await end();
      fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

function programPath(program: string): string {
  const found = (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .map((directory) => path.join(directory, program))
    .find((file) => fs.existsSync(file));
  if (found === undefined) throw new Error(`there is no ${program} on PATH`);
  return found;
}
