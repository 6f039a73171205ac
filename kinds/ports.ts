// The ports through which a kind touches a host. agent/providers implements them; tests bring their own. A kind
// names those it needs and gets no others. Everything here may throw Node system errors; none of it retries.

/** What stands at a path, without following a symbolic link. */
export type FileState =
  | { readonly type: 'absent' }
  | {
      readonly type: 'file';
      readonly content: Buffer;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      /** When the content was last written, unix milliseconds; missing where a port does not know it. */
      readonly mtimeMs?: number;
      /** When anything of it changed last, its place included; nobody can set it back. */
      readonly ctimeMs?: number;
      /** How many names it has, where it has several (hard links): what is changed under one is changed under all. */
      readonly links?: number;
    }
  | { readonly type: 'directory'; readonly mode: number; readonly uid: number; readonly gid: number }
  | { readonly type: 'symlink'; readonly target: string }
  | { readonly type: 'other' };

export interface FileAttributes {
  /** Permission bits, 0 to 0o7777. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Files, synchronously: small files on the hot path are read and written about a millisecond sooner that way
 * (docs/decisions/0003). Paths are absolute; below a sandbox root, where the agent has one.
 * Writing creates missing parents with mode 0755. A write whose path leads elsewhere through links is judged there, and
 * none ever reaches what is the agent's own (codes PathLeadsElsewhere, AgentsOwn).
 */
export interface Files {
  /** @throws system errors other than ENOENT and ENOTDIR, which read as absent; EFBIG above 16 MiB. */
  read(path: string): FileState;
  /**
   * Where a path really is, for `resolve`: links among its parents are followed, and at its end with `follow`; what is
   * missing stays as it is named. `..` goes up from where the part before it really is. @throws ELOOP
   */
  realPath(path: string, follow?: boolean): string;
  /** Whether anything is there, however large. */
  exists(path: string): boolean;
  /** When what the path leads to came there or was last changed (its ctime), unix milliseconds; 0 for nothing. */
  changedAtMs(path: string): number;
  /**
   * A new file with these attributes takes the path's place in one step: readers see the old or the new whole.
   * Durable: it is on the disk before it takes the place, and the place is on the disk after (2–3 ms more each). For
   * content that was not there before, 'content' leaves the second out: a power failure may bring the old file back,
   * whole, and that is drift. Putting back what was confirmed needs neither.
   */
  replaceAtomic(
    path: string,
    content: Uint8Array,
    attributes: FileAttributes,
    options?: { durable?: boolean | 'content' },
  ): void;
  /**
   * As `replaceAtomic` with 'content', but that the event loop goes on while the disk is waited for: of a thousand new
   * files many are flushed at the same time, and events are read meanwhile. What stands there by then gives way, too.
   */
  replaceFlushed(path: string, content: Uint8Array, attributes: FileAttributes): Promise<void>;
  /**
   * Keeps the inode, for a file that is bind-mounted on its own; readers may see a part.
   * @throws HardLinked for a file with several names, NotAFile for a device or a pipe; so does setAttributes.
   */
  rewriteInPlace(path: string, content: Uint8Array, attributes: FileAttributes): void;
  setAttributes(path: string, attributes: FileAttributes): void;
  makeDirectory(path: string, attributes: FileAttributes): void;
  makeSymlink(path: string, target: string): void;
  /** A file, a link or an empty directory; absent is fine. @throws ENOTEMPTY */
  remove(path: string): void;
  /**
   * Has a program look at what may come to stand at the path: in a hidden file beside it, since what a config refers to
   * is found relative to it. It and directories made for it are gone afterwards, also after a kill.
   */
  withCandidate<T>(path: string, content: Uint8Array, use: (candidate: string) => Promise<T>): Promise<T>;
  /**
   * As `withCandidate`, for several files that a program looks at as one directory: a copy, in a hidden directory beside
   * the path, so that nobody who loads what lies beside the path loads the copy as well.
   * @param contents by name
   */
  withCandidates<T>(
    path: string,
    contents: ReadonlyMap<string, Uint8Array>,
    use: (directory: string) => Promise<T>,
  ): Promise<T>;
  /** Candidates of an agent that was killed; at the start, before the first of this one's. */
  removeCandidates?(): void;
  /** Removes the stale temporary file that an agent that was killed left beside the path; as a rule there is none. */
  removeStale?(path: string): void;
  /** @throws Stalled when there is no such account on this host. */
  userID(name: string): number;
  groupID(name: string): number;
  /** Names in a directory; none where there is no such directory. */
  list?(directory: string): readonly string[];
  /**
   * When what is at the path, or where its links lead, was made, unix milliseconds: another one at the same path has
   * another time. 0 where that can't be told; undefined when nothing is there.
   */
  bornAtMs?(path: string): number | undefined;
  /**
   * A process that has the file at the path open for writing, as `scp (pid 7)`. Undefined where none has, and where that
   * can't be told: so it proves an unfinished write, and never a finished one.
   */
  writerOf?(path: string): string | undefined;
  /** The path as the host's other programs see it; itself, unless the agent has a sandbox root. */
  hostPath?(path: string): string;
  /**
   * Arms, wakes once, then wakes at each change of the path (its content, attributes, place, or a parent's), where it
   * really is, and of each link among its parents. As in `read`, a link at the path itself is not followed. A name with
   * wildcards (`*.yml`) stands for every entry of the directory that fits.
   * Settles when the signal aborts; rejects when the watch died.
   */
  watch(path: string, wake: () => void, signal: AbortSignal): Promise<void>;
  /**
   * The same for a path that no sandbox root is put before, and what a link at the path itself leads to as well: a
   * secret's file is read where it is.
   */
  watchOutside?(path: string, wake: () => void, signal: AbortSignal): Promise<void>;
  /** Directories that are polled, since the system has no watch left for them. */
  polled?(): readonly string[];
}

export interface ProcessResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Processes {
  /** With what a process of this host was started, program and arguments; undefined where that can't be seen. */
  commandLine?(pid: number): readonly string[] | undefined;
  /** Where a program really is that `run` would run, links followed; undefined where there is none. */
  locate?(command: string): string | undefined;
  /**
   * Runs a program with an argument array, never a shell.
   * @throws Error when it can't be started (ENOENT) or did not end within timeoutMs.
   */
  run(
    command: string,
    args: readonly string[],
    options: {
      timeoutMs: number;
      signal?: AbortSignal;
      input?: string;
      env?: Readonly<Record<string, string>>;
      /** Where it runs, as the host's programs see it (Files.hostPath). */
      cwd?: string;
      /**
       * The manifest chose the program: it is judged by where it really is, just before it is run (allow.exec).
       * @throws Stalled('NotAllowed')
       */
      chosen?: true;
      /**
       * For a program that must not be cut off halfway, and takes no input: `signal` and the agent's end, a kill
       * included, end the waiting and not the program. Where systemd runs the host it is a transient unit whose name
       * begins with `unit`. Whoever comes later finds it by the lock that it holds.
       */
      detached?: { unit: string };
    },
  ): Promise<ProcessResult>;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Http {
  /** One request, no redirects, body capped at 8 MiB. @throws Error when no response came within timeoutMs. */
  request(
    url: string,
    options: {
      timeoutMs: number;
      signal?: AbortSignal;
      method?: string;
      headers?: Readonly<Record<string, string>>;
      body?: string;
      /**
       * Of https: PEM of the authorities to trust instead of those that the agent knows, and whose certificate is expected,
       * if not the URL's.
       */
      tls?: { readonly ca?: string | undefined; readonly serverName?: string | undefined };
      /** Of the answer's body; default utf8. In latin1 each character is a byte, whatever the bytes are. */
      encoding?: 'utf8' | 'latin1';
    },
  ): Promise<HttpResponse>;
}

/** A unit as its manager knows it; the names are systemd's (org.freedesktop.systemd1(5)). */
export interface UnitState {
  /** The unit's own name, where it was asked for by an alias; missing where a manager knows none. */
  readonly id?: string;
  readonly loadState: 'loaded' | 'not-found' | 'masked' | 'error' | 'bad-setting';
  /** The manager's own message about a unit that it could not load. */
  readonly loadError: string;
  readonly activeState: 'active' | 'reloading' | 'inactive' | 'failed' | 'activating' | 'deactivating';
  readonly subState: string;
  /** 'enabled', 'disabled', 'masked', 'static', 'enabled-runtime', …; '' where there is no unit file. */
  readonly unitFileState: string;
  /** A unit file or drop-in changed on disk since it was loaded. */
  readonly needDaemonReload: boolean;
  /** Hex; '' when it never ran. A new one for every start. */
  readonly invocationID: string;
  /** When the running invocation began, unix milliseconds; 0 when none runs. */
  readonly startedAtMs: number;
  readonly mainPID: number;
  /**
   * The result of the last run: 'success', 'exit-code', 'signal', … 'start-limit-hit' only where the last run had no
   * failure of its own: systemd keeps the first.
   */
  readonly result: string;
  /** 'simple', 'oneshot', 'notify', …; '' for units that are no services. */
  readonly serviceType: string;
  /** The unit file that was loaded; '' when none was. */
  readonly fragmentPath: string;
  /** The drop-ins that were loaded, whoever wrote them. */
  readonly dropInPaths: readonly string[];
  /** Automatic restarts since the unit was last started by a job (NRestarts); 0 for units that are no services. */
  readonly restarts: number;
  /** When it last became inactive or failed (InactiveEnterTimestamp), unix milliseconds; 0 while it never was. */
  readonly inactiveSinceMs: number;
  /** How long the last run lived, in milliseconds; undefined while one runs, and when none is known. */
  readonly livedMs: number | undefined;
  /**
   * Nothing runs, and nobody stopped the last run: its main process ended before the unit left its active state.
   * False where the manager does not know: a unit that systemd unloaded meanwhile, which it does with an inactive
   * unit that nothing refers to and nobody watches; one with ExitType=cgroup; one without a main process.
   */
  readonly endedItself: boolean;
  /** When its manager starts it again by itself, unix milliseconds; 0 unless it waits for that (auto-restart). */
  readonly restartsAtMs: number;
  /** When a start was last skipped, since a condition or assertion of the unit did not hold, unix milliseconds; or 0. */
  readonly skippedAtMs: number;
  /** FreezerState; 'stopped' where the main process was stopped by a signal (SIGSTOP); '' where it is unknown. */
  readonly freezer: 'running' | 'freezing' | 'frozen' | 'thawing' | 'stopped' | '' | (string & {});
  /** Path of the program of the main process, where another file stands there by now (an upgrade). */
  readonly replacedProgram?: string | undefined;
}

export type UnitJob = 'start' | 'stop' | 'restart' | 'reload';

/** A job that a manager ended with another result than 'done' (org.freedesktop.systemd1(5), JobRemoved). */
export class JobFailed extends Error {
  override readonly name = 'JobFailed';
  readonly result: 'failed' | 'timeout' | 'canceled' | 'dependency' | 'skipped' | (string & {});
  constructor(result: JobFailed['result'], message: string) {
    super(message);
    this.result = result;
  }
}

export interface Units {
  /** Whose units these are: systemd's, or children of the agent (demo and containers only). */
  readonly manager: 'systemd' | 'supervised';
  /** Loads the unit if need be. */
  show(unit: string, signal?: AbortSignal): Promise<UnitState>;
  /** Runs a job to its end. @throws JobFailed when its result is not 'done'. */
  run(job: UnitJob, unit: string, signal?: AbortSignal): Promise<void>;
  daemonReload(): Promise<void>;
  /** @throws Stalled when the unit file has no [Install] section. */
  enable(unit: string): Promise<void>;
  disable(unit: string): Promise<void>;
  mask(unit: string): Promise<void>;
  unmask(unit: string): Promise<void>;
  resetFailed(unit: string): Promise<void>;
  /** The last lines that a unit wrote since then (unix milliseconds); '' where there are none, or they can't be read. */
  output?(unit: string, sinceMs: number, signal: AbortSignal): Promise<string>;
  /** Arms, wakes once, then wakes whenever a property or the unit file of the unit changed. */
  watch(unit: string, wake: () => void, signal: AbortSignal): Promise<void>;
}

export interface TailscaleStatus {
  /** 'Running', 'NeedsLogin', 'Stopped', … (ipn.State). */
  readonly backendState: string;
  readonly addresses: readonly string[];
  /** RFC 3339; '' when the key does not expire. */
  readonly keyExpiry: string;
  readonly health: readonly string[];
  readonly version: string;
}

/** tailscaled's LocalAPI, or the `tailscale` program where there is no socket. */
export interface Tailscale {
  /** ipn.Prefs as tailscaled gives it: RunWebClient, RunSSH, Hostname, … */
  prefs(signal?: AbortSignal): Promise<Readonly<Record<string, unknown>>>;
  /** Sets the given members and leaves the others. */
  setPrefs(prefs: Readonly<Record<string, unknown>>, signal?: AbortSignal): Promise<void>;
  status(signal?: AbortSignal): Promise<TailscaleStatus>;
  /** Arms, wakes once, then wakes at each change of prefs or state; rejects when the stream ends. */
  watch(wake: () => void, signal: AbortSignal): Promise<void>;
}

/** One HTTP request to a Docker engine; paths are the Engine API's, without the version: `/containers/alloy/json`. */
export interface DockerRequest {
  /** As query parameters; objects are sent as JSON text, as the API wants its filters. */
  readonly query?: Readonly<Record<string, string | number | boolean | object>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** Who asks a registry. */
export interface RegistryAccount {
  /** As the reference of an image names it: registry.example.org:5000, docker.io. */
  readonly registry: string;
  readonly username: string;
  readonly password: string;
}

export type PullState =
  /** How far it is, for people. */
  | { readonly state: 'pulling'; readonly progress: string }
  | { readonly state: 'done' }
  /** The engine's message; `final` when the registry was reached and has no such image for us. */
  | { readonly state: 'failed'; readonly why: string; readonly final: boolean };

/**
 * A Docker engine over its HTTP API (docs.docker.com/reference/api/engine), in the newest version of it that both
 * sides know. Everything throws Waiting('NoDockerEngine') while nobody answers at the engine's address.
 */
export interface Docker {
  /** What people call it by: `unix:///var/run/docker.sock`. */
  readonly address: string;
  /** Of the engine, as 28.1.1, and of the API that is spoken, as 1.49. */
  version(signal?: AbortSignal): Promise<{ readonly engine: string; readonly api: string }>;
  /** One request; every status is an answer. Body capped at 8 MiB. @throws Error when none came within timeoutMs. */
  request(
    method: 'GET' | 'POST' | 'DELETE' | 'HEAD',
    path: string,
    options: DockerRequest & { readonly timeoutMs: number },
  ): Promise<HttpResponse>;
  /**
   * Has an image pulled, in the background, since that may take longer than a pass: starts a pull of this reference,
   * or joins the one under way. Waits for its end at most waitMs. An end that was reported is forgotten.
   */
  pull(
    reference: string,
    options: { readonly waitMs: number; readonly signal: AbortSignal; readonly account?: RegistryAccount },
  ): Promise<PullState>;
  /** The last lines that a container wrote to both of its streams; '' when it has none that can be read. */
  logs(container: string, lines: number, signal?: AbortSignal): Promise<string>;
  /**
   * Arms, wakes once, then wakes at each event that fits (`{ type: ['container'], container: ['alloy'] }`, as in
   * `docker events --filter`). Nothing that happens after the first wake is missed. Rejects when the stream ends.
   */
  watch(
    filters: Readonly<Record<string, readonly string[]>>,
    wake: () => void,
    signal: AbortSignal,
  ): Promise<void>;
}

/** Where a path leads. */
export interface Resolved {
  /**
   * Every link on the way followed, as a manifest names it; of what does not exist, from its nearest parent that does.
   * What leads out of a sandbox root begins with "outside ", and is no path.
   */
  readonly path: string;
  /** The same as the host's other programs see it. */
  readonly hostPath: string;
  readonly type: 'absent' | 'file' | 'directory' | 'socket' | 'other';
  /** How many names it has; more than one for a file that stands elsewhere as well (a hard link). */
  readonly links: number;
}

/** Where paths lead, and what is mounted: what a container sees is judged by it. */
export interface Mounts {
  resolve(path: string): Resolved;
  /** As a manifest names a path that the host's programs see. */
  nameOf(hostPath: string): string;
  /** What is mounted on this host (mountinfo of proc(5)); '' on a system that does not show it. */
  table(): string;
  /**
   * What a container has mounted, as its first process sees it. undefined where that is no process of this host.
   * @param pid as the engine knows it, which may be in a namespace of its own.
   */
  tableOf(id: string, pid: number): string | undefined;
  /** Sockets at a path or below it, as the host's programs see them: of a large directory those that are listened on. */
  socketsIn(hostPath: string): readonly string[];
}

export interface Sockets {
  /**
   * Makes a TCP connection to host:port ([::1]:port for IPv6) and closes it again.
   * @throws Error when nobody took it within timeoutMs.
   */
  connect(address: string, timeoutMs: number, signal?: AbortSignal): Promise<void>;
}

export interface Clock {
  /** Unix milliseconds; may jump. */
  now(): number;
  /** Milliseconds that never go back. */
  monotonic(): number;
  setTimeout(callback: () => void, ms: number): { cancel(): void };
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Ports {
  readonly files: Files;
  readonly processes: Processes;
  readonly http: Http;
  readonly units: Units;
  /** Children of the agent, for `manager: supervised`. */
  readonly supervised: Units & SupervisedUnits;
  readonly tailscale: Tailscale;
  readonly docker: Docker;
  readonly sockets: Sockets;
  readonly mounts: Mounts;
  readonly clock: Clock;
}
export type PortName = keyof Ports;

/** What the supervised manager has instead of unit files. */
export interface SupervisedUnits {
  define(
    unit: string,
    definition: { command: readonly string[]; env: Readonly<Record<string, string>>; enabled: boolean },
  ): void;
  /** The definition the unit has, as JSON text, or undefined. */
  definition(unit: string): string | undefined;
  undefine(unit: string): Promise<void>;
}
