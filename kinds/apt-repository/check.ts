// What is wrong with a repository that fits the schema. Pure.
import type { Finding } from '../kind.ts';
import { pinned } from './key.ts';
import type { AptRepositorySpec } from './schema.ts';

export function checkRepository(spec: AptRepositorySpec): Finding[] {
  const found: Finding[] = [];
  const { key, components = [] } = spec;
  const sources = [key.content, key.contentFrom, key.file, key.url].filter((source) => source !== undefined);
  if (sources.length !== 1) {
    const message = 'give one of content, contentFrom, file or url: where the key comes from';
    found.push({ path: ['key'], message });
  }
  if (key.content !== undefined) {
    try {
      pinned(spec, Buffer.from(key.content), 'the manifest');
    } catch (error) {
      found.push({ path: ['key', 'content'], message: (error as Error).message });
    }
  }
  for (const [i, suite] of spec.suites.entries()) {
    if (suite.endsWith('/') === components.length > 0) {
      const message = suite.endsWith('/')
        ? 'a suite that is a directory has no components: leave them out'
        : 'a suite needs components, as [main]; one that is a directory ends in "/"';
      found.push({ path: ['suites', i], message });
    }
  }
  for (const [i, uri] of spec.uris.entries()) {
    if (/^[a-z+-]+:\/\/[^/]*@/.test(uri)) {
      const message =
        'an account does not belong in git: put it into /etc/apt/auth.conf.d (apt_auth.conf(5))';
      found.push({ path: ['uris', i], message });
    }
  }
  return found;
}
