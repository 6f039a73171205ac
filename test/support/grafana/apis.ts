// The stand-in's /apis, as Grafana serves it from version 12 on: resources in the manner of Kubernetes, with
// resourceVersion and conflicts. A classic dashboard is given back migrated to the newest schema, one of schema v2 as Go
// writes its structs; each in the other's schema on demand, with status.conversion.
import type { Request } from './api.ts';
import { type Answer, type GrafanaState, type KeptDashboard, migrated, type Obj, Refusal } from './state.ts';
import { classicOf, isV2, refuseV2, typed, v2Of, validateV2 } from './v2.ts';

/** Of dashboard.grafana.app in Grafana 13. */
export const DASHBOARD_VERSIONS_13 = ['v2', 'v2beta1', 'v1', 'v1beta1', 'v0alpha1', 'v2alpha1'];

const OTHER_GROUPS: Readonly<Record<string, readonly string[]>> = {
  'folder.grafana.app': ['v1', 'v1beta1'],
  // Alpha, and behind a toggle in real ones.
  'prometheus.datasource.grafana.app': ['v0alpha1'],
};

function discovery(served: Readonly<Record<string, readonly string[]>>): Obj {
  const groups = Object.entries(served).map(([name, versions]) => {
    const served = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
    return { name, versions: served, preferredVersion: served[0] };
  });
  return { kind: 'APIGroupList', apiVersion: 'v1', groups };
}

/**
 * @param dashboardVersions those of dashboard.grafana.app that this Grafana serves.
 * @returns undefined for a path that there is not.
 */
export function answerApis(
  state: GrafanaState,
  request: Request,
  dashboardVersions: readonly string[],
): Answer | undefined {
  const { method, path, body } = request;
  const [, , group, version, word, namespace, resource, name, sub] = path.split('/');
  const groups = { 'dashboard.grafana.app': dashboardVersions, ...OTHER_GROUPS };
  if (group === undefined || group === '') return { status: 200, body: discovery(groups) };
  const served = (groups as Readonly<Record<string, readonly string[]>>)[group];
  if (word !== 'namespaces' || namespace !== 'default' || !served?.includes(version ?? '')) return undefined;
  // Its early form is not played here.
  if (version === 'v2alpha1') return undefined;
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
  const given = (body['spec'] ?? {}) as Obj;
  const asV2 = apiVersion.includes('/v2');
  if (method === 'POST' || method === 'PUT') {
    if (asV2) validateV2(String(metadata['name'] ?? name), given);
    else refuseV2(given);
  }
  const spec = asV2 ? typed(given) : given;
  const shown = (kept: KeptDashboard) => resource(apiVersion, kept, state.unconvertible);
  if (name === undefined) {
    if (method !== 'POST') return undefined;
    const uid = String(metadata['name'] ?? '');
    if (state.dashboards.has(uid))
      throw new Refusal(409, `dashboards.dashboard.grafana.app "${uid}" already exists`, 'AlreadyExists');
    return { status: 201, body: shown(state.saveDashboard(uid, spec, folder)) };
  }
  const kept = state.dashboards.get(name);
  if (method === 'PUT' && kept !== undefined) {
    const { resourceVersion } = metadata;
    if (resourceVersion !== undefined && resourceVersion !== String(kept.resourceVersion)) {
      const words =
        'the object has been modified; please apply your changes to the latest version and try again';
      throw new Refusal(409, `Operation cannot be fulfilled on dashboards "${name}": ${words}`, 'Conflict');
    }
    return { status: 200, body: shown(state.saveDashboard(name, spec, folder)) };
  }
  if (kept === undefined)
    throw new Refusal(404, `dashboards.dashboard.grafana.app "${name}" not found`, 'NotFound');
  if (method === 'GET') return { status: 200, body: shown(kept) };
  if (method !== 'DELETE') return undefined;
  state.deleteDashboard(name);
  return { status: 200, body: { kind: 'Status', apiVersion: 'v1', status: 'Success', details: { name } } };
}

function resource(apiVersion: string, kept: KeptDashboard, unconvertible: string | undefined): Obj {
  const { spec, conversion } = showIn(apiVersion, kept, unconvertible);
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
    spec,
    status: conversion === undefined ? {} : { conversion },
  };
}

/** A dashboard that is stored in another version than it is asked for says so; in which one, and whether that failed. */
function showIn(
  apiVersion: string,
  { json }: KeptDashboard,
  unconvertible: string | undefined,
): { spec: Obj; conversion?: Obj } {
  const asV2 = apiVersion.includes('/v2');
  if (isV2(json) === asV2) return { spec: asV2 ? json : migrated(json) };
  const storedVersion = isV2(json) ? 'v2' : 'v1';
  return unconvertible === undefined
    ? { spec: asV2 ? v2Of(migrated(json)) : classicOf(json), conversion: { failed: false, storedVersion } }
    : {
        spec: { title: json['title'] },
        conversion: { failed: true, storedVersion, error: unconvertible },
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
  const folder = (uid: string, title: string): Obj => ({
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
    return { status: 201, body: folder(uid, title) };
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
  if (method === 'GET') return { status: 200, body: folder(name, kept.title) };
  if (method !== 'DELETE') return undefined;
  state.deleteFolder(name);
  return { status: 200, body: { kind: 'Status', apiVersion: 'v1', status: 'Success', details: { name } } };
}
