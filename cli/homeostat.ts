#!/usr/bin/env node
// `homeostat`: one program, one file a subcommand.
import { loadProgram } from './commands.ts';
import { endIfFailed, fail } from './failure.ts';
import { runProgram } from './program.ts';

const args = process.argv.slice(2);
loadProgram(args[0])
  .then((program) => runProgram(program, args))
  .catch(fail)
  .finally(endIfFailed);
