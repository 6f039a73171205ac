// What comes out of a good commit.
import type { Diagnostic } from '../../api/diagnostics.ts';
import type { FleetDocument, HostDocument } from '../../api/documents.ts';
import type { Catalog, Placement } from './catalog.ts';
import { type HostRender, payloadText } from './host.ts';

/** What one host gets at one commit. */
export interface HostRevision {
  readonly document: HostDocument;
  /** JSON of the api's Payload; put together at each reading. */
  readonly payloadText: string;
  /** Hex SHA-256 of that text. */
  readonly payloadDigest: string;
}

/** One document, and where it goes. */
export interface Use {
  readonly key: string;
  readonly kind: string;
  readonly hosts: readonly string[];
  /** Of its `kind`. */
  readonly place: () => Pick<Diagnostic, 'file' | 'line' | 'column'>;
}

export interface Revision {
  readonly commit: string;
  readonly uses: readonly Use[];
  readonly fleet: FleetDocument | undefined;
  readonly hosts: ReadonlyMap<string, HostRevision>;
}

export function usesOf(catalog: Catalog, placement: Placement): Use[] {
  return [...catalog.resources.values()].map((resource) => ({
    key: resource.key,
    kind: resource.document.kind,
    hosts: placement.of(resource).hosts,
    place: () => ({ file: resource.file, ...resource.yaml.locate(['kind']).value }),
  }));
}

export function revisionsOf(hosts: ReadonlyMap<string, HostRender>): Map<string, HostRevision> {
  return new Map(
    [...hosts].map(([name, host]) => [
      name,
      {
        document: host.inputs.host.document,
        payloadDigest: host.payloadDigest,
        get payloadText() {
          return payloadText(host);
        },
      },
    ]),
  );
}
