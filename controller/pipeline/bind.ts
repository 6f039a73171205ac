// A document together with the files that it takes content from. The identity of a Bound says that nothing which
// enters its rendering changed, the host's own values aside.
import type { Content, Contents } from './content.ts';
import { resolvePath } from './content.ts';
import type { ParsedResource } from './document.ts';
import { isMapping } from './document-values.ts';
import { interpolate, isDynamic, type Scope } from './interpolate.ts';
import type { Path } from './yaml.ts';

export interface Bound {
  readonly resource: ParsedResource;
  /** By path below the root. */
  readonly contents: ReadonlyMap<string, Content>;
  /** Whether it comes out differently on different hosts. */
  readonly dynamic: boolean;
}

export interface ContentSite {
  /** Of the mapping's `contentFrom`. */
  readonly path: Path;
  readonly written: string;
}

/** Every `contentFrom` of a spec that names a file. */
export function contentSites(value: unknown, path: Path = ['spec']): ContentSite[] {
  if (Array.isArray(value)) return value.flatMap((item, i) => contentSites(item, [...path, i]));
  if (!isMapping(value)) return [];
  return Object.entries(value).flatMap(([key, item]) =>
    key === 'contentFrom' && typeof item === 'string'
      ? [{ path: [...path, key], written: item }]
      : contentSites(item, [...path, key]),
  );
}

/** The paths that a document may read, on any of these hosts. */
export function contentPaths(resource: ParsedResource, scopes: () => Iterable<Scope>): Set<string> {
  const paths = new Set<string>();
  const add = (written: string): void => {
    const resolved = resolvePath(resource.file, written);
    if ('path' in resolved) paths.add(resolved.path);
  };
  for (const { written } of contentSites(resource.spec)) {
    if (!isDynamic(written)) add(interpolate(written, NO_HOST, () => {}));
    else for (const scope of scopes()) add(interpolate(written, scope, () => {}));
  }
  return paths;
}

/** For texts that no host's values enter. */
export const NO_HOST: Scope = { host: { name: '', labels: {} }, vars: {} };

export function bind(
  resource: ParsedResource,
  paths: ReadonlySet<string>,
  contents: Contents,
  previous: Bound | undefined,
): Bound {
  const bound = new Map([...paths].map((path) => [path, contents.get(path)] as const));
  if (previous?.resource === resource && sameContents(previous.contents, bound)) return previous;
  return {
    resource,
    contents: bound,
    dynamic: resource.dynamic || [...bound.values()].some((content) => content.dynamic),
  };
}

function sameContents(a: ReadonlyMap<string, Content>, b: ReadonlyMap<string, Content>): boolean {
  if (a.size !== b.size) return false;
  for (const [path, content] of a) if (b.get(path) !== content) return false;
  return true;
}
