// `homeostat render HOST`: what a host would be sent, with every variable and file in its place.
import type { Command } from 'commander';
import { didYouMean } from '../api/diagnostics.ts';
import { compileDirectory, DIRECTORY_OPTION, report } from './manifests.ts';
import { name, outputOption } from './options.ts';
import { data } from './table.ts';

export function register(program: Command): void {
  program
    .command('render')
    .description('print what a host would be sent')
    .argument('<host>', 'name of a Host document', name)
    .addOption(DIRECTORY_OPTION)
    .addOption(outputOption('yaml', 'json'))
    .action(async (host: string, options: { dir: string; output: 'yaml' | 'json' }) => {
      const compilation = await compileDirectory(options.dir);
      const { revision } = compilation;
      if (compilation.diagnostics.length > 0) console.error(report(compilation));
      if (revision === undefined) {
        process.exitCode = 1;
        return;
      }
      const found = revision.hosts.get(host);
      if (found === undefined) {
        const near = didYouMean(host, revision.hosts.keys());
        const hint =
          near === undefined
            ? `the hosts are ${[...revision.hosts.keys()].join(', ') || 'none'}`
            : `did you mean ${near}?`;
        throw new Error(`there is no Host/${host} in ${options.dir}: ${hint}`);
      }
      console.log(await data(JSON.parse(found.payloadText), options.output));
    });
}
