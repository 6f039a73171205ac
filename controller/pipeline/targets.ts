// Whom Prometheus scrapes: what Fleet.spec.scrape says, with the Host documents of one commit, so that a host that is
// added in git is scraped with no edit. Pure. Rendered into manifests as `${targets.JOB}`, and served at /sd/JOB. The
// format is that of http_sd_configs (prometheus.io/docs/prometheus/latest/http_sd), which static_configs takes too.
import type { Diagnostic } from '../../api/diagnostics.ts';
import type { FleetDocument, HostDocument, ScrapeJob } from '../../api/documents.ts';
import { NO_HOST } from './bind.ts';
import { interpolate, type Scope, type TargetLists, type Unknown } from './interpolate.ts';
import { diagnosticAt, type ParsedFleet } from './parsed.ts';
import { selects } from './selector.ts';

/** As much of a parsed Host document as is scraped by. */
interface Scraped {
  readonly broken?: boolean;
  readonly document: HostDocument;
}

export interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

export function jobsOf(fleet: FleetDocument | undefined): string[] {
  return [...new Set((fleet?.spec.scrape ?? []).map(({ job }) => job))];
}

/** @returns undefined for a job that there is not; a host without an address can't be scraped and is left out. */
export function targetsOf(
  fleet: FleetDocument | undefined,
  job: string,
  hosts: Iterable<HostDocument>,
): TargetGroup[] | undefined {
  const entries = (fleet?.spec.scrape ?? []).filter((entry) => entry.job === job);
  if (entries.length === 0) return undefined;
  const groups: { name: string; group: TargetGroup }[] = [];
  for (const host of hosts) {
    const { name } = host.metadata;
    for (const entry of entries) {
      const at = takes(entry, host);
      if (at === undefined) continue;
      const path = entry.path === undefined ? {} : { __metrics_path__: entry.path };
      const labels = { host: name, ...path, ...labelsOf(entry, host, fleet, () => {}) };
      groups.push({ name, group: { targets: [`${at}:${entry.port}`], labels } });
    }
  }
  return groups.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)).map(({ group }) => group);
}

/** The address at which the host is scraped, if it is. */
function takes({ hosts }: ScrapeJob, { metadata, spec }: HostDocument): string | undefined {
  const { address, decommission } = spec;
  if (address === undefined || decommission === true) return undefined;
  if (hosts !== undefined && !selects(hosts, metadata.name, metadata.labels ?? {})) return undefined;
  return address.includes(':') ? `[${address}]` : address;
}

function labelsOf(
  { labels = {} }: ScrapeJob,
  { metadata, spec }: HostDocument,
  fleet: FleetDocument | undefined,
  unknown: (label: string, found: Unknown) => void,
): Record<string, string> {
  const { address } = spec;
  const scope: Scope = {
    host: {
      name: metadata.name,
      labels: metadata.labels ?? {},
      ...(address === undefined ? {} : { address }),
    },
    vars: { ...fleet?.spec.vars, ...spec.vars },
    targets: NO_HOST.targets,
  };
  const filled = Object.entries(labels).map(([label, value]) => {
    return [label, interpolate(value, scope, (found) => unknown(label, found))] as const;
  });
  return Object.fromEntries(filled);
}

/** The targets that one commit's hosts make; the same object for as long as its hosts and jobs are. */
export class Targets implements TargetLists {
  readonly names: readonly string[];
  readonly #fleet: ParsedFleet | undefined;
  readonly #hosts: ReadonlyMap<string, Scraped>;
  readonly #texts = new Map<string, string | undefined>();

  constructor(fleet: ParsedFleet | undefined, hosts: ReadonlyMap<string, Scraped>) {
    this.#fleet = fleet;
    this.#hosts = hosts;
    this.names = jobsOf(this.#document);
  }

  fits(fleet: ParsedFleet | undefined, hosts: ReadonlyMap<string, Scraped>): boolean {
    if (fleet !== this.#fleet || hosts.size !== this.#hosts.size) return false;
    for (const [name, host] of hosts) if (this.#hosts.get(name) !== host) return false;
    return true;
  }

  /** The groups as JSON, which is YAML too; undefined for a job that there is not. */
  of(job: string): string | undefined {
    if (!this.#texts.has(job)) {
      const groups = targetsOf(this.#document, job, this.#documents());
      this.#texts.set(job, groups && JSON.stringify(groups));
    }
    return this.#texts.get(job);
  }

  /** What is wrong with the jobs, each with the host that it is wrong for. */
  *findings(): Generator<readonly [finding: Diagnostic, host: string | undefined]> {
    const fleet = this.#fleet;
    if (fleet === undefined) return;
    for (const [i, entry] of (this.#document?.spec.scrape ?? []).entries()) {
      const at = ['spec', 'scrape', i];
      const named = entry.hosts !== undefined && 'names' in entry.hosts ? entry.hosts.names : [];
      for (const [n, name] of named.entries()) {
        if (this.#hosts.has(name)) continue;
        const message = `there is no Host/${name}: add a Host document, or remove the name`;
        yield [diagnosticAt(fleet, [...at, 'hosts', 'names', n], 'value', message), undefined];
      }
      if (entry.labels === undefined) continue;
      for (const host of this.#documents()) {
        if (takes(entry, host) === undefined) continue;
        const found: [Diagnostic, string][] = [];
        labelsOf(entry, host, this.#document, (label, { message }) => {
          const finding = diagnosticAt(fleet, [...at, 'labels', label], 'value', message());
          found.push([finding, host.metadata.name]);
        });
        yield* found;
      }
    }
  }

  get #document(): FleetDocument | undefined {
    return this.#fleet?.broken === false ? this.#fleet.document : undefined;
  }

  *#documents(): Generator<HostDocument> {
    for (const host of this.#hosts.values()) if (host.broken !== true) yield host.document;
  }
}
