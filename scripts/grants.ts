// The grants that each host of manifests/ needs on a host whose paths lead to themselves; what the host's own links and
// variables make of it, `homeostat allow --from-plan` prints there.
import path from 'node:path';
import { AgentConfig, AllowList, ownPaths } from '../agent/config.ts';
import { allowOf, needsOf, type ResourcePermissions, textPermissions } from '../agent/reconcile/needs.ts';
import { keyOf, Payload, type Resource } from '../api/bundle.ts';
import { compile } from '../controller/pipeline/compile.ts';
import { readDirectory } from '../controller/source/directory.ts';
import { kinds } from '../kinds/index.ts';
import type { AnyKind, Desired } from '../kinds/kind.ts';
import type { Docker, Mounts, Ports } from '../kinds/ports.ts';

/** By their paths in the repository. @throws Error when the manifests have errors */
export async function grantsPages(root: string): Promise<ReadonlyMap<string, string>> {
  const manifests = path.join(root, 'manifests');
  // What a dashboard shows needs no grant: nothing is downloaded for it.
  const left = { problem: 'not downloaded', severity: 'warning', passing: false } as const;
  const downloads = { get: async () => left };
  const { revision, diagnostics } = await compile(readDirectory(manifests), kinds, undefined, downloads);
  if (revision === undefined) throw new Error(JSON.stringify(diagnostics, null, 2));
  const pages = new Map<string, string>();
  for (const [host, { payloadText }] of revision.hosts) {
    const own = ownPaths(AgentConfig.parse({ host }));
    const { resources } = Payload.parse(JSON.parse(payloadText));
    const permissions = await Promise.all(resources.map((resource) => permissionsOf(host, resource, own)));
    const allow = allowOf(needsOf(permissions, { allow: AllowList.parse({}), own }));
    pages.set(`manifests/grants/${host}.json`, `${JSON.stringify(allow, null, 2)}\n`);
  }
  return pages;
}

async function permissionsOf(
  host: string,
  resource: Resource,
  own: readonly string[],
): Promise<ResourcePermissions> {
  const kind = kinds.get(resource.kind)!;
  const spec = kind.spec.parse(resource.spec);
  const key = keyOf(resource);
  const desired: Desired<Record<string, unknown>> = {
    ...{ key, spec, digest: '', heal: false, held: [], inputs: {}, memory: undefined, own },
    host: { name: host, labels: {} },
    content: () => ({ bytes: Buffer.alloc(0), secret: true }),
    refusal: () => undefined,
  };
  // What a program of the host would have to say can't be asked here.
  const resolved = await resolveOn(kind, desired).catch(() => []);
  const permissions = [...textPermissions(kind, spec), ...resolved];
  return { key, kind: kind.kind, permissions, fallback: [] };
}

/** A host without links, with an engine that has no volume yet. */
async function resolveOn(kind: AnyKind, desired: Desired<Record<string, unknown>>) {
  const mounts: Mounts = {
    resolve: (p) => ({ path: p, hostPath: p, type: 'directory', links: 1 }),
    nameOf: (hostPath) => hostPath,
    table: () => '',
    tableOf: () => undefined,
    socketsIn: () => [],
  };
  const docker: Pick<Docker, 'request'> = {
    request: async (_, at) => {
      const isInfo = at === '/info';
      return {
        status: isInfo ? 200 : 404,
        headers: {},
        body: isInfo ? '{}' : '{"message":"no such volume"}',
      };
    },
  };
  const files = { realPath: (p: string) => p, read: () => ({ type: 'absent' }), exists: () => true };
  const processes = {
    locate: (program: string) => (program.startsWith('/') ? program : `/usr/bin/${program}`),
  };
  const units = { show: async (unit: string) => ({ id: unit }) };
  const missing = new Proxy(
    {},
    {
      get: (_, port) => {
        throw new Error(`a host on paper has no port ${String(port)}`);
      },
    },
  );
  const ports: Ports = Object.setPrototypeOf({ mounts, docker, files, processes, units }, missing);
  return (await kind.resolve?.(desired, ports, AbortSignal.timeout(5000))) ?? [];
}
