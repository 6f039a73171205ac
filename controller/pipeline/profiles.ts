// Documents that name a profile, filled in from it: once a commit, and only where the document or the profile changed.
// What comes after never asks where a field was written, but for diagnostics (parsed.ts).
import { type Diagnostic, Suggestions } from '../../api/diagnostics.ts';
import {
  Name,
  OPTIONAL_ANNOTATION,
  type ProfileDocument,
  type ResourceDocument,
} from '../../api/documents.ts';
import { Complaints } from './complaints.ts';
import { at } from './defect.ts';
import { isMapping } from './document-values.ts';
import { diagnosticAt, type Inherited, type ParsedProfile, type ParsedResource } from './parsed.ts';
import { checkBody, readingOf } from './resource.ts';

interface Filled {
  readonly profile: ParsedProfile;
  readonly resource: ParsedResource;
  readonly diagnostics: readonly Diagnostic[];
}

const known = new WeakMap<ParsedResource, Filled>();

export class Profiles {
  readonly diagnostics: Diagnostic[] = [];
  readonly #profiles: ReadonlyMap<string, ParsedProfile>;
  readonly #incomplete: boolean;
  readonly #names: Suggestions;
  readonly #used = new Set<string>();

  /** @param incomplete something could not be read: a profile that seems to be missing may be in there. */
  constructor(profiles: ReadonlyMap<string, ParsedProfile>, incomplete: boolean) {
    this.#profiles = profiles;
    this.#incomplete = incomplete;
    this.#names = new Suggestions(() => profiles.keys());
  }

  /** The document with its profile filled in; the same object for as long as both are. */
  fill(resource: ParsedResource): ParsedResource {
    const name: unknown = resource.document.profile;
    if (name === undefined) return resource;
    const profile = typeof name === 'string' ? this.#profiles.get(name) : undefined;
    if (profile === undefined) {
      // What is no name was reported for that.
      if (Name.safeParse(name).success && !this.#incomplete) this.#missing(resource, String(name));
      return { ...resource, broken: true };
    }
    this.#used.add(profile.name);
    if (profile.broken || resource.kind === undefined) return { ...resource, broken: true };
    let filled = known.get(resource);
    if (filled?.profile !== profile) {
      filled = at(resource, () => fill(resource, profile));
      known.set(resource, filled);
    }
    this.diagnostics.push(...filled.diagnostics);
    return filled.resource;
  }

  /** Those that no document names. */
  *unused(): Generator<Diagnostic> {
    if (this.#incomplete) return;
    for (const profile of this.#profiles.values()) {
      if (this.#used.has(profile.name)) continue;
      const message = `no document names Profile/${profile.name}: write profile: ${profile.name} into one, or remove it`;
      yield diagnosticAt(profile, ['metadata', 'name'], 'value', message, 'warning');
    }
  }

  #missing(resource: ParsedResource, name: string): void {
    const near = this.#names.near(name);
    const hint = near === undefined ? 'add it (kind: Profile), or remove this line' : `did you mean ${near}?`;
    const message = `there is no Profile/${name}: ${hint}`;
    this.diagnostics.push(diagnosticAt(resource, ['profile'], 'value', message));
  }
}

function fill(own: ParsedResource, profile: ParsedProfile): Filled {
  const { document, inherited } = inherit(own.document, profile);
  const source = { file: own.file, yaml: own.yaml, key: own.key, inherited };
  const complaints = new Complaints(source);
  const value = document as unknown as Record<string, unknown>;
  if (own.document.spec === undefined && profile.document.spec === undefined)
    complaints.add([], 'value', `"spec" is missing, here and in Profile/${profile.name}`);
  else if (own.kind !== undefined) checkBody(own.kind, value, complaints);
  const resource: ParsedResource = {
    ...own,
    broken: own.broken || complaints.list.length > 0,
    document,
    inherited,
    ...readingOf(value, own.kind),
  };
  return { profile, resource, diagnostics: complaints.list };
}

/** What the document says wins, whole field by whole field; `hosts` and `runOn` are one: where it goes. */
function inherit(own: ResourceDocument, profile: ParsedProfile) {
  const { hosts, runOn, prune, spec, dependsOn, metadata }: ProfileDocument = profile.document;
  const placed = own.hosts !== undefined || own.runOn !== undefined;
  const given = Object.fromEntries(
    Object.entries({
      ...(placed ? {} : { hosts, runOn }),
      ...(own.prune === undefined ? { prune } : {}),
    }).filter(([, value]) => value !== undefined),
  );
  const ownSpec = own.spec === undefined ? {} : own.spec;
  const specGiven = isMapping(ownSpec)
    ? Object.entries(spec ?? {}).filter(([field]) => !Object.hasOwn(ownSpec, field))
    : [];
  const refs = new Set(asList(own.dependsOn).map(refOf));
  const before = asList(dependsOn).flatMap((item, i) => (refs.has(refOf(item)) ? [] : [i]));
  const inherited: Inherited = {
    profile,
    fields: new Set(Object.keys(given)),
    spec: new Set(specGiven.map(([field]) => field)),
    dependsOn: before,
  };
  const document = {
    ...own,
    ...given,
    metadata: optionalAs(own.metadata, metadata),
    ...(before.length === 0
      ? {}
      : { dependsOn: [...before.map((i) => dependsOn![i]!), ...asList(own.dependsOn)] }),
    spec: specGiven.length === 0 ? ownSpec : { ...Object.fromEntries(specGiven), ...(ownSpec as object) },
  };
  return { document, inherited };
}

type Metadata = ResourceDocument['metadata'];

function optionalAs(own: Metadata, profile: Metadata): Metadata {
  const given = profile.annotations?.[OPTIONAL_ANNOTATION];
  if (given === undefined || !isMapping(own)) return own;
  return { ...own, annotations: { [OPTIONAL_ANNOTATION]: given, ...own.annotations } };
}

function asList<T>(value: readonly T[] | undefined): readonly T[] {
  return Array.isArray(value) ? value : [];
}

function refOf(item: unknown): unknown {
  return isMapping(item) ? item['ref'] : item;
}
