/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): promtail's clients and scrape
 * configs as Alloy's components, in the order in which Alloy's converter writes them: what discovers, what
 * processes, what relabels, what reads.
 */
import { stages } from './convert-stages.ts';
import {
  attributes,
  block,
  type Found,
  list,
  type Mapping,
  map,
  refuseOthers,
  text,
} from './convert-text.ts';
import { Failure } from './load.ts';

const HTTP =
  'basic_auth, bearer_token, bearer_token_file, proxy_url, tls_config, follow_redirects, enable_http2';

/** One client. */
export function write(client: Mapping, index: number): string {
  const known = `url, batchwait, batchsize, timeout, headers, backoff_config, tenant_id, drop_rate_limited_batches, external_labels, ${HTTP}`;
  refuseOthers(client, known, 'a client');
  requireUrl(String(client['url'] ?? ''));
  const backoff = (client['backoff_config'] ?? {}) as Mapping;
  const endpoint = [
    ...attributes(
      client,
      'url, batchwait:batch_wait duration, batchsize:batch_size size, timeout:remote_timeout duration, headers map',
      'clients',
    ),
    ...attributes(
      backoff,
      'min_period:min_backoff_period duration, max_period:max_backoff_period duration, max_retries:max_backoff_retries number',
      'clients.backoff_config',
    ),
    ...attributes(client, 'tenant_id', 'clients'),
    ...(client['drop_rate_limited_batches'] === true ? ['retry_on_http_429 = false'] : []),
    ...http(client),
  ];
  const labels = (client['external_labels'] ?? {}) as Mapping;
  return block('loki.write', index === 0 ? 'default' : `default_${index + 1}`, [
    block('endpoint', undefined, endpoint),
    `external_labels = ${map(labels)}`,
  ]);
}

