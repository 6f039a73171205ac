// homeostat agent: runs on every host.
import type { Command } from 'commander';
import { CONFIG_OPTION } from './socket.ts';
import { onStopSignal } from './stop-signals.ts';
import { VERSION } from './version.ts';

export function register(program: Command): void {
  program
    .command('agent')
    .description('keep this host as its manifest says, until told to stop')
    .addOption(CONFIG_OPTION)
    .action(async ({ config }: { config: string }) => {
      const { runAgent } = await import('../agent/main.ts');
      await runAgent(config, VERSION, onStopSignal);
    });
}
