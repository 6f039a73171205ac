// `homeostat once` and `homeostat plan` as a file of their own (scripts/bundle.ts): what a cron job starts need not read
// the controller's libraries.
import { Command } from 'commander';
import * as once from './once.ts';
import * as plan from './plan.ts';
import { VERSION } from './version.ts';

// The launcher's, for this process alone: what it starts is to have memory as it likes.
delete process.env['MALLOC_ARENA_MAX'];

async function main(): Promise<void> {
  const program = new Command('homeostat').version(VERSION).enablePositionalOptions();
  for (const command of [once, plan]) command.register(program);
  await program.parseAsync();
}

main().catch((error: unknown) => {
  console.error(`homeostat: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
