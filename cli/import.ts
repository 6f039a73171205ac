// `homeostat import WHAT`: documents from what is there already, to begin with. One file a subcommand, one line
// each here.
import type { Command } from 'commander';

const SUBCOMMANDS: readonly ((parent: Command) => void)[] = [];

export function register(program: Command): void {
  const parent = program
    .command('import')
    .description('write documents from what is there already, to begin with');
  for (const registerSubcommand of SUBCOMMANDS) registerSubcommand(parent);
}
