/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): which attributes and
 * blocks each component takes. Read from Alloy 1.18's reference documentation; only the components that
 * homeostat's manifests, the recordings and converted promtail configs use. Any other name is answered
 * as Alloy answers one that does not exist.
 *
 * Notation: `name type` pairs; `!` marks what is required, in the order in which Alloy misses it.
 */

export type ValueType =
  | 'string'
  | 'number'
  | 'bool'
  | 'duration'
  | 'strings'
  | 'targets'
  | 'receivers'
  | 'map'
  | 'rules'
  | 'any';

export interface Body {
  attributes: Map<string, { type: ValueType; required: boolean }>;
  blocks: Map<string, { body: Body; many: boolean; required: boolean }>;
  /** Blocks named `<prefix>.…` are taken as they come (loki.process stages). */
  anyBlock?: string;
}

export interface ComponentSchema extends Body {
  /** What other components may refer to, and which way data flows over that reference. */
  exports: Partial<Record<string, 'pushed' | 'pulled' | 'shared'>>;
  liveDebugging: boolean;
  /** Taken only with --feature.community-components.enabled. */
  community?: true;
}

function body(attributes: string, blocks: Record<string, Body> = {}): Body {
  const map: Body['attributes'] = new Map();
  for (const pair of attributes.split(',')) {
    const [name = '', type] = pair.trim().split(/\s+/);
    if (name === '') continue;
    map.set(name.replace('!', ''), { type: (type ?? 'string') as ValueType, required: name.endsWith('!') });
  }
  const entries = Object.entries(blocks).map(
    ([name, inner]) =>
      [
        name.replace(/[!*]/g, ''),
        { body: inner, many: name.includes('*'), required: name.includes('!') },
      ] as const,
  );
  return { attributes: map, blocks: new Map(entries) };
}

function merge(...bodies: Body[]): Body {
  return {
    attributes: new Map(bodies.flatMap((one) => [...one.attributes])),
    blocks: new Map(bodies.flatMap((one) => [...one.blocks])),
  };
}

const proxy = body('proxy_url, no_proxy, proxy_from_environment bool, proxy_connect_header map');
const tls = body(
  'ca_pem, ca_file, cert_pem, cert_file, key_pem, key_file, server_name, insecure_skip_verify bool, min_version',
);
const oauth2 = merge(
  body('client_id, client_secret, client_secret_file, scopes strings, token_url, endpoint_params map'),
  proxy,
  body('', { tls_config: tls }),
);
const httpClient = merge(
  body('bearer_token, bearer_token_file, follow_redirects bool, enable_http2 bool, http_headers map', {
    basic_auth: body('username, password, password_file'),
    authorization: body('type, credentials, credentials_file'),
    oauth2,
    tls_config: tls,
  }),
  proxy,
);
const rule = body(
  'source_labels strings, separator, regex, modulus number, target_label, replacement, action',
);

const scrape = merge(
  body(
    `targets! targets, forward_to! receivers, job_name, honor_labels bool, honor_timestamps bool,
    track_timestamps_staleness bool, params map, scrape_classic_histograms bool, scrape_native_histograms bool,
    scrape_failure_log_file, scrape_interval duration, scrape_timeout duration, scrape_protocols strings,
    metrics_path, scheme, body_size_limit, sample_limit number, target_limit number, label_limit number,
    label_name_length_limit number, label_value_length_limit number, extra_metrics bool,
    enable_protobuf_negotiation bool, metric_name_validation_scheme, metric_name_escaping_scheme,
    scrape_fallback_protocol, convert_classic_histograms_to_nhcb bool, enable_compression bool,
    native_histogram_bucket_limit number, native_histogram_min_bucket_factor number, honor_metadata bool,
    enable_type_and_unit_labels bool, start_timestamp_zero_ingestion bool`,
    { clustering: body('enabled! bool') },
  ),
  httpClient,
);

