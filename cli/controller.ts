// `homeostat controller`: follows git and tells every host what to run.
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { inWords } from '../api/errors.ts';
import { parseMirrors } from '../controller/source/downloads.ts';
import {
  directory,
  duration,
  each,
  inputFile,
  MIRROR_VARIABLE,
  matching,
  orFrom,
  type Parser,
  seconds,
  socket,
  text,
} from './options.ts';
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

export const STATE_OPTION = new Option('--state <dir>', 'where the controller keeps its key and its store')
  .default(
    defaultStateDir(),
    '/var/lib/homeostat-controller; ~/.local/state/homeostat-controller for who is not root',
  )
  .argParser(directory);

const MIRROR_OPTION = orFrom(
  MIRROR_VARIABLE,
  new Option(
    '--mirror <origin=base>',
    'what is asked in place of an origin for what manifests have downloaded, as https://grafana.com=http://mirror.local; several divided by commas',
  ),
).argParser(mirrors);

const isText = text(1000);

/** Never what git could take for an option of its own. */
const repository: Parser<string> = (value) => {
  if (isText(value).startsWith('-')) throw new InvalidArgumentError('Write a path, or a URL that git knows.');
  return value;
};

/** As git-check-ref-format has it, nearly. */
const branch = matching(
  /^(?![-/.])(?!.*(?:\.\.|@\{|\/\/|\/\.|\.lock$|[/.]$))[^\s~^:?*[\\\0-\x1f\x7f]+$/,
  'Write the name of a branch, as main.',
);

const subdirectory: Parser<string> = (value) => {
  const isInside = !isText(value).startsWith('/') && !value.split('/').includes('..');
  if (!isInside) throw new InvalidArgumentError('Write a path within the repository, as manifests/prod.');
  return value;
};

const listenAddress: Parser<string> = (value) => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(value);
  const host = match?.[1] ?? match?.[2] ?? '';
  if ((isIP(host) === 0 && host !== 'localhost') || Number(match?.[3]) > 65_535)
    throw new InvalidArgumentError('Write address:port, as 127.0.0.1:8420 or [::1]:8420.');
  return value;
};

const isName = matching(
  /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/,
  'Write a name of DNS, as controller.example.ts.net.',
);
const dnsName: Parser<string> = (value) => isName(value).toLowerCase();

function mirrors(value: string): Map<string, string> {
  try {
    return parseMirrors(isText(value));
  } catch (error) {
    throw new InvalidArgumentError(`${inWords(error)}.`);
  }
}

interface Options {
  readonly repo: string;
  readonly branch?: string;
  readonly subdir?: string;
  readonly state: string;
  readonly listen: string;
  readonly listenEverywhere?: true;
  readonly tailscaleSocket?: string;
  readonly openReads?: true;
  readonly name?: string[];
  readonly hookSecretFile?: string;
  readonly sdTokenFile?: string;
  readonly poll: number;
  readonly mirror?: ReadonlyMap<string, string>;
  /** Seconds. */
  readonly forgetAfter: number;
}

export function register(program: Command): void {
  program
    .command('controller')
    .description('follow the manifests in git, and tell every host what to run')
    .requiredOption('--repo <repo>', 'path or URL of the git repository', repository)
    .option('--branch <branch>', 'branch to follow; default: what the repository’s HEAD names', branch)
    .option('--subdir <dir>', 'where in the repository the manifests are; default: all of it', subdirectory)
    .addOption(STATE_OPTION)
    .option(
      '--listen <address:port>',
      'where to answer; on a tailnet, its address',
      listenAddress,
      '127.0.0.1:8420',
    )
    .option('--listen-everywhere', 'said in words when 0.0.0.0 or [::] is meant')
    .addOption(
      orFrom(
        'HOMEOSTAT_TAILSCALE_SOCKET',
        new Option('--tailscale-socket <path>', 'tailscaled’s socket, to ask who is calling'),
      ).argParser(socket),
    )
    .option('--open-reads', 'whoever can reach the controller may read the fleet’s state')
    .option(
      '--name <name>',
      'a name with dots by which browsers call the controller; may be repeated',
      each(dnsName),
    )
    .option('--hook-secret-file <file>', 'file with the secret that signs POST /hooks/git', inputFile)
    .addOption(
      orFrom(
        'HOMEOSTAT_SD_TOKEN_FILE',
        new Option(
          '--sd-token-file <file>',
          'file with the token with which Prometheus asks GET /sd/… for targets',
        ),
      ).argParser(inputFile),
    )
    .option('--poll <seconds>', 'how often to fetch a repository that is elsewhere', seconds(1, 86_400), 30)
    .option(
      '--forget-after <duration>',
      'for how long a host that left git keeps its key and its status here: 12h, 7d',
      duration('3650d'),
      7 * 86_400,
    )
    .addOption(MIRROR_OPTION)
    .addHelpText('after', '\nBad manifests never end it: the last good revision keeps serving.')
    .action(run);
}

async function run(options: Options): Promise<void> {
  const { Controller } = await import('../controller/main.ts');
  const { startCompileThread } = await import('./compile-thread.ts');
  const { systemClock } = await import('../agent/providers/clock.ts');
  const { pino } = await import('pino');
  const { repo, branch, subdir, state, listen, tailscaleSocket, hookSecretFile, sdTokenFile } = options;
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
      names: options.name ?? [],
      pollMs: options.poll * 1000,
      forgetAfterMs: options.forgetAfter * 1000,
      mirrors: options.mirror ?? new Map(),
      ...(branch === undefined ? {} : { branch }),
      ...(subdir === undefined ? {} : { subdir }),
      ...(tailscaleSocket ? { tailscaleSocket } : {}),
      ...(hookSecretFile === undefined ? {} : { hookSecretFile }),
      ...(sdTokenFile === undefined ? {} : { sdTokenFile }),
    },
    {
      ...{ clock: systemClock, environment: process.env, log, version: VERSION },
      compileThread: startCompileThread,
    },
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
  try {
    await Promise.race([stopped, controller.failed]);
  } catch (error) {
    await controller.stop();
    throw error;
  }
}
