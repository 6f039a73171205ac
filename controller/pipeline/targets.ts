// Whom Prometheus scrapes, taken from the Host documents of one commit: a host that is added in git is scraped with no
// edit. Pure. Rendered into manifests as `${targets.JOB}`, and served at /sd/JOB. The format is that of
// http_sd_configs (prometheus.io/docs/prometheus/latest/http_sd), which static_configs takes too.
import type { HostDocument } from '../../api/documents.ts';

/** As much of a parsed Host document as is scraped by. */
interface Scraped {
  readonly broken?: boolean;
  readonly document: HostDocument;
}

export interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

interface Job {
  readonly port: number;
  readonly takes: (host: HostDocument) => boolean;
  readonly labels: (name: string) => Readonly<Record<string, string>>;
}

const JOBS: Readonly<Record<string, Job>> = {
  /** Tailscale's client metrics. Dashboard 24178 shows nothing without tailscale_machine. */
  'tailscale-clients': {
    port: 5252,
    takes: () => true,
    labels: (name) => ({ host: name, tailscale_machine: name }),
  },
  /** Hosts of the lean profile; the others push their metrics. */
  'node-exporter': {
    port: 9100,
    takes: ({ metadata }) => metadata.labels?.['telemetry'] === 'lean',
    labels: (name) => ({ host: name }),
  },
};

export const JOB_NAMES: readonly string[] = Object.keys(JOBS);

/** @returns undefined for a job that there is not; a host without an address can't be scraped and is left out. */
export function targetsOf(job: string, hosts: Iterable<HostDocument>): TargetGroup[] | undefined {
  const found = Object.hasOwn(JOBS, job) ? JOBS[job] : undefined;
  if (found === undefined) return undefined;
  const groups: TargetGroup[] = [];
  for (const host of hosts) {
    const { address, decommission } = host.spec;
    if (address === undefined || decommission === true || !found.takes(host)) continue;
    const at = address.includes(':') ? `[${address}]` : address;
    groups.push({ targets: [`${at}:${found.port}`], labels: found.labels(host.metadata.name) });
  }
  return groups.sort((a, b) => (a.labels['host']! < b.labels['host']! ? -1 : 1));
}

/** The targets that one commit's hosts make; the same object for as long as its hosts are. */
export class Targets {
  readonly #hosts: ReadonlyMap<string, Scraped>;
  readonly #texts = new Map<string, string | undefined>();

  constructor(hosts: ReadonlyMap<string, Scraped>) {
    this.#hosts = hosts;
  }

  fits(hosts: ReadonlyMap<string, Scraped>): boolean {
    if (hosts.size !== this.#hosts.size) return false;
    for (const [name, host] of hosts) if (this.#hosts.get(name) !== host) return false;
    return true;
  }

  /** The groups as JSON, which is YAML too; undefined for a job that there is not. */
  of(job: string): string | undefined {
    if (!this.#texts.has(job)) {
      const documents = [...this.#hosts.values()].flatMap((h) => (h.broken ? [] : [h.document]));
      const groups = targetsOf(job, documents);
      this.#texts.set(job, groups && JSON.stringify(groups));
    }
    return this.#texts.get(job);
  }
}
