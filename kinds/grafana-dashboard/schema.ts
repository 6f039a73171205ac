import * as z from 'zod';
import { GrafanaConnection, GrafanaUid, PollSeconds } from '../grafana-api.ts';

export const GrafanaDashboardSpec = z.strictObject({
  grafana: GrafanaConnection,
  uid: GrafanaUid,
  /** Where it lies; without it, it stays where it is, and a new one lies at the top. */
  folder: z
    .strictObject({
      /** Default: `homeostat-` and the title. A folder of such a name is ours, and goes with its last dashboard. */
      uid: GrafanaUid.optional(),
      /** A folder that is absent is made with this title. */
      title: z.string().min(1).max(189).optional(),
    })
    .refine((f) => f.uid !== undefined || f.title !== undefined, {
      message: 'name the folder by its title, its uid, or both',
    })
    .optional(),
  /** The dashboard's JSON, as Grafana exports it: classic, or of schema v2. */
  content: z.string().optional(),
  contentFrom: z.string().min(1).optional(),
  /** Or a dashboard of grafana.com, which the controller downloads once. */
  grafanaCom: z
    .strictObject({
      id: z.int().min(1),
      revision: z.int().min(1),
      /** Of the bytes that /api/dashboards/ID/revisions/REVISION/download gives. */
      sha256: z.string().regex(/^[0-9a-f]{64}$/, 'a sha256 has 64 hex digits, in lower case'),
    })
    .optional(),
  /**
   * What the dashboard's inputs and data source variables are bound to: `DS_PROMETHEUS: <uid of a data source>`; in an
   * export of schema v2 its labels, too: `prometheus-1: <uid of a data source>`.
   */
  inputs: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]*$/), z.string().min(1)).optional(),
  /**
   * A dashboard of this uid that stands there already is kept true as it is, and the content is only for a Grafana
   * that has none. `homeostat import grafana-dashboard` brings it into git.
   */
  adoptDeployed: z.boolean().optional(),
  /** Whether panels without data are told (PanelsEmpty), and how often they are looked for; default every 15 minutes. */
  panels: z
    .strictObject({ check: z.boolean().optional(), everyMinutes: z.int().min(1).max(1440).optional() })
    .optional(),
  pollSeconds: PollSeconds.optional(),
});
export type GrafanaDashboardSpec = z.infer<typeof GrafanaDashboardSpec>;
