// Who runs Alloy, as far as its config has to know: a unit, a container, or nobody that could be asked.
import { describeContainer, imageID, inspect, requireImage } from '../docker-engine.ts';
import type { Ports } from '../ports.ts';
import type { AlloyConfigSpec } from './schema.ts';

type Io = Pick<Ports, 'units' | 'supervised' | 'docker'>;

export interface RunnerState {
  /** Running, or about to. */
  readonly active: boolean;
  /** Running, and not about to. */
  readonly running: boolean;
  /** For people: alloy.service is failed (exit-code). */
  readonly words: string;
}

export interface Runner {
  /** Wakes when Alloy may have been started or stopped. */
  watch(wake: () => void, signal: AbortSignal): Promise<void>;
  /** undefined when that can't be told. */
  state(signal: AbortSignal): Promise<RunnerState | undefined>;
}

const unitOf = (spec: AlloyConfigSpec): string => spec.unit ?? 'alloy.service';

/** undefined for `manager: none`. */
export function runnerOf(spec: AlloyConfigSpec, io: Io): Runner | undefined {
  if (spec.container !== undefined) return containerRunner(spec.container.name, io);
  if (spec.manager === 'none') return undefined;
  const units = spec.manager === 'supervised' ? io.supervised : io.units;
  const unit = unitOf(spec);
  return {
    watch: (wake, signal) => units.watch(unit, wake, signal),
    async state(signal) {
      const state = await units.show(unit, signal).catch(() => undefined);
      if (state === undefined) return undefined;
      const running = state.activeState === 'active';
      return {
        running,
        active: running || state.activeState === 'activating',
        words: `${unit} is ${state.activeState} (${state.result})`,
      };
    },
  };
}

function containerRunner(name: string, { docker }: Pick<Io, 'docker'>): Runner {
  const events = { type: ['container'], container: [name], event: ['start', 'die', 'unpause'] };
  return {
    watch: (wake, signal) => docker.watch(events, wake, signal),
    async state(signal) {
      const container = await inspect(docker, name, signal).catch(() => undefined);
      if (container === undefined) return undefined;
      const { Running, Paused, Restarting } = container.State;
      const running = Running && !Paused && !Restarting;
      return {
        running,
        active: running || Restarting,
        words: `the container ${name} is ${describeContainer(container)}`,
      };
    },
  };
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
