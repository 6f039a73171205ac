// What a dashboard is to be: as the manifest has it, or as it stood there first (adoptDeployed); and how what stands there
// differs from that. Pure.
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import { digestOf } from '../../api/json.ts';
import { grafanaClaim } from '../grafana-api.ts';
import type { Change, Claim, Desired } from '../kind.ts';
import {
  bindInputs,
  DashboardError,
  differingParts,
  normalise,
  type Parts,
  parseDashboard,
  partsOf,
} from './model.ts';
import type { GrafanaDashboardSpec } from './schema.ts';
import { type Schema, type Stored, schemaOf } from './store.ts';
import type { Dashboard } from './tree.ts';

export const KeptDashboard = z.record(z.string(), z.unknown());

/** What earlier writes left. */
export const Memory = z.object({
  /** What Grafana made of what we wrote, the newest first: its migrations are no drift. */
  forms: z.array(z.object({ wanted: z.string(), parts: z.record(z.string(), z.string()) })),
  /** With adoptDeployed: what stood there at the first look; null when nothing did. */
  kept: z.object({ dashboard: KeptDashboard, folder: z.string() }).nullish(),
  /** The place that `kept` is of. */
  keptOf: z.string().optional(),
});
export type Memory = z.infer<typeof Memory>;

export type D = Desired<GrafanaDashboardSpec, Memory>;

export function placeOf({ grafana, uid }: GrafanaDashboardSpec): Claim {
  return grafanaClaim(grafana, 'dashboards', uid);
}

export const OURS = 'homeostat-';

export function folderUid({ folder }: GrafanaDashboardSpec): string | undefined {
  if (folder === undefined) return undefined;
  const slug = (folder.title ?? '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return folder.uid ?? `${OURS}${slug || 'folder'}`.slice(0, 40);
}

export function memoryOf({ memory = { forms: [] }, spec }: D): Memory {
  // What was kept of another dashboard says nothing of this one.
  const isOther = memory.keptOf !== undefined && memory.keptOf !== placeOf(spec);
  return isOther ? { forms: memory.forms } : memory;
}

/** What was kept, or is to be; undefined where the manifest alone decides. */
export function decideKept(d: D, now: Stored | undefined): Memory['kept'] {
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

export function wantedOf(d: D, kept: Memory['kept']): { dashboard: Dashboard; folder: string | undefined } {
  const folder = folderUid(d.spec);
  return kept === undefined || kept === null
    ? { dashboard: contentOf(d), folder }
    : { dashboard: kept.dashboard, folder: folder ?? kept.folder };
}

/** As which it is to be read for a comparison; undefined for as it is stored, to be kept so. */
export function comparedAs(d: D): Schema | undefined {
  const kept = d.spec.adoptDeployed === true ? memoryOf(d).kept : null;
  return kept === undefined ? undefined : wantedForm(d, kept).schema;
}

export function changesOf(d: D, stored: Stored | undefined): Change[] {
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
  readonly schema: Schema;
  readonly digest: string;
  readonly parts: Parts;
}

/** A manifest's dashboard may have half a megabyte: it is taken apart once, and not at every look. */
const forms = new WeakMap<GrafanaDashboardSpec, Form>();

function wantedForm(d: D, kept: Memory['kept']): Form {
  const known = kept ? undefined : forms.get(d.spec);
  if (known !== undefined) return known;
  const dashboard = normalise(wantedOf(d, kept).dashboard);
  const form = {
    title: String(dashboard['title']),
    schema: schemaOf(dashboard),
    digest: digestOf(dashboard),
    parts: partsOf(dashboard),
  };
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
