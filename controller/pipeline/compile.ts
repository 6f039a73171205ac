// From the files of one commit to what every host gets: parse, check, place, bind, render. All that is wrong is
// told at once; with one error there is no revision, and the last good one keeps serving. What a compilation
// found out is kept for the next, which looks only at what changed.
import { type Diagnostic, hasErrors, Suggestions, sortDiagnostics } from '../../api/diagnostics.ts';
import type { Downloads } from '../source/downloads.ts';
import type { Snapshot } from '../source/snapshot.ts';
import { ageFiles, unreadable } from './age-files.ts';
import { type Bound, bind, contentPaths } from './bind.ts';
import { buildCatalog, type Catalog, Placement } from './catalog.ts';
import { Contents } from './content.ts';
import { findCycles } from './cycles.ts';
import { at } from './defect.ts';
import type { Kinds } from './document.ts';
import { Fetched } from './downloads.ts';
import { Findings } from './findings.ts';
import { type HostRender, renderHost, scopeOf } from './host.ts';
import { type FileEntry, readFiles } from './manifests.ts';
import type { ParsedResource } from './parsed.ts';
import { explainMissing, homeless } from './references.ts';
import { type Revision, revisionsOf, usesOf } from './revision.ts';
import { Targets } from './targets.ts';

export type { Revision, Use } from './revision.ts';

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
 * @throws what the snapshot's files throw when they can't be read, and Defect.
 */
export async function compile(
  snapshot: Snapshot,
  kinds: Kinds,
  previous?: Compilation,
  downloads?: Downloads,
): Promise<Compilation> {
  const memory = previous?.memory.kinds === kinds ? previous.memory : undefined;
  const files = await readFiles(snapshot, kinds, memory?.files);
  const entries = [...files.values()];
  const catalog = catalogOf(entries);
  const placement = memory?.placement.fits(catalog.hosts) ? memory.placement : new Placement(catalog.hosts);
  const targets = memory?.targets.fits(catalog.fleet, catalog.hosts)
    ? memory.targets
    : new Targets(catalog.fleet, catalog.hosts);
  const whole = { catalog, placement, targets };
  const { bounds, contents, fetched } = await bindAll(snapshot, whole, memory, downloads);
  const hosts = renderAll(whole, bounds, memory);

  const findings = new Findings();
  for (const entry of entries) for (const d of entry.diagnostics) findings.add(d);
  for (const path of [...(snapshot.submodules ?? [])].sort()) findings.add(submoduleWarning(path));
  findTogether(whole, findings);
  const references = new Suggestions(() => catalog.resources.keys());
  findByHost(whole, hosts, references, findings);
  for (const d of homeless(whole, bounds, references)) findings.add(d);
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
    revision: {
      commit: snapshot.commit,
      fleet: catalog.fleet?.document,
      hosts: revisionsOf(hosts),
      uses: usesOf(catalog, placement),
    },
  };
}

/** What only shows when all documents are seen together. */
function findTogether({ catalog, placement, targets }: Whole, findings: Findings): void {
  for (const d of catalog.diagnostics) findings.add(d);
  for (const d of findCycles(catalog.resources)) findings.add(d);
  // What seems to be missing may be in what could not be read.
  if (catalog.incomplete) return;
  for (const [d, host] of targets.findings()) findings.add(d, host);
  for (const resource of catalog.resources.values())
    for (const d of at(resource, () => placement.of(resource)).diagnostics) findings.add(d);
}

function findByHost(
  { catalog, placement }: Whole,
  hosts: ReadonlyMap<string, HostRender>,
  references: Suggestions,
  findings: Findings,
): void {
  for (const [name, host] of hosts) {
    for (const r of host.rendered) for (const d of r.findings) findings.add(d, name);
    for (const d of host.findings) findings.add(d, name);
    for (const m of host.missing) {
      const target = catalog.resources.get(m.ref);
      // A document that is there and could not be rendered was reported for that.
      if (catalog.incomplete || (target && (target.broken || placement.of(target).has(name)))) continue;
      findings.add(explainMissing(m, catalog, references), name);
    }
  }
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
    at(resource, () => {
      paths.set(resource, contentPaths(resource, scopes));
      fetched.want(resource, scopes);
    });
  }
  await Promise.all([contents.load([...paths.values()].flatMap((set) => [...set])), fetched.load()]);
  const bounds = new Map<string, Bound>();
  for (const [resource, set] of paths) {
    const before = memory?.bounds.get(resource.key);
    bounds.set(
      resource.key,
      at(resource, () => bind(resource, set, contents, fetched.of(resource), before)),
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

function submoduleWarning(file: string): Diagnostic {
  const message =
    'this is a git submodule, and of submodules nothing is read: if manifests are in it, commit them to this repository';
  return { file, line: 0, column: 0, severity: 'warning', message };
}
