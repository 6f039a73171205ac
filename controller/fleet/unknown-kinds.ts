// Documents that go to hosts whose agents do not know their kind. A warning, and no error: one host with an old agent
// must not hold back what all the others get (docs/decisions/0048). Pure.
import type { Diagnostic } from '../../api/diagnostics.ts';
import type { Use } from '../pipeline/compile.ts';
import { nameHosts } from '../pipeline/findings.ts';

/** What an agent said of itself. */
export interface Reported {
  readonly version: string;
  readonly kinds: readonly string[];
}

/** @param reported undefined for a host that has not reported yet: nothing is known of it, and nothing said. */
export function unknownKinds(
  uses: Iterable<Use>,
  reported: (host: string) => Reported | undefined,
): Diagnostic[] {
  const known = new Map<readonly string[], ReadonlySet<string>>();
  const knows = (host: string, kind: string): boolean => {
    const said = reported(host);
    if (said === undefined) return true;
    const kinds = known.get(said.kinds) ?? new Set(said.kinds);
    known.set(said.kinds, kinds);
    return kinds.has(kind);
  };
  const found: Diagnostic[] = [];
  for (const { kind, key, hosts, place } of uses) {
    const without = hosts.filter((host) => !knows(host, kind)).sort();
    if (without.length === 0) continue;
    const versions = [...new Set(without.map((host) => reported(host)?.version ?? '?'))].sort().slice(0, 3);
    const message = `${key} goes to ${nameHosts(without)}, where homeostat ${versions.join(', ')} does not know the kind ${kind}: install the controller's version there, or take it off these hosts`;
    found.push({ ...place(), severity: 'warning', message });
  }
  return found;
}
