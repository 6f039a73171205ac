// What the stand-in keeps, and what Grafana does to what it is given: counts ids and versions, guards writes by
// them, migrates dashboards, refuses what is provisioned. Facts: the HTTP API's documentation (dashboard, folder,
// data source); what it leaves open is noted where it is decided.
import { isDeepStrictEqual } from 'node:util';
import { type Obj, Refusal } from './refusal.ts';
import { isV2, typed } from './v2.ts';

export { type Obj, Refusal };

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface KeptDashboard {
  readonly id: number;
  readonly uid: string;
  json: Obj;
  folder: string;
  version: number;
  /** Counted over everything that /apis keeps. */
  resourceVersion: number;
  provisioned: boolean;
}

export interface KeptFolder {
  readonly uid: string;
  title: string;
  version: number;
}

/** The newest schema that the stand-in migrates to; real ones go on counting. */
const SCHEMA_VERSION = 42;

export class GrafanaState {
  readonly dashboards = new Map<string, KeptDashboard>();
  readonly folders = new Map<string, KeptFolder>();
  readonly datasources = new Map<string, Obj>();
  /** By data source: the secret values that were written, in order. */
  readonly secretsWritten = new Map<string, unknown[]>();
  /** Why a dashboard is not valid, as a test says. */
  refuse: (json: Obj) => string | undefined = () => undefined;
  /** Why dashboards can't be shown in a schema other than theirs, as a test says. */
  unconvertible: string | undefined;
  /** By uid: the panel in the classic form. */
  readonly libraryPanels = new Map<string, Obj>();
  #ids = 0;
  #resourceVersions = 1000;

  saveFolder(uid: string, title: string): KeptFolder {
    if (title === '') throw new Refusal(400, 'folder title cannot be empty');
    if (this.folders.has(uid))
      throw new Refusal(409, 'a folder with the same uid already exists', 'AlreadyExists');
    const folder = { uid, title, version: 1 };
    this.folders.set(uid, folder);
    return folder;
  }

  /** With everything in it, as Grafana does. */
  deleteFolder(uid: string): void {
    if (!this.folders.delete(uid)) throw new Refusal(404, 'folder not found', 'NotFound');
    for (const d of [...this.dashboards.values()]) if (d.folder === uid) this.dashboards.delete(d.uid);
  }

  dashboardsIn(folder: string): number {
    return [...this.dashboards.values()].filter((d) => d.folder === folder).length;
  }

  /** @param provisioning whether Grafana itself writes, from a file. */
  saveDashboard(uid: string, json: Obj, folder: string, provisioning = false): KeptDashboard {
    if (typeof json['title'] !== 'string' || json['title'] === '')
      throw new Refusal(400, 'Dashboard title cannot be empty', 'BadRequest');
    const invalid = this.refuse(json);
    if (invalid !== undefined) throw new Refusal(400, invalid, 'BadRequest');
    if (folder !== '' && !this.folders.has(folder)) throw new Refusal(400, 'folder not found', 'BadRequest');
    const before = this.dashboards.get(uid);
    if (before?.provisioned === true && !provisioning)
      throw new Refusal(400, 'Cannot save provisioned dashboard', 'BadRequest');
    const { id: _id, uid: _uid, version: _version, ...rest } = structuredClone(json);
    // An edit that changes nothing makes no version.
    const same = before !== undefined && before.folder === folder && isDeepStrictEqual(before.json, rest);
    if (same) return before;
    const kept: KeptDashboard = {
      id: before?.id ?? ++this.#ids,
      uid,
      json: rest,
      folder,
      version: (before?.version ?? 0) + 1,
      resourceVersion: ++this.#resourceVersions,
      provisioned: provisioning,
    };
    this.dashboards.set(uid, kept);
    return kept;
  }

  deleteDashboard(uid: string): KeptDashboard {
    const kept = this.dashboards.get(uid);
    if (kept === undefined) throw new Refusal(404, 'Dashboard not found', 'NotFound');
    if (kept.provisioned) throw new Refusal(400, 'provisioned dashboard cannot be deleted', 'BadRequest');
    this.dashboards.delete(uid);
    return kept;
  }

