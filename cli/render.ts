// `homeostat render HOST`: what a host would be sent, with every variable and file in its place.
import type { Command } from 'commander';
import { dump } from 'js-yaml';
import { didYouMean } from '../api/diagnostics.ts';
import { compileDirectory, report } from './manifests.ts';

export function register(program: Command): void {
  program
    .command('render')
    .description('print what a host would be sent')
    .argument('<host>', 'name of a Host document')
    .option('--dir <dir>', 'directory of manifests', '.')
    .option('-o, --output <format>', 'yaml or json', 'yaml')
    .addHelpText('after', '\nExit codes: 0 printed, 1 the manifests have errors, or there is no such host.')
    .action(async (host: string, options: { dir: string; output: string }) => {
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
      const payload: unknown = JSON.parse(found.payloadText);
      console.log(
        options.output === 'json'
          ? JSON.stringify(payload, null, 2)
          : dump(payload, { lineWidth: -1, noRefs: true }).trimEnd(),
      );
    });
}
