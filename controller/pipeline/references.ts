// Documents that name others which are not there, or not on the same hosts; and documents that go nowhere.
import type { Diagnostic, Suggestions } from '../../api/diagnostics.ts';
import { type Bound, NO_HOST } from './bind.ts';
import type { Catalog, Placement } from './catalog.ts';
import { at } from './defect.ts';
import { HOSTS } from './findings.ts';
import type { Missing } from './host.ts';
import { diagnosticAt, ownerOf, type ParsedResource } from './parsed.ts';
import { render } from './render.ts';

/** Documents that go to no host are checked all the same, as far as that goes without one. */
export function homeless(
  { catalog, placement }: { readonly catalog: Catalog; readonly placement: Placement },
  bounds: ReadonlyMap<string, Bound>,
  references: Suggestions,
): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  for (const resource of catalog.resources.values()) {
    const nowhere = placement.of(resource).hosts.length === 0;
    if (!nowhere && !resource.broken) continue;
    for (const { ref, path } of resource.dependsOn) {
      if (catalog.incomplete || catalog.resources.has(ref)) continue;
      diagnostics.push(noSuchDocument(resource, ref, path, references));
    }
    const bound = bounds.get(resource.key);
    if (nowhere && bound !== undefined && !bound.dynamic)
      diagnostics.push(...at(resource, () => render(bound, NO_HOST)).findings);
  }
  return diagnostics;
}

export function explainMissing(
  { bound, ref, path }: Missing,
  catalog: Catalog,
  references: Suggestions,
): Diagnostic {
  const { resource } = bound;
  if (!catalog.resources.has(ref)) return noSuchDocument(resource, ref, path, references);
  const owner = ownerOf(resource, path);
  const goes = owner === resource.key ? `${owner} goes` : `documents of ${owner} go`;
  const message = `${ref} is not on ${HOSTS}, where ${goes}: let both have the same hosts`;
  return diagnosticAt(resource, path, 'value', message);
}

function noSuchDocument(
  resource: ParsedResource,
  ref: string,
  path: Missing['path'],
  references: Suggestions,
): Diagnostic {
  const near = references.near(ref);
  const hint = near === undefined ? 'add it, or remove the reference' : `did you mean ${near}?`;
  return diagnosticAt(resource, path, 'value', `there is no ${ref}: ${hint}`);
}
