// `homeostat controller`: follows git and tells every host what to run.
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { onStopSignal } from './stop-signals.ts';
import { VERSION } from './version.ts';

/** Where the controller keeps its key and its store. */
export function defaultStateDir(): string {
  return process.getuid?.() === 0
    ? '/var/lib/homeostat-controller'
    : join(homedir(), '.local/state/homeostat-controller');
}

/** In the state directory; named here too, so that `keygen` need not load the server. */
export const KEY_FILE = 'controller.key';
export const STORE_FILE = 'controller.sqlite';

export const STATE_OPTION = [
  '--state <dir>',
  'where the controller keeps its key and its store',
  defaultStateDir(),
] as const;

/** The environment's MIRROR_VARIABLE is its default, for the commands that read a directory too. */
export const MIRROR_VARIABLE = 'HOMEOSTAT_MIRROR';
const MIRROR_OPTION = [
  '--mirror <origin=base>',
  `what is asked in place of an origin for what manifests have downloaded, as https://grafana.com=http://mirror.local; several divided by commas ($${MIRROR_VARIABLE})`,
  process.env[MIRROR_VARIABLE] ?? '',
] as const;

interface Options {
  readonly repo: string;
  readonly branch?: string;
  readonly subdir?: string;
  readonly state: string;
  readonly listen: string;
  readonly listenEverywhere?: true;
  readonly tailscaleSocket?: string;
  readonly openReads?: true;
  readonly name: string[];
  readonly hookSecretFile?: string;
  readonly sdTokenFile?: string;
  readonly poll: number;
  readonly mirror?: string;
}

export function register(program: Command): void {
  program
    .command('controller')
    .description('follow the manifests in git, and tell every host what to run')
    .requiredOption('--repo <repo>', 'path or URL of the git repository')
    .option('--branch <branch>', 'branch to follow; default: what the repository’s HEAD names')
    .option('--subdir <dir>', 'where in the repository the manifests are; default: all of it')
    .option(...STATE_OPTION)
    .option('--listen <address:port>', 'where to answer; on a tailnet, its address', '127.0.0.1:8420')
    .option('--listen-everywhere', 'said in words when 0.0.0.0 or [::] is meant')
    .option('--tailscale-socket <path>', 'tailscaled’s socket, to ask who is calling')
    .option('--open-reads', 'whoever can reach the controller may read the fleet’s state')
    .option(
      '--name <name>',
      'a name with dots by which browsers call the controller; may be repeated',
      (n: string, all: string[]) => [...all, n.toLowerCase()],
      [] as string[],
    )
    .option('--hook-secret-file <file>', 'file with the secret that signs POST /hooks/git')
    .addOption(
      new Option(
        '--sd-token-file <file>',
        'file with the token with which Prometheus asks GET /sd/… for targets',
      ).env('HOMEOSTAT_SD_TOKEN_FILE'),
    )
    .option('--poll <seconds>', 'how often to fetch a repository that is elsewhere', seconds, 30)
    .option(...MIRROR_OPTION)
    .addHelpText(
      'after',
      '\nExit codes: 0 stopped by SIGTERM or SIGINT, 1 it could not be started as told.\nBad manifests never end it: the last good revision keeps serving.',
    )
    .action(run);
}

async function run(options: Options): Promise<void> {
  const { Controller } = await import('../controller/main.ts');
  const { kinds } = await import('../kinds/index.ts');
  const { systemClock } = await import('../agent/providers/clock.ts');
  const { pino } = await import('pino');
  const { repo, branch, subdir, state, listen, tailscaleSocket, hookSecretFile, sdTokenFile } = options;
  const { parseMirrors } = await import('../controller/source/downloads.ts');
  const log = pino({
    level: process.env['HOMEOSTAT_LOG_LEVEL'] ?? 'info',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  });
  const controller = new Controller(
    {
      repo,
      stateDir: state,
      listen,
      listenEverywhere: options.listenEverywhere ?? false,
      openReads: options.openReads ?? false,
      names: options.name,
      pollMs: options.poll * 1000,
      mirrors: parseMirrors(options.mirror ?? ''),
      ...(branch === undefined ? {} : { branch }),
      ...(subdir === undefined ? {} : { subdir }),
      ...(tailscaleSocket === undefined ? {} : { tailscaleSocket }),
      ...(hookSecretFile === undefined ? {} : { hookSecretFile }),
      ...(sdTokenFile === undefined ? {} : { sdTokenFile }),
    },
    { clock: systemClock, environment: process.env, log, kinds, version: VERSION },
  );
  const stopped = new Promise<void>((resolve, reject) => {
    onStopSignal(
      (signal) => {
        log.info({ signal }, 'controller is being stopped');
        controller.stop().then(resolve, reject);
      },
      (signal) => log.warn({ signal }, 'controller stops already, and waits for what runs to end'),
    );
  });
  await controller.start();
  await stopped;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 1 && value <= 86_400)) throw new InvalidArgumentError('a number of seconds from 1 to 86400');
  return value;
}
