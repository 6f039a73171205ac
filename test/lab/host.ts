/**
 * A real systemd host: this machine's own file system under an overlay, booted by
 * systemd-nspawn with D-Bus, journald, apt and dpkg, in namespaces of its own.
 *
 * What a host has of this machine, besides /: the checkout that the lab runs from
 * and the cache of built programs, and real programs that the environment names
 * (ALLOY_BIN), read-only at the paths that they have here, even where the host has
 * a mount of its own (/tmp, /run). So `node` and the sources
 * work in its units as they do here. Units with PrivateTmp or ProtectHome don't see
 * a checkout below /tmp or below a home.
 *
 * Processes: setpriv → unshare, which is the one we started → boot-host.sh, then
 * systemd-nspawn, pid 1 of a pid namespace → the leader, the host's systemd. Killing
 * the first or the second ends all of them, by the kernel and before it is reaped.
 *
 * Conversation with boot-host.sh: it prints "prepared", the network is attached, we
 * write a line; then the host's hs-lab-ready.service touches a file in a directory
 * that both sides see.
 */
import {
  accessSync,
  constants,
  existsSync,
  readFileSync,
  realpathSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { execa } from 'execa';
import { labBinaries, repo } from './binaries.ts';
import {
  type LabProcess,
  labProcessOptions,
  onCleanup,
  owner,
  removeCgroup,
  spawnBound,
  subdirectory,
} from './lifetime.ts';
import type { LabNetwork } from './network.ts';

export interface HostOptions {
  /** The host's name, and that of its files in the work directory. */
  readonly name: string;
  /** Its IPv4 address on the bridge. */
  readonly address: string;
  readonly bridge: LabNetwork;
  /** From createWorkDirectory(). */
  readonly workDir: string;
  /** Files that are there when it boots for the first time. */
  readonly files?: Readonly<Record<string, string | { readonly content: string; readonly mode: string }>>;
  /** Environment of every service, and of exec, spawn and start. */
  readonly env?: Readonly<Record<string, string>>;
  /** Further paths of this machine that it sees read-only at the same place. */
  readonly readOnlyPaths?: readonly string[];
  /** Further arguments for systemd-nspawn, for example `--capability=CAP_SYS_ADMIN`. */
  readonly nspawnArguments?: readonly string[];
}

export interface ExecOptions {
  /** Standard input; nothing by default. */
  readonly input?: string | Uint8Array;
  /** Milliseconds; 60,000 by default. On timeout the program is killed and exec throws. */
  readonly timeout?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Throw, with what it printed, unless the exit code is 0. */
  readonly check?: boolean;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  /** Name of the transient unit, with or without `.service`. */
  readonly unit: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** systemd unit properties, `Restart=on-failure`. */
  readonly properties?: readonly string[];
}

export interface LabHost {
  readonly name: string;
  readonly address: string;
  /**
   * The host's root as this machine sees it. An absolute symlink on the way leads out
   * of it (/var/run is one): name sockets and files by their real path, or use exec,
   * readFile and writeFile, which work inside. Changes with every boot.
   */
  readonly rootDir: string;
  /** The pid here of the host's systemd. Changes with every boot; throws when it is off. */
  readonly leaderPid: number;
  /** What the host's console and systemd-nspawn printed, on this machine. */
  readonly consoleLog: string;
  /** Runs a program to its end, as root, outside of any unit. */
  exec(command: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** The same, to talk with it while it runs. Ends when the lab does, or by `kill()`. */
  spawn(command: readonly string[], options?: Pick<ExecOptions, 'env' | 'cwd'>): LabProcess;
  /** Starts a program as a transient service; done when it was executed. */
  start(command: readonly string[], options: StartOptions): Promise<void>;
  /** Writes in place, as an editor does; makes the directories. @param mode octal */
  writeFile(path: string, content: string | Uint8Array, mode?: string): Promise<void>;
  readFile(path: string): Promise<string>;
  /**
   * Switches it off; its disk stays. `clean` shuts it down, otherwise it is a power cut.
   * Also to be called after a `systemctl poweroff` or `reboot` inside: a host doesn't boot by itself.
   */
  powerOff(how: 'clean' | 'cut'): Promise<void>;
  /** Boots it again from its disk; done when systemd has finished starting. */
  powerOn(): Promise<void>;
  /** Switches it off, if it isn't, and removes all of it. Can be called again. */
  stop(): Promise<void>;
}

const bootTimeout = 60_000;
const shutdownTimeout = 30_000;
const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Boots a new host; cleanup() stops it. Throws with its console when it doesn't come up. */
export async function bootHost(options: HostOptions): Promise<LabHost> {
  const { name, address, bridge } = options;
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(name)) throw new Error(`not a host name: ${name}`);
  const directory = subdirectory(options.workDir, name);
  const signals = subdirectory(directory, 'signals');
  const consoleLog = join(directory, 'console.log');
  const cgroup = `${owner}-${name}`;
  let machine: LabProcess | undefined;
  let leader: number | undefined;
  // The programs of exec and spawn. What is killed is always the program, never the nsenter
  // above it: an orphan of nsenter's goes to this machine's pid 1, and until that has reaped
  // it the host's pid namespace can't end.
  const entered = new Set<LabProcess>();

  stageFiles(directory, options);

  function launch() {
    const boot = [
      join(import.meta.dirname, 'boot-host.sh'),
      directory,
      name,
      cgroup,
      ...nspawnArguments(options),
    ];
    const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc'];
    return spawnBound('unshare', [...namespaces, '--', '/bin/sh', ...boot]);
  }

  function leaderPid(): number {
    if (leader === undefined) throw new Error(`${name} is switched off`);
    return leader;
  }

  function inside(
    command: readonly string[],
    env: Readonly<Record<string, string>> = {},
    cwd = '/',
  ): string[] {
    const variables = { PATH: path, HOME: '/root', LANG: 'C.UTF-8', ...options.env, ...env };
    const assignments = Object.entries(variables).map(([key, value]) => `${key}=${value}`);
    const enter = [`--target=${leaderPid()}`, '--all', '--', 'env', '--ignore-environment', `--chdir=${cwd}`];
    return [...enter, ...assignments, ...command];
  }

  async function powerOn(): Promise<void> {
    if (machine) throw new Error(`${name} is switched on`);
    const ready = join(signals, 'ready');
    rmSync(ready, { force: true });
    const started = launch();
    machine = started;
    const failed = started.then((result) => {
      const log = existsSync(consoleLog) ? readFileSync(consoleLog, 'utf8').slice(-4000) : '';
      throw new Error(`${name} did not boot: ${result.shortMessage}\n${result.stderr}\n${log}`);
    });
    failed.catch(() => undefined); // it also "fails" when the host ends long after
    try {
      await Promise.race([new Promise((resolve) => started.stdout.once('data', resolve)), failed]);
      await bridge.attach(name, address, pidOf(started));
      started.stdin.end('attached\n');
      await Promise.race([appears(ready, bootTimeout), failed]);
      leader = onlyChild(onlyChild(pidOf(started)));
      // Waits on D-Bus until the job queue is empty. 1 means degraded, which is for the caller to judge.
      await host.exec(['systemctl', 'is-system-running', '--wait'], { timeout: bootTimeout });
    } catch (error) {
      await powerOff('cut');
      throw error;
    }
  }

  async function powerOff(how: 'clean' | 'cut'): Promise<void> {
    const ending = machine;
    if (!ending) return;
    try {
      const nspawn = onlyChild(pidOf(ending));
      // A shutdown isn't told when these end, for they aren't its children, and would wait.
      for (const child of entered) child.kill('SIGKILL');
      await Promise.all(entered);
      if (how === 'clean' && leader !== undefined) {
        process.kill(nspawn, 'SIGTERM'); // it asks the host's systemd to power off
        const limit = setTimeout(() => ending.kill('SIGKILL'), shutdownTimeout);
        await ending;
        clearTimeout(limit);
      } else {
        process.kill(nspawn, 'SIGKILL');
      }
    } catch {
      ending.kill('SIGKILL'); // it has no child: it hasn't got that far, or is ending already
    }
    await ending;
    leader = undefined;
    machine = undefined;
    await bridge.detach(name);
    await removeCgroup(cgroup);
  }

  const host: LabHost = {
    name,
    address,
    consoleLog,
    get rootDir() {
      return `/proc/${leaderPid()}/root`;
    },
    get leaderPid() {
      return leaderPid();
    },
    async exec(command, { input, timeout = 60_000, env, cwd, check = false } = {}) {
      const child = host.spawn(command, { ...(env && { env }), ...(cwd && { cwd }) });
      child.stdin.on('error', () => undefined); // a program need not read its input
      child.stdin.end(input);
      let late = false;
      const limit = setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, timeout);
      const { exitCode, stdout, stderr, shortMessage } = await child;
      clearTimeout(limit);
      if (late || exitCode === undefined || (check && exitCode !== 0)) {
        const why = late ? `timed out after ${timeout} ms` : shortMessage;
        throw new Error(`${command.join(' ')} on ${name}: ${why}\n${stderr}${stdout}`);
      }
      return { exitCode, stdout, stderr };
    },
    spawn(command, { env, cwd } = {}) {
      const child = execa('nsenter', inside(command, env, cwd), labProcessOptions);
      entered.add(child);
      void child.then(() => entered.delete(child));
      const killNsenter = child.kill.bind(child);
      child.kill = ((signal?: NodeJS.Signals) => {
        try {
          return process.kill(onlyChild(pidOf(child)), signal ?? 'SIGTERM');
        } catch {
          return killNsenter(signal); // it has not entered yet, or has ended
        }
      }) as typeof child.kill;
      return child;
    },
    async start(command, { unit, env = {}, cwd, properties = [] }) {
      const settings = [
        `--unit=${unit}`,
        '--quiet',
        '--property=Type=exec', // a program that can't be executed is an error here
        ...properties.map((property) => `--property=${property}`),
        ...Object.entries(env).map(([key, value]) => `--setenv=${key}=${value}`),
        ...(cwd === undefined ? [] : [`--working-directory=${cwd}`]),
      ];
      await host.exec(['systemd-run', ...settings, '--', ...command], { check: true });
    },
    async writeFile(target, content, mode = '644') {
      const script = 'mkdir -p "$(dirname "$2")" && cat >"$2" && chmod "$1" "$2"';
      await host.exec(['sh', '-c', script, 'sh', mode, target], { input: content, check: true });
    },
    async readFile(source) {
      return (await host.exec(['cat', '--', source], { check: true })).stdout;
    },
    powerOff,
    powerOn,
    async stop() {
      await powerOff('cut');
      await rm(directory, { recursive: true, force: true });
      forget();
    },
  };

  const forget = onCleanup(() => host.stop());
  await powerOn();
  const { stdout } = await host.exec(['systemctl', 'is-system-running']);
  if (stdout.trim() !== 'running') {
    const units = await host.exec(['systemctl', 'list-units', '--failed', '--no-legend', '--plain']);
    throw new Error(`${name} came up ${stdout.trim()}: ${units.stdout}`);
  }
  return host;
}