const devices = body('device_exclude, device_include');
const unix = body(
  `include_exporter_metrics bool, procfs_path, sysfs_path, rootfs_path, udev_data_path,
  enable_collectors strings, disable_collectors strings, set_collectors strings`,
  {
    arp: merge(devices, body('netlink bool')),
    bcache: body('priority_stats bool'),
    cpu: body('bugs_include, guest bool, info bool, flags_include'),
    disk: devices,
    ethtool: merge(devices, body('metrics_include')),
    filesystem: body('fs_types_exclude, mount_points_exclude, mount_timeout duration'),
    hwmon: body('chip_exclude, chip_include'),
    ipvs: body('backend_labels strings'),
    ntp: body(
      `ip_ttl number, local_offset_tolerance duration, max_distance duration, protocol_version number,
      server, server_is_local bool`,
    ),
    netclass: body('ignore_invalid_speed_device bool, ignored_devices'),
    netdev: merge(devices, body('address_info bool')),
    netstat: body('fields'),
    perf: body(
      `cpus, tracepoint strings, disable_hardware_profilers bool, disable_software_profilers bool,
      disable_cache_profilers bool, hardware_profilers strings, software_profilers strings, cache_profilers strings`,
    ),
    powersupply: body('ignored_supplies'),
    runit: body('service_dir'),
    supervisord: body('url'),
    sysctl: body('include strings, include_info strings'),
    systemd: body('enable_restarts bool, start_time bool, task_metrics bool, unit_exclude, unit_include'),
    tapestats: body('ignored_devices'),
    textfile: body('directory'),
    vmstat: body('fields'),
  },
);

const remoteWrite = body('external_labels map', {
  'endpoint*': merge(
    body(
      `name, url!, remote_timeout duration, headers map, send_exemplars bool, send_native_histograms bool,
      protobuf_message, round_robin_dns bool`,
      {
        queue_config: body(
          `capacity number, max_shards number, min_shards number, max_samples_per_send number,
          batch_send_deadline duration, min_backoff duration, max_backoff duration, retry_on_http_429 bool,
          sample_age_limit duration`,
        ),
        metadata_config: body('send bool, send_interval duration, max_samples_per_send number'),
        'write_relabel_config*': rule,
        sigv4: body(
          `region, access_key, secret_key, profile, role_arn, external_id, use_fips_sts_endpoint bool,
          service_name`,
        ),
        azuread: body('cloud, scope', {
          managed_identity: body('client_id!'),
          workload_identity: body('client_id!, tenant_id!, token_file_path'),
          oauth: body('client_id!, client_secret!, tenant_id!'),
          sdk: body('tenant_id!'),
        }),
        google_iam: body('credentials_file'),
      },
    ),
    httpClient,
  ),
  wal: body('truncate_frequency duration, min_keepalive_time duration, max_keepalive_time duration'),
});

const lokiWrite = body('external_labels map, max_streams number', {
  'endpoint*': merge(
    body(
      `name, url!, batch_wait duration, batch_size, remote_timeout duration, headers map,
      min_backoff_period duration, max_backoff_period duration, max_backoff_retries number, tenant_id,
      retry_on_http_429 bool`,
      {
        queue_config: body('capacity, min_shards number, drain_timeout duration, block_on_overflow bool'),
      },
    ),
    httpClient,
  ),
  wal: body(
    `enabled bool, max_segment_age duration, min_read_frequency duration, max_read_frequency duration,
    drain_timeout duration`,
  ),
});

function component(
  schema: Body,
  exports: ComponentSchema['exports'] = {},
  liveDebugging = false,
): ComponentSchema {
  return { ...schema, exports, liveDebugging };
}

