// GrafanaDashboard: a dashboard exists in Grafana, in its folder, as the manifest has it.
import * as z from 'zod';
import { Stalled, type Waiting } from '../../api/errors.ts';
import { digestOf } from '../../api/json.ts';
import { Grafana, GrafanaConnection, grafanaPermissions, poll, writing } from '../grafana-api.ts';
import { defineKind, type Finding } from '../kind.ts';
import { originOf } from '../shared/urls.ts';
import { YES } from '../shared/verdicts.ts';
import {
  bindInputs,
  DashboardError,
  differingParts,
  inputsOf,
  normalise,
  parseDashboard,
  partsOf,
} from './model.ts';
import { type PanelReport, panelsBefore, panelsConcern, panelsNow } from './panels.ts';
import { GrafanaDashboardSpec } from './schema.ts';
import { openStore, type Stored, schemaOf } from './store.ts';
import type { Dashboard } from './tree.ts';
import {
  changesOf,
  comparedAs,
  decideKept,
  folderUid,
  KeptDashboard,
  Memory,
  memoryOf,
  OURS,
  placeOf,
  wantedOf,
} from './wanted.ts';

type Needs = 'http' | 'clock';

interface Observed {
  readonly stored: Stored | undefined;
  readonly panels: PanelReport | Waiting | undefined;
}

/** How to go back. Secrets are named, not held. */
const Before = z.object({
  grafana: GrafanaConnection,
  uid: z.string(),
  dashboard: KeptDashboard.nullable(),
  folder: z.string(),
  /** Ours to remove when it is empty; null for none. */
  ourFolder: z.string().nullable(),
});
type Before = z.infer<typeof Before>;

const FORMS_KEPT = 3;
const DEFAULT_CHECK_MINUTES = 15;

