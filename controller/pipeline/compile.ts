// From the files of one commit to what every host gets: parse, check, place, bind, render. All that is wrong is
// told at once; with one error there is no revision, and the last good one keeps serving. What a compilation
// found out is kept for the next, which looks only at what changed.
import { type Diagnostic, didYouMean, hasErrors, sortDiagnostics } from '../../api/diagnostics.ts';
import type { FleetDocument, HostDocument } from '../../api/documents.ts';
import type { Downloads } from '../source/downloads.ts';
import { isManifest, MAX_MANIFEST_BYTES, type Snapshot, type SnapshotFile } from '../source/snapshot.ts';
import { ageFiles, unreadable } from './age-files.ts';
import { type Bound, bind, contentPaths, NO_HOST } from './bind.ts';
import { buildCatalog, type Catalog, Placement } from './catalog.ts';
import { Contents, mebibytes } from './content.ts';
import { findCycles } from './cycles.ts';
import { checkDocument, diagnosticAt, type Kinds, type Parsed, type ParsedResource } from './document.ts';
import { Fetched } from './downloads.ts';
import { Findings, HOSTS } from './findings.ts';
import { type HostRender, type Missing, payloadText, renderHost, scopeOf } from './host.ts';
import { render } from './render.ts';
import { Targets } from './targets.ts';
import { readYaml } from './yaml.ts';

/** What one host gets at one commit. */
export interface HostRevision {
  readonly document: HostDocument;
  /** JSON of the api's Payload; put together at each reading. */
  readonly payloadText: string;
  /** Hex SHA-256 of that text. */
  readonly payloadDigest: string;
}

export interface Revision {
  readonly commit: string;
  readonly fleet: FleetDocument | undefined;
  readonly hosts: ReadonlyMap<string, HostRevision>;
}

export interface Compilation {
  /** Missing when there is any error. */
  readonly revision?: Revision;
  /** Sorted by file and place. */
  readonly diagnostics: readonly Diagnostic[];
  /** How much there is, for the summary line. */
  readonly counts: { readonly files: number; readonly documents: number; readonly hosts: number };
  /** A download failed in a way that may pass: the same commit is worth another try. */
  readonly again: boolean;
  /** For the next compilation. */
  readonly memory: Memory;
}

interface FileEntry {
  readonly oid: string;
  readonly parsed: readonly Parsed[];
  readonly diagnostics: readonly Diagnostic[];
  /** A document in it could not be read, so that its name is unknown. */
  readonly incomplete: boolean;
}

interface Memory {
  readonly kinds: Kinds;
  readonly files: ReadonlyMap<string, FileEntry>;
  readonly placement: Placement;
  readonly targets: Targets;
  readonly contents: Contents;
  readonly downloads: Fetched;
  readonly bounds: ReadonlyMap<string, Bound>;
  readonly hosts: ReadonlyMap<string, HostRender>;
}

/**
 * @param previous whatever came out of the last compilation, good or bad; only speed depends on it.
 * @param downloads where documents that name downloads get them; without it each of them is an error.
 * @throws what the snapshot's files throw when they can't be read.
 */
export async function compile(
  snapshot: Snapshot,
  kinds: Kinds,
  previous?: Compilation,
  downloads?: Downloads,
): Promise<Compilation> {
  const memory = previous?.memory.kinds === kinds ? previous.memory : undefined;
  const files = await readFiles(snapshot, kinds, memory);
  const entries = [...files.values()];
  const catalog = catalogOf(entries);
  const placement = memory?.placement.fits(catalog.hosts) ? memory.placement : new Placement(catalog.hosts);
  const targets = memory?.targets.fits(catalog.hosts) ? memory.targets : new Targets(catalog.hosts);
  const whole = { catalog, placement, targets };
  const { bounds, contents, fetched } = await bindAll(snapshot, whole, memory, downloads);
  const hosts = renderAll(whole, bounds, memory);

  const findings = new Findings();
  for (const entry of entries) for (const d of entry.diagnostics) findings.add(d);
  for (const d of catalog.diagnostics) findings.add(d);
  for (const d of findCycles(catalog.resources)) findings.add(d);
  if (!catalog.incomplete) {
    for (const resource of catalog.resources.values())
      for (const d of placement.of(resource).diagnostics) findings.add(d);
  }
  for (const [name, host] of hosts) {
    for (const r of host.rendered) for (const d of r.findings) findings.add(d, name);
    for (const d of host.findings) findings.add(d, name);
    for (const m of host.missing) {
      const target = catalog.resources.get(m.ref);
      // A document that is there and could not be rendered was reported for that.
      if (catalog.incomplete || (target && (target.broken || placement.of(target).hosts.includes(name))))
        continue;
      findings.add(explainMissing(m, catalog), name);
    }
  }
  for (const d of homeless(catalog, placement, bounds)) findings.add(d);
  const encrypted = ageFiles(catalog, placement);
  for (const d of unreadable(encrypted, catalog, (path) => contents.get(path))) findings.add(d);

  const diagnostics = sortDiagnostics(findings.list());
  const result: Compilation = {
    diagnostics,
    counts: {
      files: files.size,
      documents: entries.reduce((n, e) => n + e.parsed.length, 0),
      hosts: hosts.size,
    },
    again: fetched.mayPass,
    memory: { kinds, files, placement, targets, contents, downloads: fetched, bounds, hosts },
  };
  if (hasErrors(diagnostics)) return result;
  return {
    ...result,
    revision: { commit: snapshot.commit, fleet: catalog.fleet?.document, hosts: revisionsOf(hosts) },
  };
}

