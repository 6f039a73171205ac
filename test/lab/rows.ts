// The last table of the system that this project realises, row by row. `ok` alone is for real components.

export type RowState =
  | { readonly state: 'ok'; readonly standIns?: readonly string[] }
  | { readonly state: 'FAILED'; readonly why: string }
  | { readonly state: 'not yet'; readonly why: string };

export const ROWS: readonly string[] = [
  'Prometheus accepts remote write, and has both scrape jobs',
  'Pi: repository, package, config, service',
  'webclient on, :5252/metrics answers',
  'metrics arrive with the host label, the journal in Loki',
  'droplet: the Alloy container',
  'tailscale-exporter with its OAuth client',
  'four dashboards in Grafana',
  'the tailnet ACL as in git',
  'promtail configs converted; the lean fallback is one label away',
  'all of it is kept true, and Prometheus alerts when it can’t be',
];

export function formatRow(n: number, row: RowState): string {
  const what = ROWS[n - 1]!;
  switch (row.state) {
    case 'ok': {
      const note = (row.standIns?.length ?? 0) > 0 ? ` (stand-in: ${row.standIns!.join(', ')})` : '';
      return `row ${n} ok${note}: ${what}`;
    }
    case 'FAILED':
      return `row ${n} FAILED: ${row.why} (${what})`;
    case 'not yet':
      return `row ${n} not yet: ${row.why} (${what})`;
  }
}
