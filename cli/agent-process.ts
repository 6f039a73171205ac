// `homeostat agent` as a file of its own (scripts/bundle.ts): the same as cli/agent.ts, without the rest of the program.
// The launcher leaves every other command line to that, so there is nothing here that could be wrong with one.
import { DEFAULT_CONFIG_FILE } from '../agent/config.ts';
import { runAgent } from '../agent/main.ts';
import { endIfFailed, fail } from './failure.ts';
import { onStopSignal } from './stop-signals.ts';
import { VERSION } from './version.ts';

// The launcher's, for this process alone: what the agent starts is to have memory as it likes.
delete process.env['MALLOC_ARENA_MAX'];

const config = process.argv[4] ?? process.argv[3]?.replace(/^--config=/, '') ?? DEFAULT_CONFIG_FILE;
runAgent(config, VERSION, onStopSignal).catch(fail).finally(endIfFailed);
