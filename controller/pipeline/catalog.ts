// All documents of one commit, by name: which hosts there are, which documents go where, and what is wrong that
// only shows when they are seen together.
import { type Diagnostic, Suggestions } from '../../api/diagnostics.ts';
import { OPTIONAL_ANNOTATION } from '../../api/documents.ts';
import { isMapping } from './document-values.ts';
import {
  diagnosticAt,
  ownerOf,
  type Parsed,
  type ParsedFleet,
  type ParsedHost,
  type ParsedProfile,
  type ParsedResource,
  sourceOf,
} from './parsed.ts';
import { Profiles } from './profiles.ts';
import { LabelIndex } from './selector.ts';

export interface Catalog {
  readonly fleet: ParsedFleet | undefined;
  readonly hosts: ReadonlyMap<string, ParsedHost>;
  readonly resources: ReadonlyMap<string, ParsedResource>;
  /** Something could not be read: what seems to be missing may be in there. */
  readonly incomplete: boolean;
  readonly diagnostics: readonly Diagnostic[];
}

/** @param parsed in the order of files and lines: of two documents with one name the first has it. */
export function buildCatalog(parsed: readonly Parsed[], incomplete: boolean): Catalog {
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
  const profiles = new Map<string, ParsedProfile>();
  for (const document of parsed) {
    if (document.type !== 'profile') continue;
    const other = profiles.get(document.name);
    if (other === undefined) profiles.set(document.name, document);
    else taken(document, other, `Profile/${document.name}`);
  }
  const filling = new Profiles(profiles, incomplete);
  for (const document of parsed) {
    if (document.type === 'profile') continue;
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
      const filled = filling.fill(document);
      const other = resources.get(document.key);
      if (other === undefined) resources.set(document.key, filled);
      else taken(document, other, document.key);
    }
  }
  diagnostics.push(...filling.diagnostics, ...filling.unused(), ...sharedIdentities(hosts));
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

/** A key or a node that two hosts claim would let one read what is the other's; an address may be one of a NAT. */
const IDENTITIES = {
  publicKey: 'error',
  nodeID: 'error',
  ageRecipient: 'error',
  address: 'warning',
} as const;

function sharedIdentities(hosts: ReadonlyMap<string, ParsedHost>): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  for (const field of Object.keys(IDENTITIES) as (keyof typeof IDENTITIES)[]) {
    const owners = new Map<string, ParsedHost>();
    for (const host of hosts.values()) {
      const value = host.broken ? undefined : host.document.spec[field];
      if (value === undefined) continue;
      const other = owners.get(value);
      if (other === undefined) owners.set(value, host);
      else {
        const message = `Host/${other.name} (${sourceOf(other)}) has the same ${field}: each host has its own`;
        diagnostics.push(diagnosticAt(host, ['spec', field], 'value', message, IDENTITIES[field]));
      }
    }
  }
  return diagnostics;
}

/** Where a document goes. */
export interface Placed {
  readonly hosts: readonly string[];
  has(host: string): boolean;
  readonly diagnostics: readonly Diagnostic[];
}

/** Answers which hosts a document goes to. Kept while the hosts stay the same. */
export class Placement {
  readonly hosts: ReadonlyMap<string, ParsedHost>;
  readonly #index: LabelIndex;
  readonly #all: readonly string[];
  readonly #names: Suggestions;
  readonly #known = new WeakMap<ParsedResource, Placed>();

  constructor(hosts: ReadonlyMap<string, ParsedHost>) {
    this.hosts = hosts;
    this.#index = new LabelIndex([...hosts.values()].map((host) => [host.name, labelsOf(host)]));
    this.#all = this.#index.all;
    this.#names = new Suggestions(() => this.#all);
  }

  /** Whether it would answer the same for these hosts. */
  fits(hosts: ReadonlyMap<string, ParsedHost>): boolean {
    if (hosts.size !== this.hosts.size) return false;
    for (const [name, host] of hosts) if (this.hosts.get(name) !== host) return false;
    return true;
  }

  of(resource: ParsedResource): Placed {
    let known = this.#known.get(resource);
    if (known === undefined) {
      const { hosts, diagnostics } = this.#select(resource);
      let names: ReadonlySet<string> | undefined;
      const has = (host: string): boolean => {
        names ??= new Set(hosts);
        return names.has(host);
      };
      known = { hosts, has, diagnostics };
      this.#known.set(resource, known);
    }
    return known;
  }

  #select(resource: ParsedResource): { hosts: readonly string[]; diagnostics: readonly Diagnostic[] } {
    const { selector } = resource;
    if (selector === undefined) return { hosts: [], diagnostics: [] };
    if ('all' in selector) return { hosts: this.#all, diagnostics: [] };
    if ('names' in selector) return this.#named(resource, selector.names);
    const hosts = this.#index.select(selector);
    if (this.#all.length === 0) return { hosts, diagnostics: [] };
    return {
      hosts,
      diagnostics: this.#index
        .doubts(selector, ownerOf(resource, ['hosts']), isOptional(resource))
        .map(({ path, message }) => diagnosticAt(resource, ['hosts', ...path], 'value', message, 'warning')),
    };
  }

  #named(resource: ParsedResource, names: readonly string[]): { hosts: string[]; diagnostics: Diagnostic[] } {
    const diagnostics: Diagnostic[] = [];
    const isRunOn = resource.document.hosts === undefined;
    names.forEach((name, i) => {
      if (this.hosts.has(name)) return;
      const near = this.#names.near(name);
      const message = `there is no Host/${name}: ${near === undefined ? 'add a Host document, or remove the name' : `did you mean ${near}?`}`;
      diagnostics.push(diagnosticAt(resource, isRunOn ? ['runOn'] : ['hosts', 'names', i], 'value', message));
    });
    return { hosts: [...new Set(names)].filter((name) => this.hosts.has(name)), diagnostics };
  }
}

/** Of a broken host too, as far as they are there: so that one mistake is one diagnostic. */
export function labelsOf(host: ParsedHost): Readonly<Record<string, string>> {
  const labels: unknown = host.document.metadata.labels;
  return typeof labels === 'object' && labels !== null ? (labels as Record<string, string>) : {};
}

/** Marked as made for labels that no host may have today (a fallback, a profile): going nowhere is no mistake then. */
function isOptional({ document }: ParsedResource): boolean {
  const annotations: unknown = document.metadata.annotations;
  return isMapping(annotations) && annotations[OPTIONAL_ANNOTATION] === 'true';
}
