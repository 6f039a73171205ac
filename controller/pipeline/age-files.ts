// The files that hold secrets encrypted, and who has to be able to read them. The controller can decrypt nothing; an
// age header does not name its recipients either, it only shows how many there are (age-encryption.org/v1). So what
// is told here is what is certainly wrong; the right number proves nothing.
import type { Diagnostic } from '../../api/diagnostics.ts';
import { recipientCount } from './age-header.ts';
import { contentSites, pathOf } from './bind.ts';
import type { Catalog, Placement } from './catalog.ts';
import type { Content } from './content.ts';
import { nameHosts } from './findings.ts';
import { scopeOf } from './host.ts';
import { diagnosticAt, type ParsedResource } from './parsed.ts';
import type { Path } from './yaml.ts';

/** One encrypted file: where it is named, and the hosts that get it. */
export interface AgeFile {
  readonly hosts: Set<string>;
  readonly sites: { readonly resource: ParsedResource; readonly path: Path }[];
}

/** By path below the manifests' root. */
export function ageFiles(catalog: Catalog, placement: Placement): Map<string, AgeFile> {
  const files = new Map<string, AgeFile>();
  for (const resource of catalog.resources.values()) {
    for (const site of contentSites(resource)) {
      if (site.field !== 'ageFrom') continue;
      for (const name of placement.of(resource).hosts) {
        const path = pathOf(resource, site, scopeOf(catalog.hosts.get(name)!, catalog.fleet));
        if (path === undefined) continue;
        const file: AgeFile = files.get(path) ?? { hosts: new Set(), sites: [] };
        file.hosts.add(name);
        if (file.sites.at(-1)?.resource !== resource) file.sites.push({ resource, path: site.path });
        files.set(path, file);
      }
    }
  }
  return files;
}

/** Warnings about files that some host, or some person of the Fleet, certainly can't read. */
export function unreadable(
  files: ReadonlyMap<string, AgeFile>,
  catalog: Catalog,
  content: (path: string) => Content,
): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  const people = catalog.fleet?.broken ? [] : (catalog.fleet?.document.spec.secretRecipients ?? []);
  const told = new Set<string>();
  for (const [path, { hosts, sites }] of files) {
    const known: string[] = [];
    for (const name of hosts) {
      const host = catalog.hosts.get(name)!;
      const recipient = host.broken ? undefined : host.document.spec.ageRecipient;
      if (recipient !== undefined) known.push(recipient);
      else if (!told.has(name) && !host.broken) {
        told.add(name);
        const message = `Host/${name} gets ${path} and has no ageRecipient, so that \`homeostat secret\` does not encrypt to it: write there what \`homeostat enroll\` printed, then run \`homeostat secret rekey\``;
        diagnostics.push(diagnosticAt(host, ['spec'], 'value', message, 'warning'));
      }
    }
    const count = recipientCount(content(path).text);
    const needed = new Set([...known, ...people]).size;
    const { resource, path: at } = sites[0]!;
    if (count === undefined || count >= needed) continue;
    const message = `${path} is encrypted to ${count} recipient${count === 1 ? '' : 's'}, and ${needed} have to read it (${nameHosts([...hosts].sort())}${people.length > 0 ? `, and ${people.length} of Fleet.secretRecipients` : ''}): run \`homeostat secret rekey\``;
    diagnostics.push(diagnosticAt(resource, at, 'value', message, 'warning'));
  }
  return diagnostics;
}
