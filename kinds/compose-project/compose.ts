// `docker compose` on the user's project: reads their files, checks a set of files, brings services up. COMPOSE_FILE
// is always given, so that what is read and started is exactly the set that is meant.
import path from 'node:path';
import { errnoOf, Waiting } from '../../api/errors.ts';
import { type Image, imageOf } from '../docker-engine.ts';
import type { Ports, ProcessResult } from '../ports.ts';
import type { Command } from './render.ts';

export type Io = Pick<Ports, 'files' | 'processes' | 'docker' | 'mounts' | 'clock'>;

/** Which project, and by which program. */
export interface Project {
  readonly directory: string;
  readonly name: string | null;
  readonly program: string;
}

/** The user's files as compose reads them, variables left as they are written. */
export interface Base {
  readonly project: string;
  readonly services: Readonly<Record<string, BaseService>>;
}
export interface BaseService {
  readonly profiles?: readonly string[] | null;
  readonly command?: Command | null;
  readonly entrypoint?: Command | null;
  readonly environment?: readonly string[] | Readonly<Record<string, unknown>>;
}

const READ_MS = 30_000;
/** Stopping a container may take its grace period; a pass has 180 s. */
const UP_MS = 150_000;
/** Somebody is just editing, or is asked to. */
const AGAIN_MS = 30_000;

