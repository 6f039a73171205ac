// Dashboards and folders in Grafana, through the generation of its API that it serves: dashboard.grafana.app and
// folder.grafana.app (Grafana 12 and newer), or /api. Writes carry the version that was read, so that somebody
// else's edit at the same moment is never overwritten unseen.
import { Stalled } from '../../api/errors.ts';
import { type Grafana, isObject, messageOf, unexpected } from '../grafana-api.ts';
import type { Dashboard } from './model.ts';

export interface Stored {
  readonly dashboard: Dashboard;
  /** Its folder's uid; '' at the top. */
  readonly folder: string;
  /** Who else keeps it true, in words; undefined for nobody. */
  readonly provisioned: string | undefined;
  /** For the next write; opaque. */
  readonly version: unknown;
}

export interface DashboardStore {
  read(uid: string): Promise<Stored | undefined>;
  /**
   * @param before what was read, undefined when there was nothing.
   * @returns the version that it has now, where that can be relied on.
   * @throws Stalled when Grafana refuses the dashboard; Error when somebody else wrote meanwhile.
   */
  write(uid: string, dashboard: Dashboard, folder: string, before: Stored | undefined): Promise<unknown>;
  /** Absent is fine. */
  remove(uid: string): Promise<void>;
  hasFolder(uid: string): Promise<boolean>;
  createFolder(uid: string, title: string): Promise<void>;
  /** Removes a folder in which nothing at all is left; any other stays. */
  removeEmptyFolder(uid: string): Promise<void>;
}

/** Versions whose spec is the classic dashboard JSON; v2 is another model. */
const DASHBOARD_VERSIONS = ['v1', 'v1beta1'];
const FOLDER_VERSIONS = ['v1', 'v1beta1'];
const MESSAGE = 'homeostat: as the manifest says';

export async function openStore(grafana: Grafana): Promise<DashboardStore> {
  const dashboards = await grafana.discover('dashboard.grafana.app', DASHBOARD_VERSIONS);
  const folders =
    dashboards === undefined ? undefined : await grafana.discover('folder.grafana.app', FOLDER_VERSIONS);
  return dashboards === undefined || folders === undefined
    ? new ApiStore(grafana)
    : new ApisStore(grafana, dashboards, folders);
}

type Answer = { status: number; body: unknown };

function objectIn(answer: Answer, what: string): Record<string, unknown> {
  if (!isObject(answer.body)) throw unexpected(what, answer);
  return answer.body;
}

/** What a write that was not accepted means. */
function refused(what: string, answer: Answer): Error {
  const said = messageOf(answer.body);
  if (answer.status === 409 || answer.status === 412) {
    const status = isObject(answer.body) ? answer.body['status'] : undefined;
    if (status === 'name-exists') {
      return new Stalled(
        'NameTaken',
        `${what}: ${said}; another dashboard of that folder has its title: rename one`,
      );
    }
    if (status === 'plugin-dashboard') return new Stalled('Provisioned', `${what}: ${said}`);
    return new Error(`somebody else wrote ${what} at the same moment (${said})`);
  }
  if (/provisioned/i.test(said)) return new Stalled('Provisioned', `${what}: ${said}`);
  if (answer.status === 400 || answer.status === 422)
    return new Stalled('Refused', `Grafana refuses ${what}: ${said}`);
  return unexpected(`writing ${what}`, answer);
}

class ApiStore implements DashboardStore {
  readonly #grafana: Grafana;
  constructor(grafana: Grafana) {
    this.#grafana = grafana;
  }

  async read(uid: string): Promise<Stored | undefined> {
    const answer = await this.#grafana.request('GET', `/api/dashboards/uid/${uid}`);
    if (answer.status === 404) return undefined;
    const { dashboard, meta } = objectIn(answer, 'a dashboard');
    if (answer.status !== 200 || !isObject(dashboard) || !isObject(meta))
      throw unexpected('a dashboard', answer);
    const from = meta['provisionedExternalId'];
    return {
      dashboard,
      folder: typeof meta['folderUid'] === 'string' ? meta['folderUid'] : '',
      provisioned: meta['provisioned'] === true ? `a provisioning file (${from || 'of its own'})` : undefined,
      version: dashboard['version'],
    };
  }

  async write(
    uid: string,
    dashboard: Dashboard,
    folder: string,
    before: Stored | undefined,
  ): Promise<unknown> {
    const answer = await this.#grafana.request('POST', '/api/dashboards/db', {
      dashboard: {
        ...dashboard,
        uid,
        id: null,
        ...(before === undefined ? {} : { version: before.version }),
      },
      folderUid: folder,
      message: MESSAGE,
      overwrite: false,
    });
    if (answer.status !== 200) throw refused(`dashboard ${uid}`, answer);
    return objectIn(answer, 'a write')['version'];
  }

  async remove(uid: string): Promise<void> {
    const answer = await this.#grafana.request('DELETE', `/api/dashboards/uid/${uid}`);
    if (answer.status !== 200 && answer.status !== 404) throw refused(`dashboard ${uid}`, answer);
  }

  async hasFolder(uid: string): Promise<boolean> {
    const answer = await this.#grafana.request('GET', `/api/folders/${uid}`);
    if (answer.status !== 200 && answer.status !== 404) throw unexpected(`folder ${uid}`, answer);
    return answer.status === 200;
  }

  async createFolder(uid: string, title: string): Promise<void> {
    const answer = await this.#grafana.request('POST', '/api/folders', { uid, title });
    if (answer.status === 200) return;
    if (answer.status === 409 || answer.status === 412) throw folderTaken(uid, title, answer);
    throw refused(`folder ${uid}`, answer);
  }

  async removeEmptyFolder(uid: string): Promise<void> {
    // What is in it, by kind; a Grafana that can't tell keeps the folder.
    const answer = await this.#grafana.request('GET', `/api/folders/${uid}/counts`);
    if (answer.status !== 200 || !isObject(answer.body)) return;
    if (Object.values(answer.body).some((count) => count !== 0)) return;
    const removed = await this.#grafana.request('DELETE', `/api/folders/${uid}`);
    if (removed.status !== 200 && removed.status !== 404) throw refused(`folder ${uid}`, removed);
  }
}

