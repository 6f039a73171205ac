// GrafanaDatasource: a data source exists in Grafana as the manifest has it. Through /api/datasources, in every
// Grafana: its place under /apis is an alpha version, behind a feature toggle, and may go any day
// (docs/decisions/0016).
import * as z from 'zod';
import { Stalled, Waiting } from '../../api/errors.ts';
import { digestOf } from '../../api/json.ts';
import { clip } from '../../api/limits.ts';
import {
  Grafana,
  GrafanaConnection,
  grafanaAsks,
  grafanaClaim,
  isObject,
  messageOf,
  originOf,
  poll,
  unexpected,
  writing,
} from '../grafana-api.ts';
import { type Change, type Desired, defineKind, type InventoryRecord } from '../kind.ts';
import type { Ports } from '../ports.ts';
import { no, notYet, unknown, YES } from '../shared/verdicts.ts';
import { GrafanaDatasourceSpec } from './schema.ts';

type Needs = 'http' | 'clock';
type Io = Pick<Ports, Needs>;
type D = Desired<GrafanaDatasourceSpec, Memory>;
type Source = Readonly<Record<string, unknown>>;

/** What Grafana's own check of it finds. */
interface Health {
  readonly is: 'Healthy' | 'Unhealthy' | 'NoCheck' | 'Unknown';
  readonly message: string;
}

interface Observed {
  readonly source: Source | undefined;
  /** Of one that is as it should be. */
  readonly health: Health | undefined;
}

/** How to go back. What Grafana keeps secret is not readable, and not in it. */
const Before = z.object({
  grafana: GrafanaConnection,
  uid: z.string(),
  source: z.record(z.string(), z.unknown()).nullable(),
  /** The uid of the default data source, where ours took its place. */
  otherDefault: z.string().nullable(),
  /** Whether it was healthy before the change. */
  wasHealthy: z.boolean().optional(),
});
type Before = z.infer<typeof Before>;

/** The digest that its secrets were last written for: Grafana gives none of them out to be compared. */
const Memory = z.object({ secretsOf: z.string().optional() });
type Memory = z.infer<typeof Memory>;

const EVIDENCE_MAX = 2048;
/** For a server that is started anew with the change. */
const WITHIN_MS = 30_000;
const HEALTH_TIMEOUT_MS = 5_000;
/** What Grafana counts, shows or derives; the rest can be written as it was read. */
const COUNTED = [
  'id',
  'orgId',
  'version',
  'typeLogoUrl',
  'readOnly',
  'secureJsonFields',
  'accessControl',
  'apiVersion',
];

export const grafanaDatasource = defineKind<GrafanaDatasourceSpec, Observed, Needs, Before, Memory>({
  kind: 'GrafanaDatasource',
  scope: 'fleet',
  spec: GrafanaDatasourceSpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['http', 'clock'],

  place: ({ grafana, uid }) => grafanaClaim(grafana, 'datasources', uid),
  owns: ({ grafana, uid }) => [grafanaClaim(grafana, 'datasources', uid)],
  asks: ({ grafana }) => grafanaAsks(grafana),
  // One default between them.
  locks: ({ grafana }) => [`grafana:${originOf(grafana)}`],

  check({ basicAuthUser, secureJsonData }) {
    return basicAuthUser !== undefined && secureJsonData?.['basicAuthPassword'] === undefined
      ? [
          {
            path: ['basicAuthUser'],
            message: 'a user needs a password: secureJsonData: { basicAuthPassword: { secretFrom: … } }',
          },
        ]
      : [];
  },

  async observe(d, io, signal) {
    const api = new Datasources(open(d.spec.grafana, io, d.content, signal));
    const source = await api.read(d.spec.uid);
    // Asked of one that is as it should be only: a heal does not wait for a server that is away.
    if (source === undefined || changesOf(d, source).length > 0) return { source, health: undefined };
    return { source, health: await api.health(d.spec.uid) };
  },

  diff: (d, { source }) => changesOf(d, source),

  assess(_d, { health }, trial) {
    if (health?.is === 'Healthy' || health?.is === 'NoCheck') return YES;
    if (health?.is !== 'Unhealthy') return unknown('HealthUnknown', health?.message ?? 'nobody was asked');
    const reason = 'DatasourceUnhealthy';
    const evidence = clip(`Grafana cannot use it: ${health.message}`, EVIDENCE_MAX);
    if (trial === undefined) return no(reason, evidence);
    // A server that was away before is not the change's doing: it then waits for it, and is not Ready meanwhile.
    return trial.before.wasHealthy === true
      ? notYet(trial, WITHIN_MS, reason, evidence)
      : unknown(reason, evidence);
  },
  gate: () => ({ withinMs: WITHIN_MS, settleMs: 0 }),

  async prepare(d, { source }, io, signal) {
    const { grafana, uid, isDefault } = d.spec;
    refuseProvisioned(uid, source);
    const api = new Datasources(open(grafana, io, d.content, signal));
    const otherDefault = isDefault === true ? await api.defaultOtherThan(uid) : undefined;
    const wasHealthy = source !== undefined && (await api.health(uid)).is === 'Healthy';
    const before = { grafana, uid, source: source ?? null, otherDefault: otherDefault ?? null, wasHealthy };
    return { existed: source !== undefined, before };
  },

  async apply(changes, d, io, signal) {
    if (changes.length === 0) return undefined; // in force when it is written
    const api = new Datasources(open(d.spec.grafana, io, d.content, signal));
    const now = await api.read(d.spec.uid);
    refuseProvisioned(d.spec.uid, now);
    await writing(() => api.write(d.spec.uid, bodyOf(d, now), now));
    return { secretsOf: secretsDigest(d) };
  },

  async undo(before, { content }, io, signal) {
    const api = new Datasources(open(before.grafana, io, content, signal));
    const now = await api.read(before.uid);
    await writing(async () => {
      if (before.source === null) {
        if (now !== undefined) await api.remove(before.uid);
      } else if (now === undefined || digestOf(comparable(now)) !== digestOf(comparable(before.source))) {
        await api.write(before.uid, comparable(before.source), now);
      }
      const other = before.otherDefault === null ? undefined : await api.read(before.otherDefault);
      if (other !== undefined && other['isDefault'] !== true)
        await api.write(before.otherDefault!, { ...comparable(other), isDefault: true }, other);
    });
  },

  watch: (d, { clock }, wake, signal) => poll(clock, d.spec.pollSeconds, wake, signal),

  conditions: (_d, { health }) =>
    health?.is === 'NoCheck'
      ? [{ type: 'DatasourceAnswers', status: 'Unknown', reason: 'NoCheck', message: health.message }]
      : [],
});

