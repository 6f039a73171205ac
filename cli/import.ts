// `homeostat import WHAT`: documents from what is there already, to begin with. One file a subcommand, one line
// each here.
import type { Command } from 'commander';
import { registerGrafanaDashboard } from './import/grafana-dashboard.ts';
import { registerHost } from './import/host.ts';
import { registerTailnetPolicy } from './import/tailnet-policy.ts';

const SUBCOMMANDS: readonly ((parent: Command) => void)[] = [
  registerGrafanaDashboard,
  registerHost,
  registerTailnetPolicy,
];

export function register(program: Command): void {
  const parent = program
    .command('import')
    .description('write documents from what is there already, to begin with');
  for (const registerSubcommand of SUBCOMMANDS) registerSubcommand(parent);
}
