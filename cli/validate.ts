// `homeostat validate DIR`: everything that is wrong with the manifests, and what would be right.
import type { Command } from 'commander';
import { compileDirectory, report } from './manifests.ts';

export function register(program: Command): void {
  program
    .command('validate')
    .description('check the manifests in a directory, as they lie there, committed or not')
    .argument('[dir]', 'directory of manifests', '.')
    .addHelpText(
      'after',
      '\nWhat documents have downloaded is kept in ~/.cache/homeostat/downloads; what can not be reached is a warning here, and an error where it is published.\nExit codes: 0 valid (warnings may be printed), 1 errors were found, or the directory could not be read.',
    )
    .action(async (dir: string) => {
      const compilation = await compileDirectory(dir, { unreachable: 'warning' });
      const text = report(compilation);
      if (compilation.revision === undefined) {
        console.error(text);
        process.exitCode = 1;
      } else console.log(text);
    });
}
