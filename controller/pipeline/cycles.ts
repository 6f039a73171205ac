// Cycles in dependsOn: documents that would wait for each other for ever. Each is named once, and of a document that
// is in many of them, one: where everything depends on everything, there are more cycles than could be read.
import type { Diagnostic } from '../../api/diagnostics.ts';
import { diagnosticAt, type ParsedResource } from './parsed.ts';

/** Whatever hosts they go to: a document may only depend on what is on all of its hosts, so a cycle is on one. */
export function findCycles(resources: ReadonlyMap<string, ParsedResource>): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  /** Where it is in the trail, or that it was left. */
  const state = new Map<string, number | 'done'>();
  const trail: string[] = [];
  const reported = new Set<string>();
  // Iterative: 10,000 documents in one chain must not exhaust the stack.
  const stack: { key: string; next: number }[] = [];
  const enter = (key: string): void => {
    state.set(key, trail.length);
    trail.push(key);
    stack.push({ key, next: 0 });
  };
  for (const start of resources.keys()) {
    if (state.has(start)) continue;
    enter(start);
    while (stack.length > 0) {
      const frame = stack.at(-1)!;
      const resource = resources.get(frame.key)!;
      const { dependsOn } = resource;
      if (frame.next >= dependsOn.length) {
        state.set(frame.key, 'done');
        trail.pop();
        stack.pop();
        continue;
      }
      const { ref, path } = dependsOn[frame.next++]!;
      if (!resources.has(ref)) continue;
      const seen = state.get(ref);
      if (seen === undefined) enter(ref);
      else if (seen !== 'done' && !reported.has(frame.key)) {
        reported.add(frame.key);
        const message = `dependsOn goes in a circle: ${cycle(trail, seen)}; remove one of these dependencies`;
        diagnostics.push(diagnosticAt(resource, path, 'value', message));
      }
    }
  }
  return diagnostics;
}

/** Named in full up to here; of a longer one, its ends. */
const MAX_NAMED = 12;

function cycle(trail: readonly string[], start: number): string {
  const length = trail.length - start;
  const half = MAX_NAMED / 2;
  const names =
    length <= MAX_NAMED
      ? trail.slice(start)
      : [...trail.slice(start, start + half), `… ${length - MAX_NAMED} more …`, ...trail.slice(-half)];
  return [...names, trail[start]].join(' → ');
}
