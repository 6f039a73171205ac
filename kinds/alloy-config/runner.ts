// Who runs Alloy, as far as its config has to know: a unit, a container, or nobody that could be asked.
import * as z from 'zod';
import { imagePermission } from '../container-powers.ts';
import { ask, type Container, describeContainer, imageID, inspect, requireImage } from '../docker-engine.ts';
import type { Permission } from '../kind.ts';
import { bindPermissions, type ResolvedBind } from '../mounts-wanted.ts';
import type { Ports, UnitState } from '../ports.ts';
import { type CommandLine, parseCommandLine } from './command-line.ts';
import type { AlloyConfigSpec } from './schema.ts';

const LOG_LINES = 100;

type Io = Pick<Ports, 'units' | 'supervised' | 'docker' | 'processes'>;

/** Kept in snapshots, since an undo has no spec. */
export const RunnerName = z.union([
  z.object({ manager: z.enum(['systemd', 'supervised']), unit: z.string() }),
  z.object({ container: z.string(), image: z.string().optional() }),
]);
export type RunnerName = z.infer<typeof RunnerName>;

export interface RunnerState {
  /** stopped: somebody asked for it, or it never ran. failed: it ended by itself, or can't be started. */
  readonly is: 'running' | 'starting' | 'stopped' | 'failed';
  /** For people: alloy.service is failed (exit-code). */
  readonly text: string;
}

export interface Runner {
  /** Wakes when Alloy may have been started or stopped. */
  watch(wake: () => void, signal: AbortSignal): Promise<void>;
  /** undefined when that can't be seen. */
  state(signal: AbortSignal): Promise<RunnerState | undefined>;
  /** What it runs with; undefined when that can't be seen, or nothing runs. */
  commandLine(signal: AbortSignal): Promise<CommandLine | undefined>;
  /** What Alloy wrote since then, as far as it can be seen. */
  output(sinceMs: number, signal: AbortSignal): Promise<string>;
  /** Has Alloy load its file without its API: by SIGHUP, which it takes in its own time. */
  reload(signal: AbortSignal): Promise<void>;
}

/** undefined for `manager: none`. */
export function runnerName(spec: AlloyConfigSpec): RunnerName | undefined {
  if (spec.container !== undefined) {
    const { name, image } = spec.container;
    return { container: name, ...(image === undefined ? {} : { image }) };
  }
  const manager = spec.manager ?? 'systemd';
  return manager === 'none' ? undefined : { manager, unit: spec.unit ?? 'alloy.service' };
}

export function runnerOf(name: RunnerName | undefined, io: Io): Runner | undefined {
  if (name === undefined) return undefined;
  return 'container' in name ? containerRunner(name, io) : unitRunner(name, io);
}

function unitRunner({ manager, unit }: Extract<RunnerName, { unit: string }>, io: Io): Runner {
  const units = manager === 'supervised' ? io.supervised : io.units;
  return {
    watch: (wake, signal) => units.watch(unit, wake, signal),
    async state(signal) {
      const state = await units.show(unit, signal).catch(() => undefined);
      if (state === undefined) return undefined;
      return { is: unitIs(state), text: `${unit} is ${state.activeState} (${state.result})` };
    },
    async commandLine(signal) {
      const state = await units.show(unit, signal).catch(() => undefined);
      return parseCommandLine(io.processes.commandLine?.(state?.mainPID ?? 0) ?? []);
    },
    async output(sinceMs, signal) {
      return (await units.output?.(unit, sinceMs, signal).catch(() => '')) ?? '';
    },
    async reload(signal) {
      const { activeState } = await units.show(unit, signal);
      if (activeState !== 'active') throw new Error(`${unit} is ${activeState}, and can't be reloaded`);
      try {
        await units.run('reload', unit, signal);
      } catch {
        signal.throwIfAborted();
        // A unit without ExecReload=.
        await units.run('restart', unit, signal);
      }
    },
  };
}

