// `homeostat get hosts`: the fleet, a line a host.
import type { Command } from 'commander';
import * as z from 'zod';
import { ago } from '../api/words.ts';
import type { FleetView, HostView } from '../controller/fleet/view.ts';
import { ask, type ClientOptions, clientOptions } from './controller-client.ts';
import { type Format, outputOption } from './options.ts';
import { data, table } from './table.ts';

export function register(program: Command): void {
  const get = program.command('get').description('list what a controller knows');
  clientOptions(get.command('hosts').description('list the hosts with their state'))
    .addOption(outputOption('table', 'wide', 'json', 'yaml'))
    .action(async (options: ClientOptions & { output: Format }) => {
      const view = await ask(options, '/v1/fleet', isFleetView);
      const { output } = options;
      if (output === 'json' || output === 'yaml') console.log(await data(view, output));
      else show(view, output === 'wide');
    });
}

/** What is read of it here. */
const Revision = z.object({ commit: z.string() });
const Shown = z.object({
  at: z.string(),
  summary: z.string(),
  hosts: z.array(
    z.object({
      name: z.string(),
      labels: z.record(z.string(), z.string()),
      desired: Revision,
      running: Revision,
      resources: z.object({ ready: z.number(), total: z.number() }),
      lastSeen: z.string(),
    }),
  ),
});

function isFleetView(value: unknown): value is FleetView {
  return Shown.safeParse(value).success;
}

const HEAD = ['NAME', 'STATE', 'MODE', 'DESIRED', 'RUNNING', 'READY', 'HEALED', 'SEEN'];

function show(view: FleetView, wide: boolean): void {
  const head = [...HEAD, ...(wide ? ['ADDRESS', 'AGENT', 'PLATFORM', 'LABELS'] : []), 'WHY'];
  if (view.hosts.length === 0) console.log('no hosts yet: commit a Host document for each');
  else
    console.log(
      table(
        head,
        view.hosts.map((host) => row(host, view.at, wide)),
      ),
    );
  console.error(`\n${view.summary}`);
  if (view.refused && view.head) {
    console.error(`commit ${view.head.commit.slice(0, 8)} is refused:`);
    for (const line of view.refused.diagnostics) console.error(`  ${line}`);
  }
  if (view.defect) console.error(view.defect);
  if (view.sourceProblem) console.error(view.sourceProblem);
  if (view.storeProblem) console.error(view.storeProblem);
}

function row(host: HostView, now: string, wide: boolean): string[] {
  return [
    host.name,
    host.state,
    host.mode,
    host.desired.commit.slice(0, 8) || '-',
    host.running.commit.slice(0, 8) || '-',
    host.lastSeen === '' ? '-' : `${host.resources.ready}/${host.resources.total}`,
    String(host.healedTotal),
    host.lastSeen === '' ? 'never' : ago(Date.parse(now) - Date.parse(host.lastSeen)),
    ...(wide ? [host.address || '-', host.agentVersion || '-', host.platform || '-', labels(host)] : []),
    host.reason,
  ];
}

export function labels(host: HostView): string {
  const all = Object.entries(host.labels).map(([key, value]) => `${key}=${value}`);
  return all.join(',') || '-';
}