export const components: ReadonlyMap<string, ComponentSchema> = new Map([
  ['prometheus.exporter.unix', component(unix, { targets: 'pulled' })],
  ['prometheus.exporter.self', component(body(''), { targets: 'pulled' })],
  ['prometheus.scrape', component(scrape, {}, true)],
  [
    'prometheus.relabel',
    component(
      body('forward_to! receivers, max_cache_size number, cache_ttl duration', { 'rule*': rule }),
      { receiver: 'pushed', rules: 'shared' },
      true,
    ),
  ],
  ['prometheus.remote_write', component(remoteWrite, { receiver: 'pushed' }, true)],
  [
    'loki.source.journal',
    component(
      body(
        `format_as_json bool, max_age duration, path, relabel_rules rules, matches, forward_to! receivers,
        labels map`,
        { legacy_position: body('file!, name!') },
      ),
    ),
  ],
  [
    'loki.source.file',
    component(
      body(
        `targets! targets, forward_to! receivers, encoding, tail_from_end bool, legacy_positions_file,
        on_positions_file_error`,
        {
          decompression: body('enabled! bool, initial_delay duration, format!'),
          file_watch: body('min_poll_frequency duration, max_poll_frequency duration'),
          file_match: body('enabled bool, sync_period duration, ignore_older_than duration'),
        },
      ),
    ),
  ],
  [
    'loki.source.docker',
    component(
      body(
        `host!, targets! targets, forward_to! receivers, labels map, relabel_rules rules,
        refresh_interval duration`,
        { http_client_config: httpClient },
      ),
    ),
  ],
  [
    'loki.relabel',
    component(
      body('forward_to! receivers, max_cache_size number', { 'rule*': rule }),
      { receiver: 'pushed', rules: 'shared' },
      true,
    ),
  ],
  [
    'loki.process',
    component({ ...body('forward_to! receivers'), anyBlock: 'stage' }, { receiver: 'pushed' }, true),
  ],
  ['loki.write', component(lokiWrite, { receiver: 'pushed' })],
  ['loki.echo', component(body(''), { receiver: 'pushed' })],
  [
    'otelcol.exporter.datadog',
    {
      ...component(
        body('hostname, only_metadata bool, hostname_detection_timeout duration', {
          'api!': body('api_key!, site, fail_on_invalid_key bool'),
        }),
        { input: 'pushed' },
      ),
      community: true,
    },
  ],
  [
    'local.file_match',
    component(body('path_targets! targets, sync_period duration, ignore_older_than duration'), {
      targets: 'pulled',
    }),
  ],
  [
    'local.file',
    component(body('filename!, detector, poll_frequency duration, is_secret bool'), { content: 'shared' }),
  ],
  [
    'discovery.relabel',
    component(body('targets! targets', { 'rule*': rule }), { output: 'pulled', rules: 'shared' }, true),
  ],
  [
    'discovery.docker',
    component(
      merge(
        body(
          'host!, port number, host_networking_host, refresh_interval duration, match_first_network bool',
          { 'filter*': body('name!, values! strings') },
        ),
        httpClient,
      ),
      { targets: 'pulled' },
    ),
  ],
]);

/** Blocks that configure Alloy itself; they have no label and nothing refers to them. */
export const services: ReadonlyMap<string, Body> = new Map([
  ['logging', body('level, format, destination, write_to receivers')],
  [
    'tracing',
    {
      ...body('sampling_fraction number, write_to receivers'),
      anyBlock: 'sampler',
    },
  ],
  ['livedebugging', body('enabled bool')],
  [
    'http',
    body('', {
      auth: { ...body(''), anyBlock: '' },
      tls: body(
        `cert_pem, cert_file, key_pem, key_file, client_ca_pem, client_ca_file, client_auth_type,
        cipher_suites strings, curve_preferences strings, min_version, max_version`,
      ),
    }),
  ],
]);

/** Blocks of Alloy's language that the stand-in refuses to guess at. */
export const notModelled: ReadonlySet<string> = new Set([
  'argument',
  'export',
  'declare',
  'foreach',
  'import.file',
  'import.git',
  'import.http',
  'import.string',
  'remotecfg',
]);
