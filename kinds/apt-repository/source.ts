// The source file of a repository (sources.list(5)) and the names that apt gives to what it fetched from there. Pure.
import type { AptRepositorySpec } from './schema.ts';

export const sourcePath = ({ name, format }: AptRepositorySpec): string =>
  `/etc/apt/sources.list.d/${name}.${format === 'one-line' ? 'list' : 'sources'}`;

export const keyringPath = ({ name }: AptRepositorySpec): string => `/etc/apt/keyrings/${name}.gpg`;

/** In one-line style. @param keyring the path as apt sees it. */
export function sourceLines(spec: AptRepositorySpec, keyring: string): string[] {
  const { types = ['deb'], uris, suites, components = [], architectures = [] } = spec;
  const options = [
    ...(architectures.length === 0 ? [] : [`arch=${architectures.join(',')}`]),
    `signed-by=${keyring}`,
  ].join(' ');
  return types.flatMap((type) =>
    uris.flatMap((uri) => suites.map((suite) => [type, `[${options}]`, uri, suite, ...components].join(' '))),
  );
}

/** @param keyring the path as apt sees it. */
export function sourceText(spec: AptRepositorySpec, keyring: string): string {
  const types = spec.types ?? ['deb'];
  const { uris, suites, components = [], architectures = [] } = spec;
  const note = '# Kept by homeostat: edit in git, not here.\n';
  if (spec.format === 'one-line') return `${note}${sourceLines(spec, keyring).join('\n')}\n`;
  const fields = {
    Types: types,
    URIs: uris,
    Suites: suites,
    Components: components,
    Architectures: architectures,
    'Signed-By': [keyring],
  };
  const lines = Object.entries(fields).filter(([, values]) => values.length > 0);
  return `${note}${lines.map(([field, values]) => `${field}: ${values.join(' ')}\n`).join('')}`;
}

/**
 * Where the signed index of each suite is kept once it was fetched: either of the two is enough. The names are those
 * of apt's URItoFileName: everything but the scheme and the account, slashes made "_".
 */
export function indexPaths(spec: AptRepositorySpec): { of: string; paths: [string, string] }[] {
  return spec.uris.flatMap((uri) =>
    spec.suites.map((suite) => {
      const base = `${uri.replace(/\/*$/, '/')}${suite.endsWith('/') ? suite : `dists/${suite}/`}`;
      const bare = base.replace(/^[a-z0-9+-]+:(?:\/\/)?/, '');
      const quoted = bare.replace(/[\\|{}[\]<>"^~_=!@#$%&*]|[^\x21-\x7e]/g, quote).replaceAll('/', '_');
      const at = (name: string) => `/var/lib/apt/lists/${quoted}${name}`;
      return { of: `${uri} ${suite}`, paths: [at('InRelease'), at('Release')] };
    }),
  );
}

function quote(character: string): string {
  return [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
}
