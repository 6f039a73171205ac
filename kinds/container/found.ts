// Which containers there are that concern a resource: the one that has its name, and those that carry its label.
// More than one is ours while one takes the place of another, and after a crash in the middle of that.
import { Stalled } from '../../api/errors.ts';
import { type Container, inspect, nameOf, withLabel } from '../docker-engine.ts';
import type { Change, Desired } from '../kind.ts';
import type { Docker } from '../ports.ts';
import { configChanges, isOurs, isUsable, OWNER_LABEL, stateChanges } from './create.ts';
import type { ContainerSpec } from './schema.ts';

export interface Found {
  /** Who has the name, ours or not. */
  readonly holder: Container | undefined;
  /** With our label, the holder too. */
  readonly ours: readonly Container[];
}

export async function find(key: string, name: string, docker: Docker, signal: AbortSignal): Promise<Found> {
  const ours = await withLabel(docker, `${OWNER_LABEL}=${key}`, signal);
  const holder = ours.find((container) => nameOf(container) === name);
  return { ours, holder: holder ?? (await inspect(docker, name, signal)) };
}

/** The one of ours that is, or can be made, what is wanted; undefined when another must be made. */
export function usable(d: Desired<ContainerSpec>, { holder, ours }: Found): Container | undefined {
  const fitting = ours.filter((container) => isUsable(d, container));
  return (
    fitting.find(({ Id }) => Id === holder?.Id) ?? fitting.find(({ State }) => State.Running) ?? fitting[0]
  );
}

/** The one in service now, as wanted or not. */
export function inService(key: string, { holder, ours }: Found): Container | undefined {
  if (holder !== undefined && isOurs(key, holder)) return holder;
  return ours.find(({ State }) => State.Running) ?? ours[0];
}

export function changesOf(d: Desired<ContainerSpec>, found: Found): Change[] {
  const { holder, ours } = found;
  const changes: Change[] = [];
  if (holder !== undefined && !isOurs(d.key, holder)) {
    changes.push({ what: 'owner', from: `a container ${d.spec.name} of somebody else`, to: 'homeostat' });
  }
  const current = usable(d, found) ?? inService(d.key, found);
  if (current === undefined) {
    changes.push({ what: 'container', from: 'absent', to: d.spec.image });
    return changes;
  }
  changes.push(...configChanges(d, current), ...stateChanges(d, current));
  // The one that waits, stopped, to be put back is no difference; at most one may run.
  for (const other of ours.filter(({ Id, State }) => Id !== current.Id && State.Running)) {
    changes.push({ what: `also ${nameOf(other)}`, from: 'running', to: 'stopped' });
  }
  return changes;
}

/** @throws Stalled when the name is somebody else's, and is not to be taken over. */
export function requireName(d: Desired<ContainerSpec>, { holder }: Found): void {
  if (holder === undefined || isOurs(d.key, holder) || d.spec.adopt === true) return;
  const { name } = d.spec;
  throw new Stalled(
    'NotOurs',
    `there is a container ${name} that homeostat did not make, and it is left alone: rename it (docker rename ${name} …), or say adopt: true to have it stopped, kept, and put back when this document goes`,
  );
}
