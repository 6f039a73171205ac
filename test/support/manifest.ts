// What tests and benches write in place of a manifest.
import type { Resource } from '../../api/bundle.ts';

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
