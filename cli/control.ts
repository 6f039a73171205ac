// homeostat reconcile, suspend and resume: what a person asks of the agent on this host.
import { type Command, Option } from 'commander';
import { duration, resourceKey, text } from './options.ts';
import { askAgent, CONFIG_OPTION, SOCKET_OPTION, type SocketOptions } from './socket.ts';

export function register(program: Command): void {
  program
    .command('reconcile')
    .description('look at a resource, or at all of them, now')
    .argument('[key]', 'Kind/name; all when left out', resourceKey)
    .addOption(SOCKET_OPTION)
    .addOption(CONFIG_OPTION)
    .action(async (key: string | undefined, options: SocketOptions) => {
      await askAgent(options, 'POST', '/v1/reconcile', { key });
      console.log(`${key ?? 'everything'} is looked at again; \`homeostat status\` shows the outcome`);
    });
  program
    .command('suspend')
    .description('leave a resource, or the whole host, alone for a while')
    .argument('[key]', 'Kind/name; the whole host when left out', resourceKey)
    .addOption(
      new Option('--for <duration>', 'how long: 90s, 30m, 2h, 1d, at most 30d')
        .default(3600, '1h')
        .argParser(duration('30d')),
    )
    .option('--reason <text>', 'why; it is shown to the others', text(500))
    .addOption(SOCKET_OPTION)
    .addOption(CONFIG_OPTION)
    .action(async (key: string | undefined, options: SocketOptions & { for: number; reason?: string }) => {
      await askAgent(options, 'POST', '/v1/suspend', {
        key,
        ttlSeconds: options.for,
        reason: options.reason,
      });
      const until = new Date(Date.now() + options.for * 1000).toISOString();
      console.log(`${key ?? 'the host'} is suspended until ${until}; \`homeostat resume\` ends it sooner`);
    });
  program
    .command('resume')
    .description('end a suspension; without a key, a crash loop of the agent too')
    .argument('[key]', 'Kind/name; the whole host when left out', resourceKey)
    .addOption(SOCKET_OPTION)
    .addOption(CONFIG_OPTION)
    .action(async (key: string | undefined, options: SocketOptions) => {
      await askAgent(options, 'POST', '/v1/resume', { key });
      console.log(`${key ?? 'the host'} is looked after again`);
    });
}
