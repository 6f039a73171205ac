// Names of images, as an engine resolves them (distribution/reference): host, path, tag and digest. Pure.
import { fitsPattern } from './pattern.ts';

interface Name {
  /** With its host: docker.io/library/nginx. */
  readonly repository: string;
  /** '' where a digest says which. */
  readonly tag: string;
  readonly digest: string;
}

/** `prom/prometheus` is docker.io/prom/prometheus:latest; a tag beside a digest says nothing. */
export function resolvedImage(reference: string): string {
  const { repository, tag, digest } = parse(reference);
  return `${repository}${tag === '' ? '' : `:${tag}`}${digest === '' ? '' : `@${digest}`}`;
}

/** The host that it is pulled from: docker.io, registry.example.org:5000. */
export function registryOf(reference: string): string {
  return parse(reference).repository.split('/')[0]!;
}

/**
 * Whether a grant gives an image. `*` stands for any characters within one part: of the host, of one step of the path, of
 * the tag, of the digest. So `grafana/alloy:*` gives every tag, and no digest, which `grafana/alloy@*` does. `*` alone
 * gives every image.
 */
export function fitsImage(reference: string, grant: string): boolean {
  if (grant === '*') return true;
  const image = parse(reference);
  const granted = parse(grant);
  return (['repository', 'tag', 'digest'] as const).every((part) =>
    fitsPattern(image[part], granted[part], '/:@'),
  );
}

function parse(reference: string): Name {
  const [named = '', ...digests] = reference.split('@');
  const digest = digests.join('@');
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/');
  const path = hasTag ? named.slice(0, colon) : named;
  const tag = hasTag ? named.slice(colon + 1) : 'latest';
  return { repository: withHost(path), tag: digest === '' ? tag : '', digest };
}

/** What stands before the first slash is a host if it looks like one; without one it is Docker's. */
function withHost(path: string): string {
  const slash = path.indexOf('/');
  const first = path.slice(0, Math.max(slash, 0));
  const isHost = first === 'localhost' || /[.:]/.test(first) || first !== first.toLowerCase();
  if (!isHost) return `docker.io/${slash < 0 ? `library/${path}` : path}`;
  const [host, rest] = [first === 'index.docker.io' ? 'docker.io' : first, path.slice(slash + 1)];
  return host === 'docker.io' && !rest.includes('/') ? `docker.io/library/${rest}` : `${host}/${rest}`;
}
