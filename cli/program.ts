// What all commands have in common: help that says how they end, a way to say what is wrong with a command line, and
// exit codes (exit-codes.ts).
import { Command, CommanderError } from 'commander';
import { didYouMean } from '../api/diagnostics.ts';
import { errnoOf } from '../api/errors.ts';
import { exitCodesOf, exitCodesText } from './exit-codes.ts';
import { fail } from './failure.ts';
import { each } from './options.ts';
import { VERSION } from './version.ts';

/** There is no such command, or no such option of `homeostat` itself. A mistake within a command is 1. */
const NO_SUCH_COMMAND = 2;

/** Commands that are added to it get all of this too. */
export function newProgram(): Command {
  return new Command('homeostat')
    .description('keeps hosts as the manifests in git say')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print what a command takes')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: (message, write) => write(ourWords(message)) })
    .enablePositionalOptions();
}

function ourWords(message: string): string {
  return message
    .replace(/^error: /, 'homeostat: ')
    .replace(
      /command-argument value (.*) is invalid for argument '(.*?)'\./s,
      'argument <$2>: $1 is invalid.',
    );
}

/** Runs what the arguments ask for, to its end. Never throws: what goes wrong is printed, and the exit code says so. */
export async function runProgram(program: Command, args: readonly string[]): Promise<void> {
  // Whoever reads, as in `homeostat get hosts | head`, may stop before we do.
  process.stdout.on('error', (error) => errnoOf(error) === 'EPIPE' || fail(error));
  complete(program, '');
  let command = program;
  try {
    command = find(program, args);
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) return fail(error);
    // It has been printed, and help is one of them.
    const isNoCommand = isGroup(command) || command.name() === 'help';
    process.exitCode = error.exitCode === 0 || !isNoCommand ? error.exitCode : NO_SUCH_COMMAND;
  }
}

/** Exit codes and a pointer to help for every command; and help as a command, for those that hold others. */
export function complete(command: Command, path: string): void {
  if (path === '') {
    command
      .command('version')
      .description('print the version')
      .action(() => console.log(VERSION));
  }
  const group = isGroup(command);
  command.addHelpText('after', `\n${exitCodesText(exitCodesOf(path, group))}`);
  command.showHelpAfterError(
    `(${['homeostat', path, '--help'].filter(Boolean).join(' ')} says what it takes)`,
  );
  for (const sub of command.commands) complete(sub, `${path} ${sub.name()}`.trim());
  if (!group) return;
  command.action(() => command.outputHelp());
  const help = command
    .command('help')
    .description('print what a command takes')
    .argument(
      '[command...]',
      'its name',
      each((word) => word),
    )
    .action((words: string[] = []) => find(command, words).outputHelp());
  complete(help, `${path} help`.trim());
}

export function isGroup(command: Command): boolean {
  return command.commands.length > 0;
}

/** The command that the words lead to. @throws CommanderError when there is none; it has been printed. */
function find(group: Command, words: readonly string[], path = 'homeostat'): Command {
  const [word, ...rest] = words;
  if (word === undefined || word.startsWith('-') || !isGroup(group)) return group;
  const next = group.commands.find((command) => command.name() === word);
  if (next !== undefined) return find(next, rest, `${path} ${word}`);
  const names = group.commands.map((command) => command.name());
  const near = didYouMean(word, names);
  const hint = near === undefined ? `there are ${names.join(', ')}` : `did you mean ${near}?`;
  return group.error(`error: there is no command \`${path} ${word}\`: ${hint}`, {
    exitCode: NO_SUCH_COMMAND,
  });
}
