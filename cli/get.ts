// `homeostat get hosts`: the fleet, a line a host.
import type { Command } from 'commander';
import { ago } from '../api/health.ts';
import type { FleetView, HostView } from '../controller/fleet/view.ts';
import { ask, type ClientOptions, clientOptions } from './controller-client.ts';
import { table } from './table.ts';

export function register(program: Command): void {
  const get = program.command('get').description('list what a controller knows');
  clientOptions(get.command('hosts').description('list the hosts with their state'))
    .option('-o, --output <format>', 'json, or a table')
    .addHelpText('after', '\nExit codes: 0 printed, 1 the controller could not be reached or refused.')
    .action(async (options: ClientOptions & { output?: string }) => {
      const view = (await ask(options, '/v1/fleet')) as FleetView;
      if (options.output === 'json') console.log(JSON.stringify(view, null, 2));
      else show(view);
    });
}

function show(view: FleetView): void {
  const head = ['NAME', 'STATE', 'MODE', 'DESIRED', 'RUNNING', 'READY', 'HEALED', 'SEEN', 'WHY'];
  if (view.hosts.length === 0) console.log('no hosts yet: commit a Host document for each');
  else
    console.log(
      table(
        head,
        view.hosts.map((host) => row(host, view.at)),
      ),
    );
  console.error(`\n${view.summary}`);
  if (view.refused !== null && view.head !== null) {
    console.error(`commit ${view.head.commit.slice(0, 8)} is refused:`);
    for (const line of view.refused.diagnostics) console.error(`  ${line}`);
  }
  if (view.sourceProblem !== null) console.error(view.sourceProblem);
  if (view.storeProblem !== null) console.error(view.storeProblem);
}

function row(host: HostView, now: string): string[] {
  return [
    host.name,
    host.state,
    host.mode,
    host.desired.commit.slice(0, 8) || '-',
    host.running.commit.slice(0, 8) || '-',
    host.lastSeen === '' ? '-' : `${host.resources.ready}/${host.resources.total}`,
    String(host.healedTotal),
    host.lastSeen === '' ? 'never' : ago(Date.parse(now) - Date.parse(host.lastSeen)),
    host.reason,
  ];
}
