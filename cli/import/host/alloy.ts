// Alloy as it runs on a host: the file that it was started with, and what else its command line says.
import fs from 'node:fs';
import type { Files, UnitState, Units } from '../../../kinds/ports.ts';
import { uninterpolated } from '../../generated.ts';
import { type Draft, type Gathered, NOTHING, nameFor } from './draft.ts';
import { secretLines } from './secrets.ts';

const DEFAULT_CONFIG = '/etc/alloy/config.alloy';
const DEFAULT_ADDRESS = '127.0.0.1:12345';
/** Where packages of Alloy have their arguments: Debian's and Red Hat's. */
const ENVIRONMENT_FILES = ['/etc/default/alloy', '/etc/sysconfig/alloy'];

interface CommandLine {
  readonly config: string;
  readonly address: string;
  readonly stability: string | undefined;
}

/** @param commandLine of the running process; injected by tests. */
export async function gatherAlloy(
  host: string,
  { files, units }: { readonly files: Files; readonly units: Units },
  commandLine: (pid: number) => string[] = commandLineOf,
): Promise<Gathered> {
  const unit = await units.show('alloy.service').catch(() => undefined);
  const line = parse(unit?.mainPID ? commandLine(unit.mainPID) : []) ?? fromEnvironmentFile(files);
  const file = files.read(line.config);
  if (file.type === 'directory')
    return {
      drafts: [],
      notes: [
        `Alloy reads the directory ${line.config}: write an AlloyConfig with path: ${line.config} and each file of it under files (docs/kinds/alloy-config.md)`,
      ],
    };
  if (file.type !== 'file') return NOTHING;
  const text = file.content.toString('utf8');
  const config = `${host}/config.alloy`;
  const secret = secretLines(text);
  const address = reachable(line.address);
  const draft: Draft = {
    kind: 'AlloyConfig',
    name: nameFor('alloy', host),
    file: `${host}/alloy.yaml`,
    hosts: [host],
    spec: {
      ...(line.config === DEFAULT_CONFIG ? {} : { path: line.config }),
      contentFrom: 'config.alloy',
      ...(file.mode === 0o644 ? {} : { mode: file.mode.toString(8).padStart(4, '0') }),
      ...(address === DEFAULT_ADDRESS ? {} : { address }),
      ...(line.stability === undefined ? {} : { stability: line.stability }),
      ...(runsUnderSystemd(unit) ? {} : { manager: 'none' }),
    },
    remarks: [
      `The config that Alloy has at ${line.config}, copied to ${config}: from here on edit it there.`,
      ...(address === line.address
        ? []
        : [
            `Alloy answers on ${line.address}, which is every address of this host: --server.http.listen-addr=${DEFAULT_ADDRESS} is safer.`,
          ]),
    ],
    ...(secret.length === 0 ? { beside: new Map([[config, uninterpolated(text)]]) } : {}),
    ...(secret.length === 0
      ? {}
      : {
          doubt: `${line.config} seems to hold a secret in line ${secret.join(', ')}, and what is imported goes to git.\nHave Alloy read it from a file (password_file and the like) or from sys.env, then import again.`,
        }),
  };
  return { drafts: [draft], notes: [] };
}

function runsUnderSystemd(unit: UnitState | undefined): boolean {
  return unit !== undefined && unit.loadState !== 'not-found';
}

function commandLineOf(pid: number): string[] {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return []; // it ended meanwhile, or there is no /proc
  }
}

/** `alloy run [flags] FILE`; undefined when it is no such command. */
function parse(args: readonly string[]): CommandLine | undefined {
  const run = args.indexOf('run');
  if (run < 0) return undefined;
  const option = (name: string): string | undefined => {
    const joined = args.find((arg) => arg.startsWith(`--${name}=`));
    const apart = args.indexOf(`--${name}`);
    return joined?.slice(name.length + 3) ?? (apart < 0 ? undefined : args[apart + 1]);
  };
  const config = args.findLast((arg, i) => i > run && !arg.startsWith('-') && arg.startsWith('/'));
  return {
    config: config ?? DEFAULT_CONFIG,
    address: option('server.http.listen-addr') ?? DEFAULT_ADDRESS,
    stability: option('stability.level'),
  };
}

/** CONFIG_FILE and CUSTOM_ARGS, for an Alloy that does not run now. */
function fromEnvironmentFile(files: Files): CommandLine {
  const found = ENVIRONMENT_FILES.map((path) => files.read(path)).find((file) => file.type === 'file');
  const text = found?.type === 'file' ? found.content.toString('utf8') : '';
  const value = (name: string): string =>
    new RegExp(`^\\s*${name}="?([^"\\n]*)"?`, 'm').exec(text)?.[1] ?? '';
  const args = ['run', ...value('CUSTOM_ARGS').split(/\s+/), value('CONFIG_FILE')];
  return (
    parse(args.filter((arg) => arg !== '')) ?? {
      config: DEFAULT_CONFIG,
      address: DEFAULT_ADDRESS,
      stability: undefined,
    }
  );
}

/** An address that can be asked: one that is listened on everywhere is asked on loopback. */
function reachable(address: string): string {
  return address.replace(/^(?:0\.0\.0\.0|\[::\])?(?=:\d+$)/, '127.0.0.1');
}
