// A document together with the files that it takes content from. The identity of a Bound says that nothing which
// enters its rendering changed, the host's own values aside.
import type { Downloaded } from '../source/downloads.ts';
import type { Content, Contents, FileField } from './content.ts';
import { resolvePath } from './content.ts';
import { isMapping } from './document-values.ts';
import { interpolate, isDynamic, type Scope } from './interpolate.ts';
import { originOf, type ParsedResource } from './parsed.ts';
import type { Path } from './yaml.ts';

export interface Bound {
  readonly resource: ParsedResource;
  /** By path below the root. */
  readonly contents: ReadonlyMap<string, Content>;
  /** By `downloadKey`. */
  readonly downloads: ReadonlyMap<string, Downloaded>;
  /** Whether it comes out differently on different hosts. */
  readonly dynamic: boolean;
  /** Whether it comes out differently when other hosts change. */
  readonly fleetwide: boolean;
}

export interface ContentSite {
  /** Of the field itself. */
  readonly path: Path;
  readonly field: FileField;
  readonly written: string;
}

/** Which field that names a file a mapping's key is, if it is one. @param path of the mapping. */
export function fileFieldAt(path: Path, key: string): FileField | undefined {
  if (key === 'contentFrom') return key;
  return key === 'ageFrom' && path.at(-1) === 'secretFrom' ? key : undefined;
}

const sites = new WeakMap<ParsedResource, readonly ContentSite[]>();

/** Every `contentFrom` and `ageFrom` of a document's spec. */
export function contentSites(resource: ParsedResource): readonly ContentSite[] {
  let found = sites.get(resource);
  if (found === undefined) {
    found = sitesIn(resource.spec, ['spec']);
    sites.set(resource, found);
  }
  return found;
}

function sitesIn(value: unknown, path: Path): ContentSite[] {
  if (Array.isArray(value)) return value.flatMap((item, i) => sitesIn(item, [...path, i]));
  if (!isMapping(value)) return [];
  return Object.entries(value).flatMap(([key, item]) => {
    const field = fileFieldAt(path, key);
    return field !== undefined && typeof item === 'string'
      ? [{ path: [...path, key], field, written: item }]
      : sitesIn(item, [...path, key]);
  });
}

/** The paths that a document may read, on any of these hosts. */
export function contentPaths(resource: ParsedResource, scopes: () => Iterable<Scope>): Set<string> {
  const paths = new Set<string>();
  const add = (path: string | undefined): void => {
    if (path !== undefined) paths.add(path);
  };
  for (const site of contentSites(resource)) {
    if (!isDynamic(site.written)) add(pathOf(resource, site, NO_HOST));
    else for (const scope of scopes()) add(pathOf(resource, site, scope));
  }
  return paths;
}

/** Where a site leads on a host; undefined where it leads nowhere. */
export function pathOf(resource: ParsedResource, site: ContentSite, scope: Scope): string | undefined {
  const resolved = resolvePath(
    originOf(resource, site.path).file,
    interpolate(site.written, scope, () => {}),
    site.field,
  );
  return 'path' in resolved ? resolved.path : undefined;
}

/** For texts that no host's values enter. */
export const NO_HOST: Scope = {
  host: { name: '', labels: {} },
  vars: {},
  targets: { of: () => undefined, names: [] },
};

export function bind(
  resource: ParsedResource,
  paths: ReadonlySet<string>,
  contents: Contents,
  downloads: ReadonlyMap<string, Downloaded>,
  previous: Bound | undefined,
): Bound {
  const bound = new Map([...paths].map((path) => [path, contents.get(path)] as const));
  if (
    previous?.resource === resource &&
    sameEntries(previous.contents, bound) &&
    sameEntries(previous.downloads, downloads)
  )
    return previous;
  return {
    resource,
    contents: bound,
    downloads,
    dynamic: resource.dynamic || [...bound.values()].some((content) => content.dynamic),
    fleetwide: resource.fleetwide || [...bound.values()].some((content) => content.fleetwide),
  };
}

function sameEntries<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}
