// All documents of one commit, by name: which hosts there are, which documents go where, and what is wrong that
// only shows when they are seen together.
import { type Diagnostic, didYouMean } from '../../api/diagnostics.ts';
import {
  diagnosticAt,
  type Parsed,
  type ParsedFleet,
  type ParsedHost,
  type ParsedResource,
  sourceOf,
} from './document.ts';

export interface Catalog {
  readonly fleet: ParsedFleet | undefined;
  readonly hosts: ReadonlyMap<string, ParsedHost>;
  readonly resources: ReadonlyMap<string, ParsedResource>;
  /** Something could not be read: what seems to be missing may be in there. */
  readonly incomplete: boolean;
  readonly diagnostics: readonly Diagnostic[];
}

/** @param parsed in the order of files and lines: of two documents with one name the first has it. */
export function buildCatalog(parsed: Iterable<Parsed>, incomplete: boolean): Catalog {
  const hosts = new Map<string, ParsedHost>();
  const resources = new Map<string, ParsedResource>();
  const diagnostics: Diagnostic[] = [];
  let fleet: ParsedFleet | undefined;
  const taken = (document: Parsed, other: Parsed, what: string): void => {
    diagnostics.push(
      diagnosticAt(
        document,
        ['metadata', 'name'],
        'value',
        `${what} is already defined at ${sourceOf(other)}: rename or remove one of them`,
      ),
    );
  };
  for (const document of parsed) {
    if (document.type === 'fleet') {
      if (fleet === undefined) fleet = document;
      else {
        const message = `there is already a Fleet at ${sourceOf(fleet)}, and there can be one: move this into it`;
        diagnostics.push(diagnosticAt(document, ['kind'], 'value', message));
      }
    } else if (document.type === 'host') {
      const other = hosts.get(document.name);
      if (other === undefined) hosts.set(document.name, document);
      else taken(document, other, `Host/${document.name}`);
    } else {
      const other = resources.get(document.key);
      if (other === undefined) resources.set(document.key, document);
      else taken(document, other, document.key);
    }
  }
  diagnostics.push(...sharedIdentities(hosts));
  if (hosts.size === 0 && !incomplete) {
    diagnostics.push({
      file: '.',
      line: 0,
      column: 0,
      severity: 'warning',
      message: 'there is no Host document, so nothing goes anywhere: add one for each host (kind: Host)',
    });
  }
  return { fleet, hosts, resources, incomplete, diagnostics };
}

/** A key or a node that two hosts claim would let one read what is the other's. */
function sharedIdentities(hosts: ReadonlyMap<string, ParsedHost>): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  for (const field of ['publicKey', 'nodeID', 'ageRecipient'] as const) {
    const owners = new Map<string, ParsedHost>();
    for (const host of hosts.values()) {
      const value = host.broken ? undefined : host.document.spec[field];
      if (value === undefined) continue;
      const other = owners.get(value);
      if (other === undefined) owners.set(value, host);
      else {
        const message = `Host/${other.name} (${sourceOf(other)}) has the same ${field}: each host has its own`;
        diagnostics.push(diagnosticAt(host, ['spec', field], 'value', message));
      }
    }
  }
  return diagnostics;
}

/** Answers which hosts a document goes to. Kept while the hosts stay the same. */
export class Placement {
  readonly hosts: ReadonlyMap<string, ParsedHost>;
  readonly #byLabel = new Map<string, string[]>();
  readonly #all: readonly string[];
  readonly #known = new WeakMap<
    ParsedResource,
    { hosts: readonly string[]; diagnostics: readonly Diagnostic[] }
  >();

  constructor(hosts: ReadonlyMap<string, ParsedHost>) {
    this.hosts = hosts;
    this.#all = [...hosts.keys()].sort();
    for (const name of this.#all) {
      for (const [label, value] of Object.entries(labelsOf(hosts.get(name)!))) {
        const key = `${label}\n${value}`;
        const names = this.#byLabel.get(key);
        if (names === undefined) this.#byLabel.set(key, [name]);
        else names.push(name);
      }
    }
  }

