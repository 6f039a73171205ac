// What tests and benches write in place of a manifest and of a host owner's allow-list.
import type { Resource } from '../../api/bundle.ts';

export const ALLOW_ALL = {
  kinds: ['*'],
  paths: ['/'],
  units: ['*'],
  exec: ['*'],
  users: ['*'],
  tailscale: ['*'],
  rootEquivalent: ['*'],
};

export function resource(kind: string, name: string, spec: object, more: Partial<Resource> = {}): Resource {
  return {
    kind,
    name,
    dependsOn: [],
    drift: 'enforce',
    prune: 'delete',
    suspend: false,
    spec: spec as Record<string, unknown>,
    source: 'test.yaml:1',
    ...more,
  };
}