function unitIs({ activeState, subState, result }: UnitState): RunnerState['is'] {
  if (activeState === 'active' || activeState === 'reloading') return 'running';
  if (activeState === 'failed' || (subState === 'auto-restart' && result !== 'success')) return 'failed';
  return activeState === 'inactive' ? 'stopped' : 'starting';
}

function containerRunner({ container, image }: Extract<RunnerName, { container: string }>, io: Io): Runner {
  const { docker } = io;
  const events = { type: ['container'], container: [container], event: ['start', 'die', 'unpause'] };
  return {
    watch: (wake, signal) => docker.watch(events, wake, signal),
    async state(signal) {
      try {
        const found = await inspect(docker, container, signal);
        if (found === undefined) return { is: 'stopped', text: `there is no container ${container}` };
        return { is: containerIs(found), text: `the container ${container} is ${describeContainer(found)}` };
      } catch {
        return undefined;
      }
    },
    async commandLine(signal) {
      const found = await inspect(docker, container, signal).catch(() => undefined);
      if (found?.Path === undefined || !found.State.Running) return undefined;
      return parseCommandLine([found.Path, ...(found.Args ?? [])]);
    },
    async output(sinceMs, signal) {
      const found = await inspect(docker, container, signal).catch(() => undefined);
      if (found === undefined || !(Date.parse(found.State.StartedAt) >= sinceMs)) return '';
      return await docker.logs(found.Id, LOG_LINES, signal).catch(() => '');
    },
    async reload(signal) {
      const found = await inspect(docker, container, signal);
      // The grant is for an image: another one is not signalled.
      if (found === undefined || (image !== undefined && found.Config.Image !== image)) {
        throw new Error(
          `there is no container ${container}${image === undefined ? '' : ` of ${image}`} to reload`,
        );
      }
      await ask(docker, 'POST', `/containers/${found.Id}/kill`, { query: { signal: 'SIGHUP' }, signal });
    },
  };
}

/** Exit codes of a stop that somebody asked for: SIGKILL and SIGTERM. */
const STOPPED_BY_SIGNAL = [0, 137, 143];

function containerIs({ State }: Container): RunnerState['is'] {
  const { Running, Restarting, OOMKilled, ExitCode, Status } = State;
  if (Running && !Restarting) return 'running';
  if (Status === 'created') return 'starting';
  return OOMKilled || !STOPPED_BY_SIGNAL.includes(ExitCode) ? 'failed' : 'stopped';
}

/** Which container is signalled is said by its name; a program that does not know SIGHUP ends by it. */
export function containerPermissions({
  name,
  image,
}: NonNullable<AlloyConfigSpec['container']>): Permission[] {
  return [
    { type: 'unit', value: `container:${name}`, why: 'it is sent SIGHUP when Alloy’s API is closed to us' },
    ...(image === undefined ? [] : [imagePermission(image, 'it validates the config')]),
  ];
}

/** What it takes to validate: the image that the container has, where none is named, and the config's directory. */
export async function usePermissions(
  { name, image }: NonNullable<AlloyConfigSpec['container']>,
  directory: ResolvedBind,
  own: readonly string[],
  { docker, mounts }: Pick<Ports, 'docker' | 'mounts'>,
  signal: AbortSignal,
): Promise<Permission[]> {
  const used = image ?? (await inspect(docker, name, signal))?.Config.Image;
  return [
    ...(used === undefined ? [] : [imagePermission(used, 'it validates the config')]),
    ...bindPermissions(directory, own, mounts, undefined),
  ];
}

/**
 * The image that a config is validated with: the one that is named, which is pulled if need be, or that of the
 * container. undefined when there is neither, since a config may come before its container.
 */
export async function targetImage(
  { name, image }: NonNullable<AlloyConfigSpec['container']>,
  { docker }: Pick<Io, 'docker'>,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (image !== undefined) {
    await requireImage(docker, image, 'missing', signal);
    return image;
  }
  const used = (await inspect(docker, name, signal))?.Image;
  // A container may outlive its image.
  return used === undefined ? undefined : await imageID(docker, used, signal);
}
