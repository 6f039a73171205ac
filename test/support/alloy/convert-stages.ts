/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): promtail's pipeline stages as
 * blocks of loki.process. promtail: https://grafana.com/docs/loki/latest/send-data/promtail/stages/
 */
import { attributes, block, type Found, list, type Mapping, refuseOthers, value } from './convert-text.ts';

/** By promtail's name: Alloy's, and the fields in the order in which Alloy prints them. */
const STAGES: Readonly<Record<string, readonly [name: string, fields: string]>> = {
  docker: ['docker', ''],
  decolorize: ['decolorize', ''],
  cri: ['cri', 'max_partial_lines number, max_partial_line_size number, max_partial_line_size_truncate bool'],
  json: ['json', 'expressions map, source, drop_malformed bool'],
  logfmt: ['logfmt', 'mapping map, source'],
  regex: ['regex', 'expression, source'],
  replace: ['replace', 'expression, source, replace'],
  timestamp: ['timestamp', 'source, format, fallback_formats list, location, action_on_failure'],
  output: ['output', 'source'],
  template: ['template', 'source, template'],
  tenant: ['tenant', 'label, source, value'],
  limit: ['limit', 'rate number, burst number, drop bool, by_label_name, max_distinct_labels number'],
  multiline: ['multiline', 'firstline, max_lines number, max_wait_time duration'],
  drop: [
    'drop',
    'drop_counter_reason, source, value, separator, expression, older_than duration, longer_than size',
  ],
  sampling: ['sampling', 'drop_counter_reason, rate number'],
  pack: ['pack', 'labels list'],
};
/** Stages that are a map or a list as a whole. */
const WHOLE: Readonly<Record<string, readonly [name: string, kind: 'map' | 'list']>> = {
  labels: ['labels', 'map'],
  static_labels: ['static_labels', 'map'],
  structured_metadata: ['structured_metadata', 'map'],
  labeldrop: ['label_drop', 'list'],
  labelallow: ['label_keep', 'list'],
};
const KNOWN_TO_ALLOY = ['metrics', 'geoip', 'eventlogmessage'];

/** What can't be converted is left out and told, as Alloy does. @throws Failure at what is not modelled here. */
export function stages(pipeline: readonly Mapping[], found: Found[]): string[] {
  return pipeline.flatMap((stage) => {
    const [name = ''] = Object.keys(stage);
    const given = (stage[name] ?? {}) as Mapping;
    const whole = WHOLE[name];
    if (whole !== undefined)
      return [block(`stage.${whole[0]}`, undefined, [`values = ${value(whole[1], given, name)}`])];
    if (name === 'match') return [match(given, found)];
    const known = STAGES[name];
    if (known !== undefined) {
      const flat = Array.isArray(given['source']) ? { ...given, source: given['source'].join(',') } : given;
      return [block(`stage.${known[0]}`, undefined, known[1] === '' ? [] : attributes(flat, known[1], name))];
    }
    if (KNOWN_TO_ALLOY.includes(name)) refuseOthers(stage, '', 'pipeline_stages');
    const summary = `The converter does not support converting the provided pipeline stage: ${goText(stage)}`;
    found.push({ severity: 'Error', summary });
    return [];
  });
}

function match(given: Mapping, found: Found[]): string {
  return block('stage.match', undefined, [
    ...attributes(given, 'selector', 'match'),
    ...stages(list(given['stages']), found),
    ...attributes(given, 'action, pipeline_name, drop_counter_reason', 'match'),
  ]);
}

/** As Go's %v prints a map. */
function goText(given: unknown): string {
  if (Array.isArray(given)) return `[${given.map(goText).join(' ')}]`;
  if (typeof given !== 'object' || given === null) return String(given);
  return `map[${Object.entries(given)
    .map(([key, one]) => `${key}:${goText(one)}`)
    .join(' ')}]`;
}
