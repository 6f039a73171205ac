/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): `alloy convert
 * --source-format=promtail`. Held to the recording convert-promtail; its other forms follow the documentation
 * of promtail and of Alloy's components, and the severities and report of Alloy's converter. What it does not
 * model it refuses, instead of guessing: that needs the real alloy.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { load, YAMLException } from 'js-yaml';
import { scrapeConfig, write } from './convert-promtail.ts';
import { type Found, list, type Mapping, refuseOthers, text } from './convert-text.ts';
import { format } from './format.ts';
import { Failure } from './load.ts';
import { parse } from './parser.ts';
import { Source } from './source.ts';

const FIELDS =
  'global, server, client, clients, positions, scrape_configs, target_config, limits_config, options, tracing, wal';
const MODELLED = 'server, client, clients, positions, scrape_configs, target_config, tracing, wal';

/** @param flags those of convert, by their long names. @throws Failure as alloy's last line says it */
export function convertCommand(flags: ReadonlyMap<string, string>, path: string): void {
  const sourceFormat = flags.get('--source-format');
  if (sourceFormat === undefined) throw new Failure('source-format is a required flag');
  if (sourceFormat !== 'promtail')
    throw new Failure(
      `homeostat's stand-in for Grafana Alloy converts promtail only, and not ${sourceFormat}`,
    );
  if (path !== '-' && !statSync(path, { throwIfNoEntry: false }))
    throw new Failure(`stat ${path}: no such file or directory`);
  const found: Found[] = [];
  const converted = convert(readFileSync(path === '-' ? 0 : path, 'utf8'), found);
  const bypass = flags.has('--bypass-errors');
  const worst = (severity: Found['severity']): Found[] => found.filter((one) => one.severity === severity);
  const report = flags.get('--report');
  const critical = worst('Critical');
  const errors = worst('Error');
  const shown = critical.length > 0 ? critical : errors.length > 0 && !bypass ? errors : found;
  const words = shown.map((one) => `(${one.severity}) ${one.summary}`).join('\n');
  if (report !== undefined)
    writeFileSync(report, `${words}\n\n${footer(critical.length, errors.length, bypass)}`);
  if (converted === undefined || critical.length > 0 || (errors.length > 0 && !bypass)) {
    throw new Failure(found.map((one) => `(${one.severity}) ${one.summary}`).join('\n'));
  }
  const output = flags.get('--output');
  if (output === undefined) process.stdout.write(converted);
  else writeFileSync(output, converted);
}

function footer(critical: number, errors: number, bypass: boolean): string {
  if (critical > 0) return 'A configuration file was not generated due to critical issues.';
  if (errors > 0 && !bypass) return 'A configuration file was not generated due to errors.';
  return 'A configuration file was generated successfully.';
}

function convert(yaml: string, found: Found[]): string | undefined {
  const critical = (summary: string): undefined => {
    found.push({ severity: 'Critical', summary: `failed to parse Promtail config: ${summary}` });
  };
  let config: unknown;
  try {
    config = load(yaml);
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const line = (error.mark?.line ?? 0) + 1;
    return critical(`yaml: line ${line}: ${error.reason}`);
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    return critical('yaml: unmarshal errors:\n  line 1: cannot unmarshal into config.plain');
  const top = config as Mapping;
  const unknown = Object.keys(top).filter((key) => !FIELDS.split(', ').includes(key));
  if (unknown.length > 0) {
    const lines = unknown.map(
      (key) => `  line ${lineOf(yaml, key)}: field ${key} not found in type config.plain`,
    );
    return critical(`yaml: unmarshal errors:\n${lines.join('\n')}`);
  }
  refuseOthers(top, MODELLED, 'the top of a promtail config');
  whatIsNotCarriedOver(top, found);

  const clients = [
    ...list(top['clients']),
    ...(top['client'] === undefined ? [] : [top['client'] as Mapping]),
  ];
  const receivers = clients.map(
    (_, index) => `loki.write.default${index === 0 ? '' : `_${index + 1}`}.receiver`,
  );
  const positions = (top['positions'] as Mapping | undefined)?.['filename'] ?? '/var/log/positions.yaml';
  const blocks = [
    ...list(top['scrape_configs']).flatMap((one) => scrapeConfig(one, receivers, text(positions), found)),
    ...clients.map((client, index) => write(client, index)),
  ];
  return format(parse(new Source('converted', blocks.join('\n\n'))));
}

/** The converter's own sentences about what has no counterpart. */
function whatIsNotCarriedOver(top: Mapping, found: Found[]): void {
  const of = (key: string): Mapping => (top[key] ?? {}) as Mapping;
  const say = (severity: Found['severity'], summary: string): void => {
    found.push({ severity, summary });
  };
  if (of('wal')['enabled'] === true) say('Error', "Promtail's WAL is currently not supported in Alloy");
  if (of('tracing')['enabled'] !== false)
    say(
      'Warning',
      'If you have a tracing set up for Promtail, it cannot be migrated to Alloy automatically. Refer to the documentation on how to configure tracing in Alloy.',
    );
  if (of('target_config')['stdin'] === true)
    say('Error', 'reading targets from stdin is not supported in Alloy configuration file');
  if (of('server')['register_instrumentation'] !== false)
    say(
      'Warning',
      "Alloy's metrics are different from the metrics emitted by Promtail. If you rely on Promtail's metrics, you must change your configuration, for example, your alerts and dashboards.",
    );
  if (!['info', undefined].includes(of('server')['log_level'] as string | undefined))
    say(
      'Warning',
      'The converter does not support converting the provided server.log_level config: The equivalent feature in Alloy is to use the logging config block to set the level argument.',
    );
  if (of('server')['http_path_prefix'] !== undefined)
    say('Error', 'server.http_path_prefix is not supported');
}

function lineOf(yaml: string, key: string): number {
  return yaml.split('\n').findIndex((line) => line.includes(`${key}:`)) + 1;
}
