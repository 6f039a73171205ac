// The stand-in's /apis, as Grafana serves it from version 12 on: resources in the manner of Kubernetes, with
// resourceVersion and conflicts. A dashboard is given back migrated to the newest schema.
import type { Request } from './api.ts';
import { type Answer, type GrafanaState, type KeptDashboard, migrated, type Obj, Refusal } from './state.ts';

const GROUPS: Readonly<Record<string, readonly string[]>> = {
  'dashboard.grafana.app': ['v1', 'v1beta1', 'v2', 'v0alpha1'],
  'folder.grafana.app': ['v1', 'v1beta1'],
  // Alpha, and behind a toggle in real ones.
  'prometheus.datasource.grafana.app': ['v0alpha1'],
};

function discovery(): Obj {
  const groups = Object.entries(GROUPS).map(([name, versions]) => {
    const served = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
    return { name, versions: served, preferredVersion: served[0] };
  });
  return { kind: 'APIGroupList', apiVersion: 'v1', groups };
}

/** @returns undefined for a path that there is not. */
export function answerApis(state: GrafanaState, request: Request): Answer | undefined {
  const { method, path, body } = request;
  const [, , group, version, word, namespace, resource, name, sub] = path.split('/');
  if (group === undefined || group === '') return { status: 200, body: discovery() };
  if (word !== 'namespaces' || namespace !== 'default' || !GROUPS[group]?.includes(version ?? ''))
    return undefined;
  // v2 is another model, and not played here.
  if (version === 'v2') return undefined;
  const apiVersion = `${group}/${version}`;
  if (group === 'dashboard.grafana.app' && resource === 'dashboards') {
    return dashboards(state, apiVersion, method, name, body);
  }
  if (group === 'folder.grafana.app' && resource === 'folders') {
    return folders(state, apiVersion, method, name, sub, body);
  }
  return undefined;
}

function dashboards(
  state: GrafanaState,
  apiVersion: string,
  method: string,
  name: string | undefined,
  body: Obj,
): Answer | undefined {
  const metadata = (body['metadata'] ?? {}) as Obj;
  const annotations = (metadata['annotations'] ?? {}) as Obj;
  const folder = String(annotations['grafana.app/folder'] ?? '');
  const spec = (body['spec'] ?? {}) as Obj;
  if (name === undefined) {
    if (method !== 'POST') return undefined;
    const uid = String(metadata['name'] ?? '');
    if (state.dashboards.has(uid))
      throw new Refusal(409, `dashboards.dashboard.grafana.app "${uid}" already exists`, 'AlreadyExists');
    return { status: 201, body: shown(apiVersion, state.saveDashboard(uid, spec, folder)) };
  }
  const kept = state.dashboards.get(name);
  if (method === 'PUT' && kept !== undefined) {
    const { resourceVersion } = metadata;
    if (resourceVersion !== undefined && resourceVersion !== String(kept.resourceVersion)) {
      const words =
        'the object has been modified; please apply your changes to the latest version and try again';
      throw new Refusal(409, `Operation cannot be fulfilled on dashboards "${name}": ${words}`, 'Conflict');
    }
    return { status: 200, body: shown(apiVersion, state.saveDashboard(name, spec, folder)) };
  }
  if (kept === undefined)
    throw new Refusal(404, `dashboards.dashboard.grafana.app "${name}" not found`, 'NotFound');
  if (method === 'GET') return { status: 200, body: shown(apiVersion, kept) };
  if (method !== 'DELETE') return undefined;
  state.deleteDashboard(name);
  return { status: 200, body: { kind: 'Status', apiVersion: 'v1', status: 'Success', details: { name } } };
}

function shown(apiVersion: string, kept: KeptDashboard): Obj {
  const manager = {
    'grafana.app/managedBy': 'classic-file-provisioning',
    'grafana.app/managerId': 'standin',
    'grafana.app/sourcePath': 'standin.json',
  };
  return {
    kind: 'Dashboard',
    apiVersion,
    metadata: {
      name: kept.uid,
      namespace: 'default',
      resourceVersion: String(kept.resourceVersion),
      generation: kept.version,
      labels: { 'grafana.app/deprecatedInternalID': String(kept.id) },
      annotations: {
        ...(kept.folder === '' ? {} : { 'grafana.app/folder': kept.folder }),
        ...(kept.provisioned ? manager : {}),
      },
    },
    spec: migrated(kept.json),
    status: {},
  };
}

function folders(
  state: GrafanaState,
  apiVersion: string,
  method: string,
  name: string | undefined,
  sub: string | undefined,
  body: Obj,
): Answer | undefined {
  const resource = (uid: string, title: string): Obj => ({
    kind: 'Folder',
    apiVersion,
    metadata: { name: uid, namespace: 'default' },
    spec: { title },
  });
  if (name === undefined) {
    if (method !== 'POST') return undefined;
    const { uid, title } = state.saveFolder(
      String((body['metadata'] as Obj)['name']),
      String((body['spec'] as Obj)['title'] ?? ''),
    );
    return { status: 201, body: resource(uid, title) };
  }
  const kept = state.folders.get(name);
  if (kept === undefined)
    throw new Refusal(404, `folders.folder.grafana.app "${name}" not found`, 'NotFound');
  if (sub === 'counts') {
    const counts = [
      { group: 'dashboard.grafana.app', resource: 'dashboards', count: state.dashboardsIn(name) },
    ];
    return { status: 200, body: { kind: 'DescendantCounts', apiVersion, counts } };
  }
  if (method === 'GET') return { status: 200, body: resource(name, kept.title) };
  if (method !== 'DELETE') return undefined;
  state.deleteFolder(name);
  return { status: 200, body: { kind: 'Status', apiVersion: 'v1', status: 'Success', details: { name } } };
}
