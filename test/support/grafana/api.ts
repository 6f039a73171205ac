// The stand-in's /api: what Grafana serves in every generation, and calls legacy since 13.
import { type Answer, type GrafanaState, type Obj, Refusal } from './state.ts';
import { classicOf, isV2, refuseV2 } from './v2.ts';

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Obj;
}

/** @returns undefined for a path that there is not. */
export async function answerApi(state: GrafanaState, request: Request): Promise<Answer | undefined> {
  const { method, path } = request;
  const [, , what, ...rest] = path.split('/');
  const last = decodeURIComponent(rest.at(-1) ?? '');
  if (what === 'health') return ok({ database: 'ok', version: '13.0.0-standin', commit: 'standin' });
  if (what === 'dashboards' && rest[0] === 'db' && method === 'POST')
    return saveDashboard(state, request.body);
  if (what === 'dashboards' && rest[0] === 'uid' && rest.length === 2) return dashboard(state, method, last);
  if (what === 'library-elements' && method === 'GET') {
    const model = state.libraryPanels.get(last);
    if (model === undefined) throw new Refusal(404, 'library element could not be found');
    return ok({ result: { uid: last, kind: 1, name: model['title'], model } });
  }
  if (what === 'folders') return folders(state, request, rest);
  if (what === 'datasources') return datasources(state, request, rest);
  return undefined;
}

const ok = (body: unknown): Answer => ({ status: 200, body });

function saveDashboard(state: GrafanaState, body: Obj): Answer {
  const { dashboard, folderUid, overwrite } = body as {
    dashboard?: Obj;
    folderUid?: string;
    overwrite?: boolean;
  };
  if (dashboard === undefined) throw new Refusal(400, 'bad request data');
  refuseV2(dashboard);
  if (!dashboard['title']) throw new Refusal(400, 'Dashboard title cannot be empty');
  const uid = String(dashboard['uid'] ?? '') || `generated-${state.dashboards.size + 1}`;
  const before = state.dashboards.get(uid);
  if (before !== undefined && overwrite !== true) {
    const { version } = dashboard;
    // A dashboard of this uid that the writer has not seen.
    if (version === undefined)
      throw new Refusal(412, 'A dashboard with the same uid already exists', 'name-exists');
    if (version !== before.version)
      throw new Refusal(412, 'The dashboard has been changed by someone else', 'version-mismatch');
  }
  const kept = state.saveDashboard(uid, dashboard, folderUid ?? '');
  const slug = String(kept.json['title'])
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-');
  return ok({ id: kept.id, uid, url: `/d/${uid}/${slug}`, status: 'success', version: kept.version, slug });
}

function dashboard(state: GrafanaState, method: string, uid: string): Answer | undefined {
  const kept = state.dashboards.get(uid);
  if (method === 'DELETE') {
    const { json, id } = state.deleteDashboard(uid);
    return ok({ title: json['title'], message: `Dashboard ${json['title']} deleted`, id });
  }
  if (method !== 'GET') return undefined;
  if (kept === undefined) throw new Refusal(404, 'Dashboard not found');
  return ok({
    dashboard: {
      ...(isV2(kept.json) ? classicOf(kept.json) : kept.json),
      id: kept.id,
      uid,
      version: kept.version,
    },
    meta: {
      type: 'db',
      canSave: true,
      canEdit: true,
      isFolder: false,
      version: kept.version,
      folderUid: kept.folder,
      folderTitle: state.folders.get(kept.folder)?.title ?? 'General',
      provisioned: kept.provisioned,
      provisionedExternalId: kept.provisioned ? 'standin.json' : '',
    },
  });
}

function folders(
  state: GrafanaState,
  { method, body }: Request,
  rest: readonly string[],
): Answer | undefined {
  const [uid, sub] = rest;
  if (uid === undefined) {
    if (method === 'GET') return ok([...state.folders.values()].map(({ uid, title }) => ({ uid, title })));
    if (method === 'POST')
      return ok(state.saveFolder(String(body['uid'] ?? ''), String(body['title'] ?? '')));
    return undefined;
  }
  const folder = state.folders.get(uid);
  if (folder === undefined) throw new Refusal(404, 'folder not found');
  if (sub === 'counts' && method === 'GET')
    return ok({ alertrule: 0, dashboard: state.dashboardsIn(uid), folder: 0, librarypanel: 0 });
  if (method === 'GET') return ok(folder);
  if (method === 'PUT') {
    if (body['overwrite'] !== true && body['version'] !== folder.version)
      throw new Refusal(412, 'The folder has been changed by someone else', 'version-mismatch');
    folder.title = String(body['title']);
    folder.version += 1;
    return ok(folder);
  }
  if (method === 'DELETE') {
    state.deleteFolder(uid);
    return ok({ message: 'Folder deleted' });
  }
  return undefined;
}

async function datasources(
  state: GrafanaState,
  request: Request,
  rest: readonly string[],
): Promise<Answer | undefined> {
  const { method, body } = request;
  if (rest.length === 0) {
    if (method === 'GET') return ok([...state.datasources.values()]);
    const uid = String(body['uid'] ?? '') || `generated-${state.datasources.size + 1}`;
    const datasource = state.saveDatasource(uid, body, true);
    return ok({ datasource, id: datasource['id'], message: 'Datasource added', name: datasource['name'] });
  }
  if (rest[0] === 'proxy' && rest[1] === 'uid')
    return proxy(state, request, rest[2]!, rest.slice(3).join('/'));
  const [by, uid = '', sub] = rest;
  if (by !== 'uid') return undefined;
  const kept = state.datasources.get(uid);
  if (kept === undefined) throw new Refusal(404, 'Data source not found');
  if (sub === 'health') return health(kept);
  if (method === 'GET') return ok(kept);
  if (method === 'PUT') {
    const datasource = state.saveDatasource(uid, body, false);
    return ok({ datasource, id: datasource['id'], message: 'Datasource updated', name: datasource['name'] });
  }
  if (method === 'DELETE') {
    if (kept['readOnly'] === true) throw new Refusal(403, 'Cannot delete read-only data source');
    state.datasources.delete(uid);
    return ok({ message: 'Data source deleted' });
  }
  return undefined;
}

async function health(source: Obj): Promise<Answer> {
  if (source['type'] === 'grafana-testdata-datasource')
    return ok({ status: 'OK', message: 'Data source is working' });
  const answer = await fetch(`${source['url']}/api/v1/query?query=1`).catch(() => undefined);
  return answer?.ok === true
    ? ok({ status: 'OK', message: 'Successfully queried the API.' })
    : { status: 400, body: { status: 'ERROR', message: 'the server can not be reached' } };
}

/** What its server answers, as it answers; 502 where nobody does. */
async function proxy(state: GrafanaState, request: Request, uid: string, path: string): Promise<Answer> {
  const source = state.datasources.get(decodeURIComponent(uid));
  if (source === undefined) throw new Refusal(404, 'Unable to find datasource');
  try {
    const answer = await fetch(`${source['url']}/${path}?${request.query}`);
    return { status: answer.status, body: await answer.json() };
  } catch {
    return { status: 502, body: { message: 'bad gateway' } };
  }
}
