// The documents of manifests/ as the controller renders them for one of its hosts.
import assert from 'node:assert/strict';
import path from 'node:path';
import type { Payload, Resource } from '../../api/bundle.ts';
import { compile } from '../../controller/pipeline/compile.ts';
import { readDirectory } from '../../controller/source/directory.ts';
import { kinds } from '../../kinds/index.ts';

const MANIFESTS = path.join(import.meta.dirname, '../../manifests');

/** Without grafana/, whose dashboards would be downloaded. */
export async function manifestsFor(host: string): Promise<readonly Resource[]> {
  const { commit, files } = readDirectory(MANIFESTS);
  const kept = new Map([...files].filter(([name]) => !name.startsWith('grafana/')));
  const { revision, diagnostics } = await compile({ commit, files: kept }, kinds);
  assert.ok(revision, JSON.stringify(diagnostics));
  return (JSON.parse(revision.hosts.get(host)!.payloadText) as Payload).resources;
}