/** @throws Waiting('BaseInvalid') in compose's words. */
export async function readBase(
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<Base> {
  const model = await readJson(at, files, ['--no-interpolate'], io, signal);
  return {
    project:
      at.name ??
      ((await nameHoldsVariable(at, files, io)) ? await nameOf(at, files, io, signal) : model.name),
    services: model.services ?? {},
  };
}

/** The variables that a service of the base sets itself; they win over an env_file. */
export function variablesOf(service: BaseService): string[] {
  const { environment = {} } = service;
  return Array.isArray(environment)
    ? environment.map((line: string) => line.split('=')[0]!)
    : Object.keys(environment);
}

/**
 * Commands of services as they would run without us: as written, or the image's own.
 * @throws Waiting('NoImage') while the image, whose command it is, is not there.
 */
export async function commandsOf(
  base: Base,
  at: Project,
  files: readonly string[],
  appendedTo: ReadonlySet<string>,
  io: Io,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Command>> {
  const commands = new Map<string, Command>();
  for (const [name, { command, entrypoint }] of Object.entries(base.services)) {
    if (command !== undefined && command !== null) commands.set(name, command);
    // An entrypoint of the user's does away with the image's command (Engine API, Config.Entrypoint).
    else if ((entrypoint !== undefined && entrypoint !== null) || !appendedTo.has(name))
      commands.set(name, []);
    else commands.set(name, await imageCommand(name, at, files, io, signal));
  }
  return commands;
}

async function imageCommand(
  service: string,
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<Command> {
  const { image, found } = await imageFor(service, at, files, io, signal);
  if (found === undefined) {
    throw new Waiting(
      'NoImage',
      `the command of ${service} is its image's own, and ${image} is not on this host: run docker compose pull ${service}, or write command into the compose file`,
      AGAIN_MS,
    );
  }
  return (found.Config?.Cmd ?? []).map((word) => word.replaceAll('$', '$$$$'));
}

async function imageFor(
  service: string,
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<{ image: string; found: Image | undefined }> {
  const model = await readJson(at, files, [], io, signal);
  const image = model.services?.[service]?.image ?? `${model.name}-${service}`;
  return { image, found: await imageOf(io.docker, image, signal) };
}

/** How a service's process is started, without its arguments: the entrypoint of the user's files, or of its image. */
export async function entrypointOf(
  service: string,
  { entrypoint }: BaseService,
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<Command> {
  if (entrypoint !== undefined && entrypoint !== null) return entrypoint;
  const { found } = await imageFor(service, at, files, io, signal);
  return found?.Config?.Entrypoint ?? [];
}

interface Model {
  readonly name: string;
  readonly services?: Readonly<Record<string, BaseService & { readonly image?: string }>>;
}

async function readJson(
  at: Project,
  files: readonly string[],
  flags: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<Model> {
  const result = await compose(at, files, ['config', '--format', 'json', ...flags], READ_MS, io, signal);
  if (result.exitCode !== 0) {
    throw new Waiting(
      'BaseInvalid',
      `docker compose can't read ${files.join(', ')}: ${wordsOf(result)}`,
      AGAIN_MS,
    );
  }
  return JSON.parse(result.stdout) as Model;
}

/** Uninterpolated, compose makes something else of it. Files that can't be looked into might. */
async function nameHoldsVariable(at: Project, files: readonly string[], io: Io): Promise<boolean> {
  return files.some((file) => {
    const state = io.files.read(path.resolve(at.directory, file));
    return state.type !== 'file' || /^name:.*\$/m.test(state.content.toString());
  });
}

async function nameOf(at: Project, files: readonly string[], io: Io, signal: AbortSignal): Promise<string> {
  return (await readJson(at, files, [], io, signal)).name;
}

/**
 * The whole project as compose resolves it, as JSON; undefined where compose refuses it.
 * @param part one more file, that is read from standard input
 */
export async function resolvedText(
  at: Project,
  files: readonly string[],
  part: string | undefined,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  const args = [...withPart(files, part), 'config', '--format', 'json', '--no-env-resolution'];
  const result = await compose(at, files, args, READ_MS, io, signal, part);
  return result.exitCode === 0 ? result.stdout : undefined;
}

/**
 * @param part one more file, that is read from standard input
 * @returns why compose refuses this set of files; undefined when it does not.
 */
export async function refusal(
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
  part?: string,
): Promise<string | undefined> {
  const result = await compose(
    at,
    files,
    [...withPart(files, part), 'config', '--quiet'],
    READ_MS,
    io,
    signal,
    part,
  );
  return result.exitCode === 0 ? undefined : wordsOf(result);
}

/** Those that a profile switches off are not among them; undefined where compose refuses the files. */
export async function activeServices(
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  const { stdout, exitCode } = await compose(at, files, ['config', '--services'], READ_MS, io, signal);
  return exitCode !== 0 ? undefined : new Set(stdout.split('\n').filter(Boolean));
}

/**
 * Compose's hash of each service with all that files and .env say, without what env_files say; none where compose
 * refuses them. What compose labels a container with may be another one, and so may a newer compose's.
 */
export async function hashesOf(
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  const result = await compose(at, files, ['config', '--hash', '*'], READ_MS, io, signal);
  if (result.exitCode !== 0) return {};
  const lines = result.stdout.split('\n').flatMap((line) => {
    const [service, hash] = line.trim().split(/\s+/);
    return service && hash ? [[service, hash] as const] : [];
  });
  return Object.fromEntries(lines);
}

function withPart(files: readonly string[], part: string | undefined): string[] {
  return part === undefined ? [] : [...files, '-'].flatMap((file) => ['--file', file]);
}

/**
 * Creates, recreates or starts these services where they differ, and no others, their dependencies included.
 * @param replicas how many there are of each now, where `docker compose up --scale` made more than one.
 * @returns why it failed; undefined when it did not.
 */
export async function up(
  at: Project,
  files: readonly string[],
  services: readonly string[],
  replicas: ReadonlyMap<string, number>,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  const scale = services.flatMap((name) => {
    const count = replicas.get(name) ?? 1;
    return count > 1 ? ['--scale', `${name}=${count}`] : [];
  });
  const args = ['up', '--detach', '--no-deps', '--quiet-pull', ...scale, '--', ...services];
  const result = await compose(at, files, args, UP_MS, io, signal);
  return result.exitCode === 0 ? undefined : wordsOf(result);
}

/** '' where there is none. */
export async function versionOf(at: Project, io: Io, signal: AbortSignal): Promise<string> {
  try {
    const { stdout } = await compose(at, [], ['version', '--short'], READ_MS, io, signal);
    return stdout.trim();
  } catch {
    signal.throwIfAborted();
    return '';
  }
}

async function compose(
  at: Project,
  files: readonly string[],
  args: readonly string[],
  timeoutMs: number,
  io: Io,
  signal: AbortSignal,
  input?: string,
): Promise<ProcessResult> {
  const project = at.name === null ? [] : ['--project-name', at.name];
  const flags = ['compose', '--ansi', 'never', '--progress', 'quiet', ...project];
  let result: ProcessResult;
  try {
    result = await io.processes.run(at.program, [...flags, ...args], {
      timeoutMs,
      signal,
      ...(input === undefined ? {} : { input }),
      cwd: io.files.hostPath?.(at.directory) ?? at.directory,
      env: {
        DOCKER_HOST: io.docker.address,
        ...(files.length === 0 ? {} : { COMPOSE_FILE: files.join(':'), COMPOSE_PATH_SEPARATOR: ':' }),
        DOCKER_CLI_HINTS: 'false',
      },
    });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new Waiting('NoCompose', `there is no program ${at.program} on this host`, AGAIN_MS);
  }
  // "docker: unknown command: docker compose", "'compose' is not a docker command"; before 20.10 a flag is unknown
  if (result.exitCode !== 0 && /unknown (?:command|flag)|is not a docker command/.test(result.stderr)) {
    throw new Waiting(
      'NoCompose',
      `there is no docker compose that can be used here (${wordsOf(result)}): install the newest plugin`,
      AGAIN_MS,
    );
  }
  if (
    result.exitCode !== 0 &&
    /Cannot connect to the Docker daemon|error during connect/.test(result.stderr)
  ) {
    throw new Waiting('NoDockerEngine', `no Docker engine answers at ${io.docker.address}`, AGAIN_MS);
  }
  return result;
}

/** Its error, without warnings and progress. */
function wordsOf({ stderr, stdout, exitCode }: ProcessResult): string {
  const lines = `${stderr}\n${stdout}`
    .split('\n')
    .map((line) => line.trim())
    .filter(
      (line) =>
        line !== '' &&
        !/level=(?:warning|info)/.test(line) &&
        !/^(?:Container|Network|Volume|Image) /.test(line),
    );
  return [...new Set(lines)].join(' ').slice(0, 1000) || `exit code ${exitCode}`;
}
