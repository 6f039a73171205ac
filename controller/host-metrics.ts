// The series of hosts, written as text in slices: there are some thirty of each host, and a registry that holds 150,000
// of them in objects takes a second to fill and to read. Format: prometheus.io/docs/instrumenting/exposition_formats.
import { HOST_STATES } from '../api/health.ts';
import { AGENT_CONDITIONS } from '../api/status.ts';
import type { Fleet } from './fleet/fleet.ts';
import { Slices } from './fleet/slices.ts';
import type { StatusSummary } from './fleet/statuses.ts';
import type { HostView } from './fleet/view.ts';

/** Characters that are encoded at once. */
const PORTION = 64 * 1024;

interface Known {
  readonly view: HostView;
  readonly summary: StatusSummary | undefined;
  /** `host="pi"` */
  readonly label: string;
}

interface Family {
  readonly name: string;
  readonly help: string;
  /** Of a host that left git, too. */
  readonly ofDeparted?: true;
  /** Labels beside the host's, with the value. */
  readonly series: (known: Known) => Iterable<readonly [labels: string, value: number]>;
}

const label = (name: string, value: string): string => `,${name}="${escapeLabel(value)}"`;

const STATE_LABELS = HOST_STATES.map((state) => [state, label('condition', state)] as const);

const FAMILIES: readonly Family[] = [
  {
    name: 'host_last_seen_timestamp_seconds',
    help: 'When the host last sent its status',
    ofDeparted: true,
    series: ({ view }) => [['', view.lastSeen === '' ? 0 : Date.parse(view.lastSeen) / 1000]],
  },
  {
    name: 'host_condition',
    help: '1 for the state that a host is in, 0 for the others',
    ofDeparted: true,
    series: ({ view }) => STATE_LABELS.map(([state, text]) => [text, view.state === state ? 1 : 0]),
  },
  {
    name: 'host_observing',
    help: '1 for a host on which the agent only looks, 0 for one that it enforces',
    series: ({ view, summary }) => [['', (summary?.report.mode ?? view.mode) === 'observe' ? 1 : 0]],
  },
  {
    name: 'host_resources',
    help: 'Resources that the host reports, by state',
    series: ({ view }) =>
      Object.entries(view.resources).map(([state, count]) => [label('state', state), count]),
  },
  {
    name: 'host_agent_condition',
    help: '1 for a condition of the agent itself that is True, 0 for one that is not',
    series: ({ summary }) =>
      AGENT_CONDITIONS.flatMap((type) => {
        const status = summary?.report.conditions[type];
        return status === undefined ? [] : [[label('type', type), status === 'True' ? 1 : 0] as const];
      }),
  },
  {
    name: 'host_sequence',
    help: 'Sequence that is assigned, and those that the agent reports',
    series: ({ view, summary }) => [
      [label('state', 'assigned'), view.desired.sequence],
      [label('state', 'desired'), summary?.sequence.desired ?? 0],
      [label('state', 'attempted'), summary?.sequence.attempted ?? 0],
      [label('state', 'running'), summary?.sequence.running ?? 0],
    ],
  },
];

/** In portions, each made in a slice of its own. */
export async function* hostMetrics(fleet: Fleet): AsyncGenerator<string> {
  const { hosts } = await fleet.viewInSlices();
  const slices = new Slices();
  for (const { name, help, series, ofDeparted } of FAMILIES) {
    const full = `homeostat_controller_${name}`;
    let text = `# HELP ${full} ${help}\n# TYPE ${full} gauge\n`;
    for (const view of hosts) {
      // What a host that left git said last is nobody's to mend: no alert rests on it.
      if (ofDeparted !== true && fleet.assignments.get(view.name) === undefined) continue;
      const known = {
        view,
        summary: fleet.statuses.summary(view.name),
        label: `host="${escapeLabel(view.name)}"`,
      };
      for (const [labels, value] of series(known)) text += `${full}{${known.label}${labels}} ${value}\n`;
      if (text.length < PORTION && !slices.isOver) continue;
      yield text;
      text = '';
      if (slices.isOver) await slices.next();
    }
    yield `${text}\n`;
  }
}

function escapeLabel(value: string): string {
  return value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));
}