/**
 * The documents alone, as far as they can be read, whatever is wrong with them; for those who are about to mend it.
 * @throws what the snapshot's files throw when they can't be read.
 */
export async function readCatalog(snapshot: Snapshot, kinds: Kinds): Promise<Catalog> {
  return catalogOf([...(await readFiles(snapshot, kinds, undefined)).values()]);
}

function catalogOf(entries: readonly FileEntry[]): Catalog {
  return buildCatalog(
    entries.flatMap((entry) => entry.parsed),
    entries.some((entry) => entry.incomplete),
  );
}

async function readFiles(
  snapshot: Snapshot,
  kinds: Kinds,
  memory: Memory | undefined,
): Promise<Map<string, FileEntry>> {
  const paths = [...snapshot.files.keys()].filter(isManifest).sort();
  const files = await Promise.all(
    paths.map(async (path) => {
      const file = snapshot.files.get(path)!;
      const known = memory?.files.get(path);
      return [path, known?.oid === file.oid ? known : await readFile(path, file, kinds)] as const;
    }),
  );
  return new Map(files);
}

async function readFile(path: string, file: SnapshotFile, kinds: Kinds): Promise<FileEntry> {
  const refused = (message: string): FileEntry => ({
    oid: file.oid,
    parsed: [],
    diagnostics: [{ file: path, line: 0, column: 0, severity: 'error', message }],
    incomplete: true,
  });
  if (file.refused !== undefined) return refused(file.refused);
  if (file.size > MAX_MANIFEST_BYTES) {
    return refused(
      `the file has ${mebibytes(file.size)}, and a manifest has at most ${mebibytes(MAX_MANIFEST_BYTES)}: divide it, or have large texts in files of their own (contentFrom)`,
    );
  }
  const bytes = await file.read();
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refused('the file is not UTF-8 text: save it as UTF-8');
  }
  const yaml = readYaml(path, text);
  const checked = yaml.documents.map((document) => checkDocument(path, document, kinds));
  const parsed = checked.flatMap((c) => (c.parsed === undefined ? [] : [c.parsed]));
  return {
    oid: file.oid,
    parsed,
    diagnostics: [...yaml.diagnostics, ...checked.flatMap((c) => c.diagnostics)],
    incomplete: yaml.diagnostics.length > 0 || parsed.length < checked.length,
  };
}

/** All documents of the commit, and what only shows when they are seen together. */
interface Whole {
  readonly catalog: Catalog;
  readonly placement: Placement;
  readonly targets: Targets;
}

async function bindAll(
  snapshot: Snapshot,
  { catalog, placement, targets }: Whole,
  memory: Memory | undefined,
  downloads: Downloads | undefined,
): Promise<{ bounds: Map<string, Bound>; contents: Contents; fetched: Fetched }> {
  const contents = new Contents(snapshot, memory?.contents);
  const fetched = new Fetched(downloads, memory?.downloads);
  const paths = new Map<ParsedResource, Set<string>>();
  for (const resource of catalog.resources.values()) {
    const scopes = () =>
      placement.of(resource).hosts.map((name) => scopeOf(catalog.hosts.get(name)!, catalog.fleet, targets));
    paths.set(resource, contentPaths(resource, scopes));
    fetched.want(resource, scopes);
  }
  await Promise.all([contents.load([...paths.values()].flatMap((set) => [...set])), fetched.load()]);
  const bounds = new Map<string, Bound>();
  for (const [resource, set] of paths) {
    bounds.set(
      resource.key,
      bind(resource, set, contents, fetched.of(resource), memory?.bounds.get(resource.key)),
    );
  }
  return { bounds, contents, fetched };
}