class ApisStore implements DashboardStore {
  readonly #grafana: Grafana;
  readonly #dashboards: string;
  readonly #folders: string;
  readonly #apiVersion: Readonly<Record<'dashboards' | 'folders', string>>;

  constructor(grafana: Grafana, dashboards: string, folders: string) {
    this.#grafana = grafana;
    this.#apiVersion = {
      dashboards: `dashboard.grafana.app/${dashboards}`,
      folders: `folder.grafana.app/${folders}`,
    };
    const at = (group: string, what: string) => `/apis/${group}/namespaces/${grafana.namespace}/${what}`;
    this.#dashboards = at(this.#apiVersion.dashboards, 'dashboards');
    this.#folders = at(this.#apiVersion.folders, 'folders');
  }

  async read(uid: string): Promise<Stored | undefined> {
    const answer = await this.#grafana.request('GET', `${this.#dashboards}/${uid}`);
    if (answer.status === 404) return undefined;
    const { metadata, spec, status } = objectIn(answer, 'a dashboard');
    if (answer.status !== 200 || !isObject(metadata) || !isObject(spec))
      throw unexpected('a dashboard', answer);
    const conversion = isObject(status) ? status['conversion'] : undefined;
    if (isObject(conversion) && conversion['failed'] === true) {
      throw new Stalled(
        'Unconvertible',
        `Grafana keeps dashboard ${uid} as ${conversion['storedVersion']} and can't show it in the classic form: ${conversion['error']}`,
      );
    }
    const annotations = isObject(metadata['annotations']) ? metadata['annotations'] : {};
    const manager = annotations['grafana.app/managedBy'];
    const source = annotations['grafana.app/sourcePath'] ?? annotations['grafana.app/managerId'];
    return {
      dashboard: spec,
      folder: String(annotations['grafana.app/folder'] ?? ''),
      provisioned:
        manager === undefined || annotations['grafana.app/managerAllowsEdits'] === 'true'
          ? undefined
          : `${manager} (${source ?? 'of its own'})`,
      version: metadata['resourceVersion'],
    };
  }

  async write(
    uid: string,
    dashboard: Dashboard,
    folder: string,
    before: Stored | undefined,
  ): Promise<unknown> {
    const body = {
      apiVersion: this.#apiVersion.dashboards,
      kind: 'Dashboard',
      metadata: {
        name: uid,
        namespace: this.#grafana.namespace,
        annotations: {
          ...(folder === '' ? {} : { 'grafana.app/folder': folder }),
          'grafana.app/message': MESSAGE,
        },
        ...(before === undefined ? {} : { resourceVersion: before.version }),
      },
      spec: dashboard,
    };
    const [method, path] =
      before === undefined ? ['POST', this.#dashboards] : ['PUT', `${this.#dashboards}/${uid}`];
    const answer = await this.#grafana.request(method!, path!, body);
    if (answer.status !== 200 && answer.status !== 201) throw refused(`dashboard ${uid}`, answer);
    // Whether a read gives the same resourceVersion at once is nowhere promised, for every way of storing.
    return undefined;
  }

  async remove(uid: string): Promise<void> {
    const answer = await this.#grafana.request('DELETE', `${this.#dashboards}/${uid}`);
    if (answer.status !== 200 && answer.status !== 404) throw refused(`dashboard ${uid}`, answer);
  }

  async hasFolder(uid: string): Promise<boolean> {
    const answer = await this.#grafana.request('GET', `${this.#folders}/${uid}`);
    if (answer.status !== 200 && answer.status !== 404) throw unexpected(`folder ${uid}`, answer);
    return answer.status === 200;
  }

  async createFolder(uid: string, title: string): Promise<void> {
    const answer = await this.#grafana.request('POST', this.#folders, {
      apiVersion: this.#apiVersion.folders,
      kind: 'Folder',
      metadata: { name: uid, namespace: this.#grafana.namespace },
      spec: { title },
    });
    if (answer.status === 200 || answer.status === 201) return;
    if (answer.status === 409 || answer.status === 412) throw folderTaken(uid, title, answer);
    throw refused(`folder ${uid}`, answer);
  }

  async removeEmptyFolder(uid: string): Promise<void> {
    const answer = await this.#grafana.request('GET', `${this.#folders}/${uid}/counts`);
    const counts = isObject(answer.body) ? answer.body['counts'] : undefined;
    if (answer.status !== 200 || !Array.isArray(counts)) return;
    if (counts.some((c) => !isObject(c) || c['count'] !== 0)) return;
    const removed = await this.#grafana.request('DELETE', `${this.#folders}/${uid}`);
    if (removed.status !== 200 && removed.status !== 404) throw refused(`folder ${uid}`, removed);
  }
}

function folderTaken(uid: string, title: string, answer: Answer): Error {
  return new Stalled(
    'FolderTaken',
    `folder ${uid} can't be made (${messageOf(answer.body)}): if a folder "${title}" is there already, name it by its uid`,
  );
}
