import * as z from 'zod';
import { SecretRef } from '../../api/documents.ts';
import { GrafanaConnection, GrafanaUid, PollSeconds } from '../grafana-api.ts';

export const GrafanaDatasourceSpec = z.strictObject({
  grafana: GrafanaConnection,
  uid: GrafanaUid,
  /** As people see it. */
  name: z.string().min(1).max(190),
  /** The plugin: prometheus, loki, … */
  type: z.string().regex(/^[a-z0-9-]+$/, 'the type is the plugin’s id, as prometheus or loki'),
  /** Where Grafana reaches it, seen from Grafana itself: http://prometheus:9090 in its compose network. */
  url: z.string().regex(/^https?:\/\/[^\s]+$/, 'a URL begins with http:// or https://'),
  /** Default proxy: Grafana asks, not the browser. */
  access: z.enum(['proxy', 'direct']).optional(),
  /** Only true is kept: which other one is the default is theirs to say. */
  isDefault: z.literal(true).optional(),
  basicAuthUser: z.string().min(1).optional(),
  /** The plugin's settings; members that are not named here stay as they are. */
  jsonData: z.record(z.string(), z.json()).optional(),
  /** Its secrets, by the plugin's names: basicAuthPassword, httpHeaderValue1, … */
  secureJsonData: z.record(z.string(), SecretRef).optional(),
  pollSeconds: PollSeconds.optional(),
});
export type GrafanaDatasourceSpec = z.infer<typeof GrafanaDatasourceSpec>;
