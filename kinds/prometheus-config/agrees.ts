// Whether a job that runs is the job that stands here. Prometheus fills in defaults, converts values and hides secrets, so
// only what it shows as it was written is compared. Pure.
import { milliseconds } from '../fields.ts';
import { isMapping, type Yaml } from '../shared/yaml.ts';

const RELABELLING = ['relabel_configs', 'metric_relabel_configs'];

export function agrees(ours: Yaml, runs: Yaml): boolean {
  if (!isMapping(ours) || !isMapping(runs) || JSON.stringify(ours).includes('"<<"')) return true;
  const isEqual = (key: string, form: (value: Yaml) => unknown = (value) => value) =>
    ours[key] === undefined || JSON.stringify(form(ours[key])) === JSON.stringify(form(runs[key] ?? ''));
  const duration = (value: Yaml) => milliseconds(String(value));
  return (
    isEqual('metrics_path') &&
    isEqual('scheme') &&
    isEqual('params', sorted) &&
    isEqual('scrape_interval', duration) &&
    isEqual('scrape_timeout', duration) &&
    isEqual('static_configs', (value) => (Array.isArray(value) ? value.map(groupOf) : [])) &&
    RELABELLING.every((key) => rulesAgree(ours[key] ?? [], runs[key] ?? []))
  );
}

/** Rules that decide which targets and samples there are; ours may leave out what has a default. */
function rulesAgree(ours: Yaml, runs: Yaml): boolean {
  if (!Array.isArray(ours)) return true;
  if (!Array.isArray(runs) || ours.length !== runs.length) return false;
  return ours.every((rule, i) => {
    const other = runs[i];
    if (!isMapping(rule) || !isMapping(other)) return true;
    return Object.entries(rule).every(([key, value]) => plain(key, value) === plain(key, other[key] ?? ''));
  });
}

function plain(key: string, value: Yaml): string {
  return key === 'action' ? String(value).toLowerCase() : JSON.stringify(value);
}

function groupOf(group: Yaml): unknown {
  return isMapping(group) ? [group['targets'] ?? [], sorted(group['labels'] ?? {})] : group;
}

function sorted(value: Yaml): unknown {
  return isMapping(value) ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)) : [];
}
