// `homeostat validate DIR`: everything that is wrong with the manifests, and what would be right.
import type { Command } from 'commander';
import { compileDirectory, report } from './manifests.ts';
import { inputDirectory } from './options.ts';

export function register(program: Command): void {
  program
    .command('validate')
    .description('check the manifests in a directory, as they lie there, committed or not')
    .argument('[dir]', 'directory of manifests', inputDirectory, '.')
    .addHelpText(
      'after',
      '\nWhat documents have downloaded is kept in ~/.cache/homeostat/downloads; what can not be reached is a warning here, and an error where it is published.',
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
