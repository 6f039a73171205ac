// Cycles in dependsOn: documents that would wait for each other for ever. Each is named in full, once.
import type { Diagnostic } from '../../api/diagnostics.ts';
import { diagnosticAt, type ParsedResource } from './document.ts';

/** Whatever hosts they go to: a document may only depend on what is on all of its hosts, so a cycle is on one. */
export function findCycles(resources: ReadonlyMap<string, ParsedResource>): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const trail: string[] = [];
  // Iterative: 10,000 documents in one chain must not exhaust the stack.
  const stack: { key: string; next: number }[] = [];
  const enter = (key: string): void => {
    state.set(key, 'open');
    trail.push(key);
    stack.push({ key, next: 0 });
  };
  for (const start of resources.keys()) {
    if (state.has(start)) continue;
    enter(start);
    while (stack.length > 0) {
      const frame = stack.at(-1)!;
      const resource = resources.get(frame.key)!;
      const refs = refsOf(resource);
      if (frame.next >= refs.length) {
        state.set(frame.key, 'done');
        trail.pop();
        stack.pop();
        continue;
      }
      const i = frame.next++;
      const ref = refs[i]!;
      if (!resources.has(ref)) continue;
      const seen = state.get(ref);
      if (seen === undefined) enter(ref);
      else if (seen === 'open') {
        const cycle = [...trail.slice(trail.indexOf(ref)), ref].join(' → ');
        const message = `dependsOn goes in a circle: ${cycle}; remove one of these dependencies`;
        diagnostics.push(diagnosticAt(resource, ['dependsOn', i, 'ref'], 'value', message));
      }
    }
  }
  return diagnostics;
}

function refsOf(resource: ParsedResource): string[] {
  const { dependsOn } = resource.document;
  return Array.isArray(dependsOn) ? dependsOn.map((d) => String(d?.ref)) : [];
}