/** Go's net/url, as far as it was seen to refuse a client's (behaviour.md). */
function requireUrl(url: string): void {
  const why = /^[^/?#]*:/.test(url) && !/^[A-Za-z][A-Za-z0-9+.-]*:/.test(url);
  if (!why) return;
  const said = `parse ${JSON.stringify(url)}: first path segment in URL cannot contain colon`;
  throw new Failure(`(Critical) failed to parse Promtail config: ${said}`);
}

function http(from: Mapping): string[] {
  const inner = (name: string, fields: string): string[] =>
    from[name] === undefined ? [] : [block(name, undefined, attributes(from[name] as Mapping, fields, name))];
  const bearer: Mapping = {
    type: 'Bearer',
    credentials: from['bearer_token'],
    credentials_file: from['bearer_token_file'],
  };
  return [
    ...inner('basic_auth', 'username, password, password_file'),
    ...(from['bearer_token'] === undefined && from['bearer_token_file'] === undefined
      ? []
      : [
          block(
            'authorization',
            undefined,
            attributes(bearer, 'type, credentials, credentials_file', 'authorization'),
          ),
        ]),
    ...attributes(from, 'proxy_url', 'http'),
    ...inner('tls_config', 'ca_file, cert_file, key_file, server_name, insecure_skip_verify bool'),
    ...(from['follow_redirects'] === false ? ['follow_redirects = false'] : []),
    ...(from['enable_http2'] === false ? ['enable_http2 = false'] : []),
  ];
}

/** The components of one scrape config. @param positions a literal. */
export function scrapeConfig(
  config: Mapping,
  receivers: string[],
  positions: string,
  found: Found[],
): string[] {
  refuseOthers(
    config,
    'job_name, pipeline_stages, relabel_configs, static_configs, journal, docker_sd_configs, encoding',
    'a scrape config',
  );
  const job = String(config['job_name'] ?? '').replace(/[^A-Za-z0-9_]/g, '_');
  if (job === '')
    throw new Failure('(Critical) failed to sanitize job name: cannot generate a valid identifier');
  const made: string[] = [];
  const once = new Map<string, string>();
  /** Writes a component the first time it is referred to. */
  const component = (name: string, lines: () => string[]): string => {
    if (!once.has(name)) {
      const body = lines();
      made.push(block(name, job, body));
      once.set(name, `${name}.${job}`);
    }
    return once.get(name)!;
  };
  const pipeline = list(config['pipeline_stages']);
  const relabels = list(config['relabel_configs']);
  const forwardTo = (): string => {
    if (pipeline.length === 0) return `[${receivers.join(', ')}]`;
    const lines = (): string[] => [`forward_to = [${receivers.join(', ')}]`, ...stages(pipeline, found)];
    return `[${component('loki.process', lines)}.receiver]`;
  };
  const relabel = (targets: string): string | undefined =>
    relabels.length === 0
      ? undefined
      : component('discovery.relabel', () => [`targets = ${targets}`, ...relabels.map(rule)]);

  const targets = list(config['static_configs']).flatMap(staticTargets);
  const literal = targets.length === 0 ? '[]' : `[${targets.map(map).join(', ')}]`;
  if (targets.length > 0) {
    const forward = forwardTo();
    const from = relabel(literal);
    made.push(
      block('loki.source.file', job, [
        `targets = ${from === undefined ? literal : `${from}.output`}`,
        `forward_to = ${forward}`,
        ...attributes(config, 'encoding', 'scrape_configs'),
        block('file_match', undefined, ['enabled = true']),
        `legacy_positions_file = ${positions}`,
      ]),
    );
  }
  const rules = (): string => {
    const from = relabel(literal);
    return `relabel_rules = ${from === undefined ? 'null' : `${from}.rules`}`;
  };
  const journal = config['journal'] as Mapping | undefined;
  if (journal !== undefined) {
    refuseOthers(journal, 'json, max_age, path, labels', 'journal');
    const forward = forwardTo();
    const relabelled = rules();
    made.push(
      block('loki.source.journal', job, [
        ...(journal['json'] === true ? ['format_as_json = true'] : []),
        ...attributes(journal, 'max_age duration, path', 'journal'),
        relabelled,
        `forward_to = ${forward}`,
        `labels = ${map((journal['labels'] ?? {}) as Mapping)}`,
      ]),
    );
  }
  for (const [index, docker] of list(config['docker_sd_configs']).entries()) {
    refuseOthers(docker, 'host, port, host_networking_host, refresh_interval, filters', 'docker_sd_configs');
    const label = index === 0 ? job : `${job}_${index + 1}`;
    const interval = docker['refresh_interval'] === '1m' || docker['refresh_interval'] === '60s';
    const refresh = interval ? [] : attributes(docker, 'refresh_interval duration', 'docker_sd_configs');
    const host = `host = ${text(docker['host'] ?? '')}`;
    made.push(
      block('discovery.docker', label, [
        host,
        ...attributes(docker, 'port number, host_networking_host', 'docker_sd_configs'),
        ...refresh,
        ...list(docker['filters']).map((filter) =>
          block('filter', undefined, attributes(filter, 'name, values list', 'filters')),
        ),
      ]),
    );
    const forward = forwardTo();
    const relabelled = rules();
    made.push(
      block('loki.source.docker', label, [
        host,
        `targets = discovery.docker.${label}.targets`,
        `forward_to = ${forward}`,
        relabelled,
        ...refresh,
      ]),
    );
  }
  return made;
}

/** A target a member of `targets`, and localhost where there is none, as promtail has it. */
function staticTargets(group: Mapping): Mapping[] {
  refuseOthers(group, 'targets, labels', 'static_configs');
  const addresses = Array.isArray(group['targets']) ? (group['targets'] as unknown[]) : ['localhost'];
  return addresses.map((address) => ({ __address__: address, ...(group['labels'] as Mapping | undefined) }));
}

function rule(relabel: Mapping): string {
  const fields = 'source_labels list, separator, regex, modulus number, target_label, replacement, action';
  refuseOthers(relabel, fields.replaceAll(/ (list|number)/g, ''), 'relabel_configs');
  return block('rule', undefined, attributes(relabel, fields, 'relabel_configs'));
}
