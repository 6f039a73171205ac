// `homeostat once` and `homeostat plan` as a file of their own (scripts/bundle.ts): what a cron job starts need not read
// the controller's libraries.
import { endIfFailed, fail } from './failure.ts';
import * as once from './once.ts';
import * as plan from './plan.ts';
import { newProgram, runProgram } from './program.ts';

// The launcher's, for this process alone: what it starts is to have memory as it likes.
delete process.env['MALLOC_ARENA_MAX'];

const program = newProgram();
for (const command of [once, plan]) command.register(program);
runProgram(program, process.argv.slice(2)).catch(fail).finally(endIfFailed);
