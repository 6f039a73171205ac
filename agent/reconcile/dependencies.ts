// What a change waits for before it is begun.
import type { Resource } from '../../api/bundle.ts';
import { Waiting } from '../../api/errors.ts';
import { isBehind, type World } from './world.ts';

const DEPENDENCY_AGAIN_MS = 60_000;

/** Only what is new waits for its dependencies; a heal never does. @throws Waiting */
export function requireDependencies(world: World, resource: Resource): void {
  for (const { ref, until } of resource.dependsOn) {
    const dependency = world.get(ref);
    const its = dependency?.resource;
    if (its !== undefined && (its.suspend || its.drift === 'warn')) continue;
    // What it is by an earlier manifest does not count.
    const isOld = dependency !== undefined && isBehind(dependency);
    if (!isOld && dependency?.conditions.isTrue(until) && dependency.parked === undefined) continue;
    const now = dependency?.conditions.get('Ready');
    const is = isOld
      ? ' (it is yet to be looked at)'
      : now === undefined
        ? ''
        : ` (it is ${now.reason}: ${now.message})`;
    throw new Waiting('Dependency', `waits for ${ref} to be ${until}${is}`, DEPENDENCY_AGAIN_MS);
  }
}