  /** Whether it would answer the same for these hosts. */
  fits(hosts: ReadonlyMap<string, ParsedHost>): boolean {
    if (hosts.size !== this.hosts.size) return false;
    for (const [name, host] of hosts) if (this.hosts.get(name) !== host) return false;
    return true;
  }

  of(resource: ParsedResource): {
    readonly hosts: readonly string[];
    readonly diagnostics: readonly Diagnostic[];
  } {
    let known = this.#known.get(resource);
    if (known === undefined) {
      known = this.#select(resource);
      this.#known.set(resource, known);
    }
    return known;
  }

  #select(resource: ParsedResource): { hosts: readonly string[]; diagnostics: readonly Diagnostic[] } {
    const { selector } = resource;
    if (selector === undefined) return { hosts: [], diagnostics: [] };
    if ('all' in selector) return { hosts: this.#all, diagnostics: [] };
    if ('names' in selector) return this.#named(resource, selector.names);
    const lists = Object.entries(selector.matchLabels).map(
      ([label, value]) => this.#byLabel.get(`${label}\n${value}`) ?? [],
    );
    lists.sort((a, b) => a.length - b.length);
    const others = lists.slice(1).map((list) => new Set(list));
    const hosts = (lists[0] ?? []).filter((name) => others.every((set) => set.has(name)));
    if (hosts.length > 0 || this.#all.length === 0) return { hosts, diagnostics: [] };
    const wanted = Object.entries(selector.matchLabels).map(([label, value]) => `${label}: ${value}`);
    const message = `no host has the labels ${wanted.join(', ')}, so ${resource.key} goes nowhere: give a Host these labels${this.#nearLabels(selector.matchLabels)}`;
    return {
      hosts,
      diagnostics: [diagnosticAt(resource, ['hosts', 'matchLabels'], 'value', message, 'warning')],
    };
  }

  #named(resource: ParsedResource, names: readonly string[]): { hosts: string[]; diagnostics: Diagnostic[] } {
    const diagnostics: Diagnostic[] = [];
    const fleetScope = resource.kind?.scope === 'fleet';
    names.forEach((name, i) => {
      if (this.hosts.has(name)) return;
      const near = didYouMean(name, this.#all);
      const message = `there is no Host/${name}: ${near === undefined ? 'add a Host document, or remove the name' : `did you mean ${near}?`}`;
      diagnostics.push(
        diagnosticAt(resource, fleetScope ? ['runOn'] : ['hosts', 'names', i], 'value', message),
      );
    });
    return { hosts: [...new Set(names)].filter((name) => this.hosts.has(name)), diagnostics };
  }

  #nearLabels(labels: Readonly<Record<string, string>>): string {
    for (const [label, value] of Object.entries(labels)) {
      const keys = [...this.#byLabel.keys()];
      if (this.#byLabel.has(`${label}\n${value}`)) continue;
      const values = keys
        .filter((key) => key.startsWith(`${label}\n`))
        .map((key) => key.slice(label.length + 1));
      const near = didYouMean(value, values);
      if (near !== undefined) return ` (did you mean ${label}: ${near}?)`;
      const nearLabel = didYouMean(label, new Set(keys.map((key) => key.slice(0, key.indexOf('\n')))));
      if (nearLabel !== undefined && nearLabel !== label) return ` (did you mean the label "${nearLabel}"?)`;
    }
    return '';
  }
}

/** Of a broken host too, as far as they are there: so that one mistake is one diagnostic. */
export function labelsOf(host: ParsedHost): Readonly<Record<string, string>> {
  const labels: unknown = host.document.metadata.labels;
  return typeof labels === 'object' && labels !== null ? (labels as Record<string, string>) : {};
}