function nspawnArguments({ readOnlyPaths = [], nspawnArguments: further = [] }: HostOptions): string[] {
  const { cache, tailscaleDirectory } = labBinaries();
  const modules = join(repo, 'node_modules');
  const wanted = [
    repo,
    ...(existsSync(modules) ? [realpathSync(modules)] : []),
    cache,
    ...readOnlyPaths,
    ...realPrograms(),
  ];
  // A path below another one comes with it; the shorter ones first, or they would cover the longer.
  const binds = [...new Set(wanted)].sort((a, b) => a.length - b.length).filter((path) => existsSync(path));
  return [
    ...binds.map((path) => `--bind-ro=${escapeColon(path)}`),
    // Once more where no ProtectHome can hide it, for the links that tailnet.ts makes.
    ...(existsSync(tailscaleDirectory)
      ? [`--bind-ro=${escapeColon(tailscaleDirectory)}:/opt/tailscale`]
      : []),
    ...further,
  ];
}

/**
 * Real programs in the place of stand-ins. A host has a /tmp and a /root of its own: they are mounted where they are.
 * @throws Error for one that can't be run
 */
export function realPrograms(env: NodeJS.ProcessEnv = process.env): string[] {
  return ['ALLOY_BIN', 'LOKI_BIN', 'FLUENT_BIT_BIN'].flatMap((name) => {
    const program = env[name];
    if (program === undefined) return [];
    try {
      if (!isAbsolute(program)) throw new Error('it is no absolute path');
      accessSync(program, constants.X_OK);
      return [program];
    } catch (error) {
      throw new Error(`${name}=${program} can’t be run on the lab’s hosts: ${(error as Error).message}`);
    }
  });
}

