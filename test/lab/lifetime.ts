/**
 * What the lab makes lives no longer than the lab.
 *
 * Three layers, because no single one covers every end:
 * - cleanup() undoes in reverse order; SIGINT, SIGTERM and SIGHUP call it.
 * - Processes are bound to this one by PR_SET_PDEATHSIG: the kernel kills them when
 *   it dies, be it by SIGKILL. Namespaces, mounts and network links are held by
 *   these processes alone, so they go with them. (The kernel looks at the thread
 *   that started a process: start the lab from the main thread, not from a worker.)
 * - Files and cgroups are left over by a SIGKILL. Their names say which process made
 *   them, and removeStale() takes away those whose maker is dead.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  watch,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa, type ResultPromise } from 'execa';

const prefix = 'hs-lab-';

/** Begins the name of everything that this process leaves in a place which others share. */
export const owner: string = `${prefix}${process.pid}-${startTime(process.pid)}`;

/** Clock ticks from boot to the start of a process: tells it from a later one with its pid. */
function startTime(pid: number): string | undefined {
  try {
    // proc_pid_stat(5), field 22; field 2 is a name in parentheses that may hold spaces.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : fields[18];
  } catch {
    return undefined;
  }
}

/** Whether a name was given by a lab of whose process nothing is left. */
function isStale(name: string): boolean {
  const parts = /^hs-lab-(\d+)-(\d+)/.exec(name);
  return parts !== null && startTime(Number(parts[1])) !== parts[2];
}

type Task = () => Promise<void>;
const tasks = new Set<Task>();
const bound = new Set<LabProcess>();
const directories = new Set<string>();
let watching = false;
let running: Promise<void> | undefined;

/** Adds what is to be undone when the lab ends. The returned function takes it back. */
export function onCleanup(task: Task): () => void {
  watchSignals();
  tasks.add(task);
  return () => {
    tasks.delete(task);
  };
}

/** Undoes everything, the latest first; goes on after a failure and throws at the end. */
export function cleanup(): Promise<void> {
  running ??= (async () => {
    const failures: unknown[] = [];
    for (const task of [...tasks].reverse()) {
      tasks.delete(task);
      await task().catch((error: unknown) => failures.push(error));
    }
    running = undefined;
    if (failures.length > 0) throw new AggregateError(failures, `the lab left something behind: ${failures}`);
  })();
  return running;
}

function watchSignals(): void {
  if (watching) return;
  watching = true;
  const codes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
  for (const [signal, code] of Object.entries(codes)) {
    process.once(signal, () => {
      cleanup().then(
        () => process.exit(code),
        (error: unknown) => {
          console.error(error);
          process.exit(code);
        },
      );
    });
  }
  // After an uncaught exception there is no time left for anything but this.
  process.on('exit', () => {
    for (const child of bound) child.kill('SIGKILL');
    for (const directory of directories) {
      try {
        rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
      } catch {
        // A host that was still dying wrote there. The next lab's removeStale() comes by.
      }
    }
  });
}

/** A running program with pipes on all three; awaiting it never throws. */
export type LabProcess = ResultPromise<typeof labProcessOptions>;

// In a session of its own: Ctrl-C in a terminal then reaches the lab only, which takes
// things down in order.
export const labProcessOptions = {
  stdin: 'pipe',
  detached: true,
  reject: false,
  stripFinalNewline: false,
} as const;

/** Starts a program that can't outlive this process. What it prints is also kept in memory. */
export function spawnBound(program: string, args: readonly string[]): LabProcess {
  watchSignals();
  const child = execa('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], labProcessOptions);
  bound.add(child);
  void child.then(() => bound.delete(child));
  return child;
}

/** A new directory for the files of one lab, under TMPDIR; removed by cleanup(). */
export function createWorkDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), `${owner}-`));
  directories.add(directory);
  onCleanup(async () => {
    await rm(directory, { recursive: true, force: true });
    directories.delete(directory);
  });
  return directory;
}

/** The hierarchies in which boot-host.sh makes a cgroup: v2, or v1's named one and v2 beside it. */
const hierarchies = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified', '/sys/fs/cgroup/systemd'];

/**
 * Kills what is left in a cgroup and removes it, with those below it.
 * @param name its name in the root of every hierarchy
 */
export async function removeCgroup(name: string): Promise<void> {
  for (const hierarchy of hierarchies) {
    const path = join(hierarchy, name);
    if (!existsSync(path)) continue;
    for (const pid of processesBelow(path)) kill(pid);
    await emptied(path);
    removeTree(path);
  }
}

function processesBelow(cgroup: string): number[] {
  const pids = readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  return [...pids, ...subgroups(cgroup).flatMap(processesBelow)];
}

function subgroups(cgroup: string): string[] {
  const entries = readdirSync(cgroup, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(cgroup, entry.name));
}

function removeTree(cgroup: string): void {
  for (const child of subgroups(cgroup)) removeTree(child);
  rmdirSync(cgroup);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

/** Waits until no process is in a v2 cgroup, whose cgroup.events tells so. v1 has no such file. */
async function emptied(cgroup: string): Promise<void> {
  const events = join(cgroup, 'cgroup.events');
  if (!existsSync(events)) return;
  const empty = () => readFileSync(events, 'utf8').includes('populated 0');
  await new Promise<void>((resolve, reject) => {
    const watcher = watch(events, check);
    const limit = setTimeout(() => done(new Error(`processes in ${cgroup} don't die`)), 10_000);
    function check() {
      if (empty()) done();
    }
    function done(error?: Error) {
      clearTimeout(limit);
      watcher.close();
      if (error) reject(error);
      else resolve();
    }
    check(); // only now: armed before it looks, so that no change falls between
  });
}

/** Removes what killed labs left on this machine. Labs that are still running aren't touched. */
export async function removeStale(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter(isStale)) {
    await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
  const cgroups = hierarchies
    .filter((hierarchy) => existsSync(hierarchy))
    .flatMap((hierarchy) => readdirSync(hierarchy));
  for (const name of new Set(cgroups.filter(isStale))) await removeCgroup(name);

  // Only a link whose other end is held by a survivor is still there. network.ts
  // writes the owner into the alias: a link's name is too short for it.
  const { stdout } = await execa('ip', ['-json', 'link', 'show']);
  for (const link of JSON.parse(stdout) as { ifname: string; ifalias?: string }[]) {
    if (link.ifname.startsWith(prefix) && isStale(link.ifalias ?? '')) {
      await execa('ip', ['link', 'delete', 'dev', link.ifname], { reject: false });
    }
  }
}

/** Makes a directory below a lab's work directory. */
export function subdirectory(parent: string, name: string): string {
  const path = join(parent, name);
  mkdirSync(path, { recursive: true });
  return path;
}
