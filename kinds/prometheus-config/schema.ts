import * as z from 'zod';
import { Ref, SecretRef } from '../../api/documents.ts';
import { AbsolutePath, UnitName } from '../fields.ts';

/** YAML text of list items, as it would stand in prometheus.yml, without the indentation. */
const Items = z.strictObject({ content: z.string().optional(), contentFrom: z.string().min(1).optional() });

export const PrometheusConfigSpec = z.strictObject({
  /** Default /etc/prometheus/prometheus.yml. */
  path: AbsolutePath.optional(),
  /** Scrape jobs: items of scrape_configs. */
  scrapeConfigs: Items.optional(),
  /** Items of rule_files: paths, absolute or relative to the config. */
  ruleFiles: z
    .array(
      z
        .string()
        .min(1)
        .max(1024)
        .regex(/^[^\p{Cc}]+$/u, 'a path is one line'),
    )
    .optional(),
  /** Keep the inode: for a config that is mounted into a container as a single file. */
  inPlace: z.boolean().optional(),
  /**
   * Where the jobs stand: in a block of the config, or in a file of ours beside it that the config lists
   * (scrape_config_files, Prometheus 2.43). Default auto: as they stand already, else a file where Prometheus knows it.
   */
  form: z.enum(['auto', 'block', 'file']).optional(),
  /** Where Prometheus answers: host:port, or a URL, with the path that it is served below; default 127.0.0.1:9090. */
  address: z
    .string()
    .max(2048)
    .regex(
      /^(?:https?:\/\/(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?|(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5})(?:\/[A-Za-z0-9._~-]+)*$/,
      'an address is host:port, as 127.0.0.1:9090, or https://host:port, with the path that Prometheus is served below, as 127.0.0.1:9090/prometheus',
    )
    .optional(),
  /** Whom Prometheus knows us as (basic_auth_users of its --web.config.file). */
  user: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[^\p{Cc}]+$/u, 'a user is one line')
    .optional(),
  /** Of that user. */
  password: SecretRef.optional(),
  /** Sent as `Authorization: Bearer …`, to a proxy before Prometheus. */
  bearerToken: SecretRef.optional(),
  /** PEM file with the authority of its certificate; default those that the agent knows. */
  caFile: AbsolutePath.optional(),
  /** Prometheus's unit: reloaded (SIGHUP) where its lifecycle API is off. */
  unit: UnitName.optional(),
  /** Prometheus's container, by name: sent SIGHUP where its lifecycle API is off. */
  container: z
    .string()
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/, 'a container is named as in `docker ps`')
    .optional(),
  /** Documents that write what the config refers to (rule files, credentials): it is reloaded after them. */
  reloadOn: z.array(Ref).optional(),
  /** Default: promtool on PATH. */
  promtool: z
    .string()
    .regex(/^(?:\/\S+|[A-Za-z0-9._-]+)$/, 'a program is a name on PATH, or an absolute path')
    .optional(),
});
export type PrometheusConfigSpec = z.infer<typeof PrometheusConfigSpec>;