/** systemd-nspawn(1): a colon in a path of --bind is escaped. */
function escapeColon(path: string): string {
  return path.replace(/[\\:]/g, '\\$&');
}

/** Lays the files of a new host down where boot-host.sh takes them from. */
function stageFiles(directory: string, { files = {}, env = {} }: HostOptions): void {
  const staging = subdirectory(directory, 'files');
  const assignments = Object.entries(env).map(([key, value]) =>
    JSON.stringify(`${key}=${value.replaceAll('%', '%%')}`),
  );
  const all = {
    ...files,
    '/etc/systemd/system.conf.d/hs-lab.conf': `[Manager]\nDefaultEnvironment=${assignments.join(' ')}\n`,
  };
  const list = Object.entries(all).map(([target, file], index) => {
    const { content, mode } = typeof file === 'string' ? { content: file, mode: '644' } : file;
    writeFileSync(join(staging, String(index)), content);
    return `${index} ${mode} ${target}\n`;
  });
  writeFileSync(join(staging, 'files.list'), list.join(''));
}

function pidOf(child: { readonly pid?: number | undefined }): number {
  if (child.pid === undefined) throw new Error('the process could not be started');
  return child.pid;
}

/** The pid of the one child of a process: unshare and systemd-nspawn have no more. */
function onlyChild(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean);
  if (children.length !== 1) throw new Error(`process ${pid} has the children [${children}], not one`);
  return Number(children[0]);
}

/** Waits until a file is there. @param timeout milliseconds */
async function appears(file: string, timeout: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const watcher = watch(join(file, '..'), check);
    const limit = setTimeout(() => done(new Error(`no ${file} after ${timeout} ms`)), timeout);
    function check() {
      if (existsSync(file)) done();
    }
    function done(error?: Error) {
      clearTimeout(limit);
      watcher.close();
      if (error) reject(error);
      else resolve();
    }
    check(); // armed first
  });
}
