// Data sources in Grafana, by /api/datasources, and what Grafana's own check of one finds.
import { Stalled, Waiting } from '../../api/errors.ts';
import { Grafana, isObject, messageOf, objectsIn, unexpected } from '../grafana-api.ts';

export type Source = Readonly<Record<string, unknown>>;

/** What Grafana's own check of it finds. */
export interface Health {
  readonly is: 'Healthy' | 'Unhealthy' | 'NoCheck' | 'Unknown';
  readonly message: string;
}

const HEALTH_TIMEOUT_MS = 5_000;

export class Datasources {
  readonly #grafana: Grafana;
  constructor(...connection: ConstructorParameters<typeof Grafana>) {
    this.#grafana = new Grafana(...connection);
  }

  async read(uid: string): Promise<Source | undefined> {
    const answer = await this.#grafana.request('GET', `/api/datasources/uid/${uid}`);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200 || !isObject(answer.body)) throw unexpected('a data source', answer);
    return answer.body;
  }

  /** @param before what was read; its version guards against somebody else's edit at the same moment. */
  async write(uid: string, body: Source, before: Source | undefined): Promise<void> {
    const answer =
      before === undefined
        ? await this.#grafana.request('POST', '/api/datasources', { ...body, uid })
        : await this.#grafana.request('PUT', `/api/datasources/uid/${uid}`, {
            ...body,
            uid,
            version: before['version'],
          });
    if (answer.status === 200 && isObject(answer.body)) return;
    const said = messageOf(answer.body);
    if (answer.status === 409 && /name/.test(said)) {
      throw new Stalled('NameTaken', `${said}: rename one, or take that one over by its uid`);
    }
    if (answer.status === 409 || answer.status === 412)
      throw new Error(`somebody else wrote data source ${uid} at the same moment (${said})`);
    if (answer.status === 400 || answer.status === 422)
      throw new Stalled('Refused', `Grafana refuses data source ${uid}: ${said}`);
    throw unexpected(`writing data source ${uid}`, answer);
  }

  async remove(uid: string): Promise<void> {
    const answer = await this.#grafana.request('DELETE', `/api/datasources/uid/${uid}`);
    if (answer.status !== 200 && answer.status !== 404) throw unexpected('a removal', answer);
  }

  async defaultOtherThan(uid: string): Promise<string | undefined> {
    const answer = await this.#grafana.request('GET', '/api/datasources');
    if (!Array.isArray(answer.body)) throw unexpected('the list of data sources', answer);
    const found = objectsIn(answer.body).find((s) => s['isDefault'] === true && s['uid'] !== uid);
    return typeof found?.['uid'] === 'string' ? found['uid'] : undefined;
  }

  async health(uid: string): Promise<Health> {
    try {
      const path = `/api/datasources/uid/${uid}/health`;
      const { status, body } = await this.#grafana.request('GET', path, undefined, HEALTH_TIMEOUT_MS);
      // A plugin without a check answers 404.
      if (status === 404) return { is: 'NoCheck', message: 'its plugin has no health check' };
      // The health of whatever else answers says nothing of it.
      if (!isObject(body))
        return { is: 'Unknown', message: `it gets no answer of Grafana’s: ${messageOf(body)}` };
      return { is: status === 200 ? 'Healthy' : 'Unhealthy', message: messageOf(body) };
    } catch (error) {
      if (!(error instanceof Waiting || error instanceof Stalled)) throw error;
      return { is: 'Unknown', message: error.message };
    }
  }
}