function renderAll(
  { catalog, placement, targets }: Whole,
  bounds: ReadonlyMap<string, Bound>,
  memory: Memory | undefined,
): Map<string, HostRender> {
  const byHost = new Map<string, Bound[]>([...catalog.hosts.keys()].sort().map((name) => [name, []]));
  for (const key of [...bounds.keys()].sort()) {
    const bound = bounds.get(key)!;
    for (const name of placement.of(bound.resource).hosts) byHost.get(name)!.push(bound);
  }
  const hosts = new Map<string, HostRender>();
  const pruned = prunedOfTheFleet(placement, bounds);
  for (const [name, list] of byHost) {
    const host = catalog.hosts.get(name)!;
    // What a broken Host or Fleet lacks must not be told a second time as unknown variables.
    const usable = !host.broken && catalog.fleet?.broken !== true && !catalog.incomplete;
    const given = usable ? list : list.filter((bound) => !bound.dynamic);
    const inputs = {
      host,
      fleet: catalog.fleet,
      targets: given.some((bound) => bound.fleetwide) ? targets : undefined,
      bounds: given,
      elsewhere: pruned.flatMap(({ key, runsOn }) => (runsOn.includes(name) ? [] : [key])),
    };
    hosts.set(name, renderHost(inputs, memory?.hosts.get(name)));
  }
  return hosts;
}

/**
 * Documents with runOn that say what their removal does. A host that had one and lost it to another host must learn
 * that it was moved, not removed; of those without `prune` every host knows that they stay.
 */
function prunedOfTheFleet(placement: Placement, bounds: ReadonlyMap<string, Bound>) {
  const pruned = [...bounds.values()].filter(({ resource: { document, kind } }) => {
    const { runOn, prune } = document;
    return runOn !== undefined && prune !== undefined && kind?.orphanOnly !== true;
  });
  return pruned
    .map(({ resource }) => ({ key: resource.key, runsOn: placement.of(resource).hosts }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Documents that go to no host are checked all the same, as far as that goes without one. */
function homeless(catalog: Catalog, placement: Placement, bounds: ReadonlyMap<string, Bound>): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  for (const resource of catalog.resources.values()) {
    const nowhere = placement.of(resource).hosts.length === 0;
    if (!nowhere && !resource.broken) continue;
    for (const [i, ref] of dependenciesOf(resource).entries()) {
      if (catalog.incomplete || catalog.resources.has(ref)) continue;
      diagnostics.push(noSuchDocument(resource, ref, ['dependsOn', i, 'ref'], catalog));
    }
    const bound = bounds.get(resource.key);
    if (nowhere && bound !== undefined && !bound.dynamic)
      diagnostics.push(...render(bound, NO_HOST).findings);
  }
  return diagnostics;
}

function dependenciesOf(resource: ParsedResource): string[] {
  const { dependsOn } = resource.document;
  return Array.isArray(dependsOn)
    ? dependsOn.flatMap((d) => (typeof d?.ref === 'string' ? [d.ref] : []))
    : [];
}

function explainMissing({ bound, ref, path }: Missing, catalog: Catalog): Diagnostic {
  const { resource } = bound;
  if (!catalog.resources.has(ref)) return noSuchDocument(resource, ref, path, catalog);
  const message = `${ref} is not on ${HOSTS}, where ${resource.key} goes: let both have the same hosts`;
  return diagnosticAt(resource, path, 'value', message);
}

function noSuchDocument(
  resource: ParsedResource,
  ref: string,
  path: Missing['path'],
  catalog: Catalog,
): Diagnostic {
  const near = didYouMean(ref, catalog.resources.keys());
  const hint = near === undefined ? 'add it, or remove the reference' : `did you mean ${near}?`;
  return diagnosticAt(resource, path, 'value', `there is no ${ref}: ${hint}`);
}

function revisionsOf(hosts: ReadonlyMap<string, HostRender>): Map<string, HostRevision> {
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
