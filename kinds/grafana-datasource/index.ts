// GrafanaDatasource: a data source exists in Grafana as the manifest has it. Through /api/datasources, in every
// Grafana: its place under /apis is an alpha version, behind a feature toggle, and may go any day
// (docs/decisions/0016).
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import { digestOf } from '../../api/json.ts';
import {
  GrafanaConnection,
  grafanaClaim,
  grafanaPermissions,
  isObject,
  poll,
  writing,
} from '../grafana-api.ts';
import { type Change, type Desired, defineKind } from '../kind.ts';
import { excerpt } from '../shared/excerpt.ts';
import { originOf } from '../shared/urls.ts';
import { no, notYet, unknown, YES } from '../shared/verdicts.ts';
import { Datasources, type Health, type Source } from './api.ts';
import { GrafanaDatasourceSpec } from './schema.ts';

type Needs = 'http' | 'clock';
type D = Desired<GrafanaDatasourceSpec, Memory>;

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

/** For a server that is started anew with the change. */
const WITHIN_MS = 30_000;
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
  permissions: ({ grafana, url }) => [
    ...grafanaPermissions(grafana),
    // It sends its secrets there, and its health check says what answers.
    { type: 'url', value: originOf(url), why: 'Grafana is pointed there' },
  ],
  // One default between them.
  locks: ({ grafana }) => [`grafana:${originOf(grafana.url)}`],

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
    const api = new Datasources(d.spec.grafana, io.http, d.content, signal);
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
    const evidence = excerpt(`Grafana cannot use it: ${health.message}`);
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
    const api = new Datasources(grafana, io.http, d.content, signal);
    const otherDefault = isDefault === true ? await api.defaultOtherThan(uid) : undefined;
    const wasHealthy = source !== undefined && (await api.health(uid)).is === 'Healthy';
    const before = { grafana, uid, source: source ?? null, otherDefault: otherDefault ?? null, wasHealthy };
    return { existed: source !== undefined, before };
  },

  async apply(changes, d, io, signal) {
    if (changes.length === 0) return undefined; // in force when it is written
    const api = new Datasources(d.spec.grafana, io.http, d.content, signal);
    const now = await api.read(d.spec.uid);
    refuseProvisioned(d.spec.uid, now);
    await writing(() => api.write(d.spec.uid, bodyOf(d, now), now));
    return { secretsOf: secretsDigest(d) };
  },

  async undo(before, { content }, io, signal) {
    const api = new Datasources(before.grafana, io.http, content, signal);
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
