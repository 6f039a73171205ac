// GrafanaDashboard: a dashboard exists in Grafana, in its folder, as the manifest has it.
import * as z from 'zod';
import { Stalled, type Waiting } from '../../api/errors.ts';
import { digestOf } from '../../api/json.ts';
import {
  Grafana,
  GrafanaConnection,
  grafanaAsks,
  grafanaClaim,
  originOf,
  poll,
  writing,
} from '../grafana-api.ts';
import { type Change, type Claim, type Desired, defineKind, type Finding } from '../kind.ts';
import { YES } from '../shared/verdicts.ts';
import {
  bindInputs,
  type Dashboard,
  DashboardError,
  differingParts,
  inputsOf,
  normalise,
  type Parts,
  parseDashboard,
  partsOf,
} from './model.ts';
import { type PanelReport, panelsBefore, panelsConcern, panelsNow } from './panels.ts';
import { GrafanaDashboardSpec } from './schema.ts';
import { openStore, type Stored } from './store.ts';

type Needs = 'http' | 'clock';
type D = Desired<GrafanaDashboardSpec, Memory>;

interface Observed {
  readonly stored: Stored | undefined;
  readonly panels: PanelReport | Waiting | undefined;
}

const Kept = z.record(z.string(), z.unknown());

/** How to go back. Secrets are named, not held. */
const Before = z.object({
  grafana: GrafanaConnection,
  uid: z.string(),
  dashboard: Kept.nullable(),
  folder: z.string(),
  /** Ours to remove when it is empty; null for none. */
  ourFolder: z.string().nullable(),
});
type Before = z.infer<typeof Before>;

/** What earlier writes left. */
const Memory = z.object({
  /** What Grafana made of what we wrote, the newest first: its migrations are no drift. */
  forms: z.array(z.object({ wanted: z.string(), parts: z.record(z.string(), z.string()) })),
  /** With adoptDeployed: what stood there at the first look; null when nothing did. */
  kept: z.object({ dashboard: Kept, folder: z.string() }).nullish(),
  /** The place that `kept` is of. */
  keptOf: z.string().optional(),
});
type Memory = z.infer<typeof Memory>;

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
  asks: ({ grafana }) => grafanaAsks(grafana),
  // Dashboards of one Grafana make one folder between them.
  locks: ({ grafana }) => [`grafana:${originOf(grafana)}`],

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
    const stored = await (await openStore(grafana)).read(d.spec.uid);
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
    const before = {
      grafana: spec.grafana,
      uid: spec.uid,
      dashboard: stored?.dashboard ?? null,
      folder: stored?.folder ?? '',
      ourFolder: ours ? folder : null,
    };
    return { existed: stored !== undefined, before };
  },

  async apply(changes, d, io, signal) {
    if (changes.length === 0) return undefined; // a dashboard is in force when it is written
    const { spec } = d;
    const store = await openStore(new Grafana(spec.grafana, io.http, d.content, signal));
    const now = await store.read(spec.uid);
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
    const after = await store.read(spec.uid);
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
    const now = await store.read(before.uid);
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

function placeOf({ grafana, uid }: GrafanaDashboardSpec): Claim {
  return grafanaClaim(grafana, 'dashboards', uid);
}

const OURS = 'homeostat-';

function folderUid({ folder }: GrafanaDashboardSpec): string | undefined {
  if (folder === undefined) return undefined;
  const slug = (folder.title ?? '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return folder.uid ?? `${OURS}${slug || 'folder'}`.slice(0, 40);
}

function memoryOf({ memory = { forms: [] }, spec }: D): Memory {
  // What was kept of another dashboard says nothing of this one.
  const isOther = memory.keptOf !== undefined && memory.keptOf !== placeOf(spec);
  return isOther ? { forms: memory.forms } : memory;
}

/** What was kept, or is to be; undefined where the manifest alone decides. */
function decideKept(d: D, now: Stored | undefined): Memory['kept'] {
  if (d.spec.adoptDeployed !== true) return undefined;
  const { kept } = memoryOf(d);
  if (kept !== undefined) return kept;
  if (now === undefined) return null;
  const ours = partsOf(normalise(contentOf(d)));
  const isOurs = differingParts(ours, partsOf(normalise(now.dashboard))).length === 0;
  return isOurs ? null : { dashboard: bindInputs(now.dashboard, {}), folder: now.folder };
}

function contentOf(d: D): Dashboard {
  try {
    return bindInputs(parseDashboard(d.spec.content ?? ''), d.spec.inputs ?? {});
  } catch (error) {
    if (error instanceof DashboardError) throw new Stalled('Invalid', error.message);
    throw error;
  }
}

function wantedOf(d: D, kept: Memory['kept']): { dashboard: Dashboard; folder: string | undefined } {
  const folder = folderUid(d.spec);
  return kept === undefined || kept === null
    ? { dashboard: contentOf(d), folder }
    : { dashboard: kept.dashboard, folder: folder ?? kept.folder };
}

function changesOf(d: D, stored: Stored | undefined): Change[] {
  const memory = memoryOf(d);
  const kept = d.spec.adoptDeployed === true ? memory.kept : undefined;
  const want = wantedForm(d, kept);
  const after = () => pretty(normalise(wantedOf(d, kept).dashboard));
  if (stored === undefined) {
    const text = { before: '', after: after(), secret: false };
    return [{ what: 'dashboard', from: 'absent', to: want.title, text }];
  }
  if (d.spec.adoptDeployed === true && memory.kept === undefined)
    return [{ what: 'dashboard', from: 'deployed by somebody else', to: 'kept true as it is' }];
  const changes: Change[] = [];
  const found = normalise(stored.dashboard);
  const parts = partsOf(found);
  const form = memory.forms.find((f) => f.wanted === want.digest);
  const direct = differingParts(want.parts, parts);
  const differing = direct.length === 0 ? direct : differingParts(form?.parts ?? want.parts, parts);
  if (differing.length > 0) {
    const text = { before: pretty(found), after: after(), secret: false };
    changes.push({
      what: 'dashboard',
      from: `edited: ${shortList(differing)}`,
      to: 'as in the manifest',
      text,
    });
  }
  const folder = folderUid(d.spec) ?? kept?.folder;
  if (folder !== undefined && folder !== stored.folder)
    changes.push({ what: 'folder', from: stored.folder || 'none', to: folder || 'none' });
  return changes;
}

interface Form {
  readonly title: string;
  readonly digest: string;
  readonly parts: Parts;
}

/** A manifest's dashboard may have half a megabyte: it is taken apart once, and not at every look. */
const forms = new WeakMap<GrafanaDashboardSpec, Form>();

function wantedForm(d: D, kept: Memory['kept']): Form {
  const known = kept ? undefined : forms.get(d.spec);
  if (known !== undefined) return known;
  const dashboard = normalise(wantedOf(d, kept).dashboard);
  const form = { title: String(dashboard['title']), digest: digestOf(dashboard), parts: partsOf(dashboard) };
  if (!kept) forms.set(d.spec, form);
  return form;
}

function shortList(names: readonly string[]): string {
  return names.length <= 5
    ? names.join(', ')
    : `${names.slice(0, 4).join(', ')} and ${names.length - 4} more parts`;
}

function pretty(dashboard: Dashboard): string {
  const sorted = Object.fromEntries(Object.entries(dashboard).sort(([a], [b]) => (a < b ? -1 : 1)));
  return `${JSON.stringify(sorted, null, 2)}\n`;
}

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
