// Dashboards and folders in Grafana, through the generation of its API that it serves: dashboard.grafana.app and
// folder.grafana.app (Grafana 12 and newer), or /api. Each dashboard is read and written in the schema that is asked
// for, classic or v2; Grafana converts. Writes carry the version that was read, so that somebody else's edit at the
// same moment is never overwritten unseen.
import { Stalled } from '../../api/errors.ts';
import { type Grafana, isObject, messageOf, unexpected } from '../grafana-api.ts';
import type { Dashboard } from './tree.ts';
import { isV2 } from './v2.ts';

export interface Stored {
  readonly dashboard: Dashboard;
  /** What a file with it says it is, where that is not the classic form. */
  readonly apiVersion: string | undefined;
  /** Its folder's uid; '' at the top. */
  readonly folder: string;
  /** Who else keeps it true, in words; undefined for nobody. */
  readonly provisioned: string | undefined;
  /** For the next write; opaque. */
  readonly version: unknown;
}

export type Schema = 'classic' | 'v2';

export function schemaOf(dashboard: Dashboard): Schema {
  return isV2(dashboard) ? 'v2' : 'classic';
}

export interface DashboardStore {
  /**
   * @param schema as which it is shown; where Grafana can't show it so, and without one, it comes as it is stored.
   * @throws Stalled('TooOld') for a Grafana that has not this schema.
   */
  read(uid: string, schema?: Schema): Promise<Stored | undefined>;
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

const DASHBOARDS = 'dashboard.grafana.app';
const FOLDERS = 'folder.grafana.app';
/** Versions that are beta or better, the best first. v1 has the classic JSON as its spec. */
const VERSIONS: Readonly<Record<Schema, readonly string[]>> = {
  classic: ['v1', 'v1beta1'],
  v2: ['v2', 'v2beta1'],
};
const FOLDER_VERSIONS = ['v1', 'v1beta1'];
const MESSAGE = 'homeostat: as the manifest says';

export async function openStore(grafana: Grafana): Promise<DashboardStore> {
  const groups = await grafana.discover();
  const served = groups.get(DASHBOARDS) ?? [];
  const folders = FOLDER_VERSIONS.find((version) => groups.get(FOLDERS)?.includes(version));
  return folders === undefined || !VERSIONS.classic.some((version) => served.includes(version))
    ? new ApiStore(grafana, served)
    : new ApisStore(grafana, served, folders);
}

function tooOld({ url }: Grafana, served: readonly string[]): Stalled {
  const has = served.length === 0 ? `no ${DASHBOARDS}` : `${DASHBOARDS} in ${served.join(', ')} only`;
  return new Stalled(
    'TooOld',
    `the dashboard is of schema v2, and Grafana at ${url} has ${has}: update it to Grafana 13, or take the dashboard in the classic form from a Grafana that has it (its API gives that: /apis/${DASHBOARDS}/v1/namespaces/default/dashboards/UID)`,
  );
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
  readonly #served: readonly string[];
  constructor(grafana: Grafana, served: readonly string[]) {
    this.#grafana = grafana;
    this.#served = served;
  }

  async read(uid: string, schema?: Schema): Promise<Stored | undefined> {
    if (schema === 'v2') throw tooOld(this.#grafana, this.#served);
    const answer = await this.#grafana.request('GET', `/api/dashboards/uid/${uid}`);
    if (answer.status === 404) return undefined;
    const { dashboard, meta } = objectIn(answer, 'a dashboard');
    if (answer.status !== 200 || !isObject(dashboard) || !isObject(meta))
      throw unexpected('a dashboard', answer);
    const from = meta['provisionedExternalId'];
    return {
      dashboard,
      apiVersion: undefined,
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
    if (isV2(dashboard)) throw tooOld(this.#grafana, this.#served);
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
    if (answer.status === 404) return false;
    if (answer.status !== 200 || !isObject(answer.body)) throw unexpected(`folder ${uid}`, answer);
    return true;
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
  readonly #served: readonly string[];
  readonly #folderVersion: string;
  readonly #folders: string;

  constructor(grafana: Grafana, served: readonly string[], folderVersion: string) {
    this.#grafana = grafana;
    this.#served = served;
    this.#folderVersion = `${FOLDERS}/${folderVersion}`;
    this.#folders = `/apis/${this.#folderVersion}/namespaces/${grafana.namespace}/folders`;
  }

  async read(uid: string, schema?: Schema): Promise<Stored | undefined> {
    const shown = schema ?? 'classic';
    const { body, stored } = await this.#fetch(uid, shown);
    if (body === undefined) return undefined;
    const other = schemaNamed(stored.version) ?? shown;
    const isWanted = schema !== undefined || other === shown || !this.#serves(other);
    if (isWanted && stored.failed === undefined) return this.#stored(body, shown);
    if (other !== shown && this.#serves(other)) {
      const again = await this.#fetch(uid, other);
      if (again.body === undefined) return undefined;
      if (again.stored.failed === undefined) return this.#stored(again.body, other);
    }
    throw new Stalled(
      'Unconvertible',
      `Grafana keeps dashboard ${uid} as ${stored.version} and can't show it in the ${shown} form: ${stored.failed ?? 'it does not say why'}`,
    );
  }

  async write(
    uid: string,
    dashboard: Dashboard,
    folder: string,
    before: Stored | undefined,
  ): Promise<unknown> {
    const apiVersion = this.#apiVersion(schemaOf(dashboard));
    const dashboards = this.#at(apiVersion);
    const body = {
      apiVersion,
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
    const [method, path] = before === undefined ? ['POST', dashboards] : ['PUT', `${dashboards}/${uid}`];
    const answer = await this.#grafana.request(method!, path!, body);
    if (answer.status !== 200 && answer.status !== 201) throw refused(`dashboard ${uid}`, answer);
    // Whether a read gives the same resourceVersion at once is nowhere promised, for every way of storing.
    return undefined;
  }

  async remove(uid: string): Promise<void> {
    const dashboards = this.#at(this.#apiVersion('classic'));
    const answer = await this.#grafana.request('DELETE', `${dashboards}/${uid}`);
    if (answer.status !== 200 && answer.status !== 404) throw refused(`dashboard ${uid}`, answer);
  }

  async hasFolder(uid: string): Promise<boolean> {
    const answer = await this.#grafana.request('GET', `${this.#folders}/${uid}`);
    if (answer.status === 404) return false;
    if (answer.status !== 200 || !isObject(answer.body)) throw unexpected(`folder ${uid}`, answer);
    return true;
  }

  async createFolder(uid: string, title: string): Promise<void> {
    const answer = await this.#grafana.request('POST', this.#folders, {
      apiVersion: this.#folderVersion,
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

  #serves(schema: Schema): boolean {
    return VERSIONS[schema].some((version) => this.#served.includes(version));
  }

  /** @throws Stalled('TooOld') */
  #apiVersion(schema: Schema): string {
    const version = VERSIONS[schema].find((v) => this.#served.includes(v));
    if (version === undefined) throw tooOld(this.#grafana, this.#served);
    return `${DASHBOARDS}/${version}`;
  }

  #at(apiVersion: string): string {
    return `/apis/${apiVersion}/namespaces/${this.#grafana.namespace}/dashboards`;
  }

  async #fetch(
    uid: string,
    schema: Schema,
  ): Promise<{ body: Record<string, unknown> | undefined; stored: Conversion }> {
    const answer = await this.#grafana.request('GET', `${this.#at(this.#apiVersion(schema))}/${uid}`);
    if (answer.status === 404) return { body: undefined, stored: { version: undefined, failed: undefined } };
    const body = objectIn(answer, 'a dashboard');
    if (answer.status !== 200 || !isObject(body['metadata']) || !isObject(body['spec']))
      throw unexpected('a dashboard', answer);
    const status = isObject(body['status']) ? body['status'] : {};
    const { storedVersion, failed, error } = isObject(status['conversion']) ? status['conversion'] : {};
    const version = typeof storedVersion === 'string' ? storedVersion : undefined;
    return { body, stored: { version, failed: failed === true ? messageOf(error) : undefined } };
  }

  #stored(body: Record<string, unknown>, schema: Schema): Stored {
    const { metadata, spec } = body as Record<'metadata' | 'spec', Record<string, unknown>>;
    const annotations = isObject(metadata['annotations']) ? metadata['annotations'] : {};
    const manager = annotations['grafana.app/managedBy'];
    const source = annotations['grafana.app/sourcePath'] ?? annotations['grafana.app/managerId'];
    return {
      dashboard: spec,
      apiVersion: schema === 'v2' ? this.#apiVersion(schema) : undefined,
      folder: String(annotations['grafana.app/folder'] ?? ''),
      provisioned:
        manager === undefined || annotations['grafana.app/managerAllowsEdits'] === 'true'
          ? undefined
          : `${manager} (${source ?? 'of its own'})`,
      version: metadata['resourceVersion'],
    };
  }
}

/** What Grafana says of a dashboard that it keeps in another version than it shows. */
interface Conversion {
  readonly version: string | undefined;
  /** Why it can't be shown so. */
  readonly failed: string | undefined;
}

/** @returns undefined for what is stored as it is shown, and for versions that are not known here. */
function schemaNamed(version: string | undefined): Schema | undefined {
  if (version === undefined) return undefined;
  return /^v[01]/.test(version) ? 'classic' : version.startsWith('v2') ? 'v2' : undefined;
}

function folderTaken(uid: string, title: string, answer: Answer): Error {
  return new Stalled(
    'FolderTaken',
    `folder ${uid} can't be made (${messageOf(answer.body)}): if a folder "${title}" is there already, name it by its uid`,
  );
}