class Datasources {
  readonly #grafana: Grafana;
  constructor(grafana: Grafana) {
    this.#grafana = grafana;
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
    if (answer.status === 200) return;
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
    const found = answer.body.find((s) => isObject(s) && s['isDefault'] === true && s['uid'] !== uid);
    return found?.['uid'] as string | undefined;
  }

  async health(uid: string): Promise<Health> {
    try {
      const path = `/api/datasources/uid/${uid}/health`;
      const { status, body } = await this.#grafana.request('GET', path, undefined, HEALTH_TIMEOUT_MS);
      // A plugin without a check answers 404.
      if (status === 404) return { is: 'NoCheck', message: 'its plugin has no health check' };
      return { is: status === 200 ? 'Healthy' : 'Unhealthy', message: messageOf(body) };
    } catch (error) {
      if (!(error instanceof Waiting || error instanceof Stalled)) throw error;
      return { is: 'Unknown', message: error.message };
    }
  }
}

function open(
  grafana: GrafanaConnection,
  { http }: Io,
  content: InventoryRecord['content'],
  signal: AbortSignal,
): Grafana {
  return new Grafana(grafana, http, content, signal);
}

/** The members that the manifest decides, as Grafana calls them. */
function decided({ name, type, url, access, isDefault, basicAuthUser }: GrafanaDatasourceSpec): Source {
  return {
    name,
    type,
    url,
    access: access ?? 'proxy',
    ...(isDefault === undefined ? {} : { isDefault }),
    ...(basicAuthUser === undefined ? {} : { basicAuth: true, basicAuthUser }),
  };
}

function changesOf(d: D, source: Source | undefined): Change[] {
  const { spec } = d;
  if (source === undefined)
    return [{ what: 'data source', from: 'absent', to: `${spec.name} (${spec.url})` }];
  const changes: Change[] = [];
  for (const [what, value] of Object.entries(decided(spec))) {
    if (source[what] !== value) changes.push({ what, from: shown(source[what]), to: shown(value) });
  }
  const settings = isObject(source['jsonData']) ? source['jsonData'] : {};
  for (const [name, value] of Object.entries(spec.jsonData ?? {})) {
    if (digestOf(settings[name]) !== digestOf(value))
      changes.push({ what: `jsonData.${name}`, from: shown(settings[name]), to: shown(value) });
  }
  const secrets = Object.keys(spec.secureJsonData ?? {});
  const held = isObject(source['secureJsonFields']) ? source['secureJsonFields'] : {};
  const written = d.memory?.secretsOf === secretsDigest(d);
  for (const name of secrets) {
    if (held[name] !== true) changes.push({ what: `secret ${name}`, from: 'absent', to: '[secret]' });
    else if (!written) changes.push({ what: `secret ${name}`, from: 'unknown', to: '[secret]' });
  }
  return changes;
}

/** Of the desired state, which changes with its secrets: they are compared by nothing that could be guessed from. */
function secretsDigest(d: D): string {
  return d.spec.secureJsonData === undefined ? '' : d.digest;
}

/** What others set and the manifest does not name stays. */
function bodyOf(d: D, now: Source | undefined): Source {
  const { spec } = d;
  const before = now === undefined ? {} : comparable(now);
  const settings = isObject(before['jsonData']) ? before['jsonData'] : {};
  const secrets = Object.entries(spec.secureJsonData ?? {}).map(
    ([name, ref]) => [name, d.content(ref).bytes.toString()] as const,
  );
  return {
    ...before,
    ...decided(spec),
    jsonData: { ...settings, ...spec.jsonData },
    ...(secrets.length === 0 ? {} : { secureJsonData: Object.fromEntries(secrets) }),
  };
}

function comparable(source: Source): Source {
  return Object.fromEntries(Object.entries(source).filter(([name]) => !COUNTED.includes(name)));
}

function refuseProvisioned(uid: string, source: Source | undefined): void {
  if (source?.['readOnly'] !== true) return;
  throw new Stalled(
    'Provisioned',
    `data source ${uid} is kept by a file in Grafana's provisioning directory, and Grafana lets nobody else write it: change it there, or delete it there and restart Grafana`,
  );
}

function shown(value: unknown): string {
  return value === undefined || value === ''
    ? 'none'
    : typeof value === 'string'
      ? value
      : JSON.stringify(value);
}