  saveDatasource(uid: string, given: Obj, create: boolean): Obj {
    const before = this.datasources.get(uid);
    if (!create && before === undefined) throw new Refusal(404, 'Data source not found');
    if (before?.['readOnly'] === true) throw new Refusal(403, 'Cannot update read-only data source');
    const { secureJsonData, version, ...rest } = structuredClone(given);
    for (const field of ['name', 'type', 'access'] as const)
      if (typeof rest[field] !== 'string' || rest[field] === '')
        throw new Refusal(400, `bad request data: ${field} is required`);
    for (const [other, source] of this.datasources) {
      if (other !== uid && source['name'] === rest['name'])
        throw new Refusal(409, 'data source with the same name already exists');
    }
    if (create && before !== undefined)
      throw new Refusal(409, 'data source with the same uid already exists');
    if (version !== undefined && before !== undefined && version !== before['version'])
      throw new Refusal(
        409,
        'Datasource has already been updated by someone else. Please reload and try again',
      );
    // Secrets that are not sent stay as they are.
    const secrets = Object.keys((secureJsonData as Obj | undefined) ?? {});
    const written = this.secretsWritten.get(uid) ?? [];
    this.secretsWritten.set(uid, [...written, ...Object.values((secureJsonData as Obj | undefined) ?? {})]);
    const secureJsonFields = {
      ...((before?.['secureJsonFields'] as Obj | undefined) ?? {}),
      ...Object.fromEntries(secrets.map((name) => [name, true])),
    };
    if (rest['isDefault'] === true)
      for (const source of this.datasources.values()) source['isDefault'] = false;
    const kept: Obj = {
      id: before?.['id'] ?? ++this.#ids,
      uid,
      orgId: 1,
      typeLogoUrl: '',
      url: '',
      user: '',
      database: '',
      basicAuth: false,
      basicAuthUser: '',
      withCredentials: false,
      isDefault: false,
      ...rest,
      jsonData: rest['jsonData'] ?? {},
      secureJsonFields,
      version: Number(before?.['version'] ?? 0) + 1,
      readOnly: false,
    };
    this.datasources.set(uid, kept);
    return kept;
  }

  /** All of it as the newest API shows it, without what is only counted; to be compared. */
  fingerprint(): string {
    const dashboards = [...this.dashboards.values()].map(({ uid, json, folder }) => ({
      uid,
      json: isV2(json) ? typed(json) : migrated(json),
      folder,
    }));
    const folders = [...this.folders.values()].map(({ uid, title }) => ({ uid, title }));
    const datasources = [...this.datasources.values()].map(({ id: _, version: __, ...rest }) => rest);
    const byUid = (a: Obj, b: Obj) => (String(a['uid']) < String(b['uid']) ? -1 : 1);
    return JSON.stringify(
      [dashboards.sort(byUid), folders.sort(byUid), datasources.sort(byUid)].map((list) => list.map(sorted)),
      null,
      1,
    );
  }
}

/** As the newest Grafanas give a dashboard back: ids for panels, data sources as references, a newer schema. */
export function migrated(json: Obj): Obj {
  let next = 1;
  const ids = new Set<unknown>();
  const walk = (panels: unknown, each: (panel: Obj) => Obj): unknown =>
    Array.isArray(panels)
      ? panels.map((p: Obj) => each('panels' in p ? { ...p, panels: walk(p['panels'], each) } : { ...p }))
      : panels;
  walk(json['panels'], (p) => {
    ids.add(p['id']);
    return p;
  });
  const panels = walk(json['panels'], (panel) => {
    if (panel['id'] === undefined) {
      while (ids.has(next)) next += 1;
      ids.add(next);
      panel['id'] = next;
    }
    if (typeof panel['datasource'] === 'string') panel['datasource'] = { uid: panel['datasource'] };
    return panel;
  });
  return {
    ...json,
    ...(panels === undefined ? {} : { panels }),
    schemaVersion: Math.max(Number(json['schemaVersion'] ?? 0), SCHEMA_VERSION),
  };
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => [k, sorted(v)]),
  );
}
