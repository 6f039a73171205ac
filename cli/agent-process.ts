// `homeostat agent` as a file of its own (scripts/bundle.ts): the same as cli/agent.ts, without the rest of the program.
import { parseArgs } from 'node:util';
import { DEFAULT_CONFIG_FILE } from '../agent/config.ts';
import { runAgent } from '../agent/main.ts';
import { onStopSignal } from './stop-signals.ts';
import { VERSION } from './version.ts';

// The launcher's, for this process alone: what the agent starts is to have memory as it likes.
delete process.env['MALLOC_ARENA_MAX'];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { config: { type: 'string', default: DEFAULT_CONFIG_FILE } },
    allowPositionals: true,
  });
  await runAgent(values.config, VERSION, onStopSignal);
}

main().catch((error: unknown) => {
  console.error(`homeostat: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