export const grafanaDashboard = defineKind<GrafanaDashboardSpec, Observed, Needs, Before, Memory>({
  kind: 'GrafanaDashboard',
  scope: 'fleet',
  spec: GrafanaDashboardSpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['http', 'clock'],

  place: placeOf,
  owns: (spec) => [placeOf(spec)],
  permissions: ({ grafana }) => grafanaPermissions(grafana),
  // Dashboards of one Grafana make one folder between them.
  locks: ({ grafana }) => [`grafana:${originOf(grafana.url)}`],

  downloads({ grafanaCom }) {
    if (grafanaCom === undefined) return [];
    const { id, revision, sha256 } = grafanaCom;
    const url = `https://grafana.com/api/dashboards/${id}/revisions/${revision}/download`;
    return [{ path: ['grafanaCom'], url, sha256, into: ['content'] }];
  },

  check(spec): Finding[] {
    const { content, contentFrom, grafanaCom } = spec;
    if (content === undefined) {
      return contentFrom === undefined && grafanaCom === undefined
        ? [{ path: [], message: 'give the dashboard by content, contentFrom or grafanaCom' }]
        : [];
    }
    const path = [grafanaCom === undefined ? 'content' : 'grafanaCom'];
    try {
      return unbound(parseDashboard(content), spec.inputs ?? {}, path);
    } catch (error) {
      if (!(error instanceof DashboardError)) throw error;
      const place = grafanaCom === undefined ? error.place : undefined;
      return [{ path, message: error.message, ...(place === undefined ? {} : { place }) }];
    }
  },

  async observe(d, io, signal) {
    const grafana = new Grafana(d.spec.grafana, io.http, d.content, signal);
    const stored = await (await openStore(grafana)).read(d.spec.uid, comparedAs(d));
    // Asked of what is confirmed and in place only: neither a change nor a heal waits for Prometheus.
    const asks = d.heal && d.spec.panels?.check !== false;
    if (stored === undefined || !asks || changesOf(d, stored).length > 0)
      return { stored, panels: asks ? panelsBefore(d, io) : undefined };
    const everyMs = (d.spec.panels?.everyMinutes ?? DEFAULT_CHECK_MINUTES) * 60_000;
    return { stored, panels: await panelsNow(d, stored.dashboard, grafana, io, everyMs) };
  },

  diff: (d, { stored }) => changesOf(d, stored),

  // A dashboard works when it is there; a Grafana that can't be asked makes observe throw. Panels without data are a
  // condition: as many are empty for good reasons (a host without that sensor, nothing has failed yet), and what is
  // missing then is mended elsewhere.
  assess: () => YES,

  async prepare(d, { stored }, io, signal) {
    const { spec } = d;
    refuseProvisioned(spec.uid, stored);
    const store = await openStore(new Grafana(spec.grafana, io.http, d.content, signal));
    const folder = folderUid(spec);
    const ours = folder !== undefined && (folder.startsWith(OURS) || !(await store.hasFolder(folder)));
    if (folder !== undefined && spec.folder?.title === undefined && !(await store.hasFolder(folder))) {
      throw new Stalled('NoFolder', `there is no folder ${folder}: give it a title, and it is made`);
    }
    // In the schema that it is stored in: what Grafana makes of v2 for others lacks tabs, and more.
    const first = stored === undefined ? undefined : await store.read(spec.uid);
    const before = {
      grafana: spec.grafana,
      uid: spec.uid,
      dashboard: first?.dashboard ?? null,
      folder: first?.folder ?? '',
      ourFolder: ours ? folder : null,
    };
    return { existed: first !== undefined, before };
  },

  async apply(changes, d, io, signal) {
    if (changes.length === 0) return undefined; // a dashboard is in force when it is written
    const { spec } = d;
    const store = await openStore(new Grafana(spec.grafana, io.http, d.content, signal));
    const now = await store.read(spec.uid, comparedAs(d));
    const kept = decideKept(d, now);
    const memory = kept === undefined ? memoryOf(d) : { ...memoryOf(d), kept, keptOf: placeOf(spec) };
    const wanted = wantedOf(d, kept);
    if (now !== undefined && changesOf({ ...d, memory }, now).length === 0) return memory;
    refuseProvisioned(spec.uid, now);
    const folder = wanted.folder ?? now?.folder ?? '';
    const version = await writing(async () => {
      if (folder !== '' && !(await store.hasFolder(folder)))
        await store.createFolder(folder, spec.folder?.title ?? folder);
      return store.write(spec.uid, wanted.dashboard, folder, now);
    });
    const after = await store.read(spec.uid, schemaOf(wanted.dashboard));
    // What somebody else wrote meanwhile must not be taken for what Grafana made of ours.
    if (after === undefined || (version !== undefined && after.version !== version))
      throw new Error(`somebody else wrote dashboard ${spec.uid} at the same moment`);
    const form = {
      wanted: digestOf(normalise(wanted.dashboard)),
      parts: partsOf(normalise(after.dashboard)),
    };
    const others = memory.forms.filter((f) => f.wanted !== form.wanted).slice(0, FORMS_KEPT - 1);
    return { ...memory, forms: [form, ...others] };
  },

  async undo(before, { content }, io, signal) {
    const store = await openStore(new Grafana(before.grafana, io.http, content, signal));
    const was = before.dashboard === null ? undefined : schemaOf(before.dashboard);
    const now = await store.read(before.uid, was);
    await writing(async () => {
      if (before.dashboard === null) {
        if (now !== undefined) await store.remove(before.uid);
      } else if (now === undefined || !same(now, before)) {
        // Its folder may be gone meanwhile; it then lies at the top.
        const folder = before.folder === '' || (await store.hasFolder(before.folder)) ? before.folder : '';
        await store.write(before.uid, bindInputs(before.dashboard, {}), folder, now);
      }
      if (before.ourFolder !== null) await store.removeEmptyFolder(before.ourFolder);
    });
  },

  watch: (d, { clock }, wake, signal) => poll(clock, d.spec.pollSeconds, wake, signal),

  conditions: (_d, { panels }) => (panels === undefined ? [] : [panelsConcern(panels)]),
});

function same(now: Stored, before: Before): boolean {
  const differing = differingParts(partsOf(normalise(before.dashboard!)), partsOf(normalise(now.dashboard)));
  return differing.length === 0 && now.folder === before.folder;
}

/** @throws Stalled, with who keeps it and what to do. */
function refuseProvisioned(uid: string, stored: Stored | undefined): void {
  if (stored?.provisioned === undefined) return;
  throw new Stalled(
    'Provisioned',
    `dashboard ${uid} is kept by ${stored.provisioned}, and Grafana lets nobody else write it: take it out there, or take this document out of git`,
  );
}

function unbound(dashboard: Dashboard, inputs: Readonly<Record<string, string>>, path: string[]): Finding[] {
  const { required, optional } = inputsOf(dashboard);
  const all = [...required, ...optional];
  return [
    ...required
      .filter((name) => inputs[name] === undefined)
      .map((name) => ({
        path,
        message: `the dashboard's input ${name} is not bound: write inputs: { ${name}: <uid of a data source> }`,
      })),
    ...Object.keys(inputs)
      .filter((name) => !all.includes(name))
      .map((name) => ({
        path: ['inputs', name],
        message: `the dashboard has no input ${name}: it has ${all.join(', ') || 'none'}`,
      })),
  ];
}
