/**
 * homeostat's stand-in for Grafana Alloy, for tests: **it is not Alloy**. Real Alloy can't be had where
 * homeostat is developed (shared/FACTS.md), so this program answers its command line, its HTTP API and its
 * counters as Alloy 1.18 was recorded to do in shared/data/alloy, and says in --version, in its log and on
 * `/` that it is a stand-in. Tests take the real one where ALLOY_BIN names it.
 *
 * Launched by the shell script `alloy` beside this file. Environment:
 *   HOMEOSTAT_STANDIN_FLUSH_MS    how long a replaced queue that can't be emptied blocks a reload (60000)
 *   HOMEOSTAT_STANDIN_JOURNALCTL  the journalctl that loki.source.journal follows (the first on PATH)
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { validate } from './check.ts';
import { format } from './format.ts';
import { Failure, parseAll, readSources } from './load.ts';
import { parse } from './parser.ts';
import { allowedBy } from './references.ts';
import { ConfigError, headline, printDiagnostics, Source } from './source.ts';

const VERSION = 'alloy, version v1.18.0 (homeostat stand-in; not Grafana Alloy)';
const VALUE_FLAGS =
  /^--(server\.http\.(listen-addr|memory-addr|ui-path-prefix)|storage\.path|stability\.level|cluster\.(node-name|advertise-address|join-addresses|discover-peers|advertise-interfaces|rejoin-interval|max-join-peers|name|tls-[a-z-]+|wait-for-size|wait-timeout)|config\.(format|extra-args)|feature\.component-shutdown-deadline)$/;
const SWITCHES =
  /^--(disable-reporting|cluster\.(enabled|enable-tls)|server\.http\.(enable-pprof|disable-support-bundle|enable-graphql|enable-graphql-playground)|config\.bypass-conversion-errors|feature\.(community-components\.enabled|prometheus\.direct-fanout\.enabled))$/;

/** Of validate: it takes no others of run's (internal/alloycli/cmd_validate.go). */
const VALIDATE_FLAGS = {
  values: /^--(stability\.level|config\.(format|extra-args))$/,
  switches: /^--(feature\.community-components\.enabled|config\.bypass-conversion-errors)$/,
};

interface Command {
  flags: Map<string, string>;
  words: string[];
}

function parseCommandLine(args: string[], known: { values: RegExp; switches: RegExp }): Command {
  const flags = new Map<string, string>();
  const words: string[] = [];
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index]!;
    if (!arg.startsWith('-') || arg === '-') {
      words.push(arg);
      continue;
    }
    const [name = '', inline] = arg.includes('=')
      ? [arg.slice(0, arg.indexOf('=')), arg.slice(arg.indexOf('=') + 1)]
      : [arg];
    if (known.values.test(name)) {
      const value = inline ?? args[++index];
      if (value === undefined) throw new Failure(`flag needs an argument: ${name}`);
      flags.set(name, value);
    } else if (known.switches.test(name)) flags.set(name, inline ?? 'true');
    else throw new Failure(`unknown flag: ${name}`);
  }
  return { flags, words };
}

function oneWord(words: string[]): string {
  if (words.length !== 1) throw new Failure(`accepts 1 arg(s), received ${words.length}`);
  return words[0]!;
}

function validateCommand(args: string[]): void {
  const { flags, words } = parseCommandLine(args, VALIDATE_FLAGS);
  const path = oneWord(words);
  const sources = orFail(() => readSources(path));
  let diagnostics: ReturnType<typeof validate>;
  try {
    diagnostics = validate(parseAll(sources), allowedBy(flags));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    diagnostics = error.diagnostics;
  }
  if (diagnostics.length === 0) return;
  process.stderr.write(printDiagnostics(diagnostics));
  process.stdout.write('\n');
  throw new Failure('validation failed');
}

function fmtCommand(args: string[]): void {
  const { flags, words } = parseCommandLine(args, { values: /^$/, switches: /^(-w|--write|-t|--test)$/ });
  const write = flags.has('-w') || flags.has('--write');
  const test = flags.has('-t') || flags.has('--test');
  const path = words[0] ?? '-';
  if (write && test) throw new Failure('cannot use -w/--write and -t/--test at the same time');
  if (write && path === '-') throw new Failure('cannot use -w with standard input');
  if (path !== '-' && !statSync(path, { throwIfNoEntry: false })) {
    throw new Failure(`stat ${path}: no such file or directory`);
  }
  const name = path === '-' ? '<stdin>' : path;
  const text = readFileSync(path === '-' ? 0 : path, 'utf8');
  let formatted: string;
  try {
    formatted = format(parse(new Source(name, text)));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(error.diagnostics.map((one) => `${headline(one)}\n`).join(''));
    throw new Failure('encountered errors during formatting');
  }
  if (test && formatted !== text) throw new Failure(`file ${name} is not formatted correctly`);
  if (write && formatted !== text) writeFileSync(path, formatted);
  if (!write && !test) process.stdout.write(formatted);
}

/** convert's short flags. */
function longFlag(arg: string): string {
  const long = { f: 'source-format', o: 'output', r: 'report', e: 'extra-args', b: 'bypass-errors' };
  return arg.replace(/^-([forbe])(?=$|=)/, (_, short: keyof typeof long) => `--${long[short]}`);
}

function orFail<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw new Failure((error as Error).message);
  }
}

async function main(args: string[]): Promise<void> {
  const [command = '', ...rest] = args;
  switch (command) {
    case '--version':
    case '-v':
      return void process.stdout.write(`${VERSION}\n`);
    case 'validate':
      return validateCommand(rest);
    case 'fmt':
    case 'format':
      return fmtCommand(rest);
    case 'run': {
      const { flags, words } = parseCommandLine(rest, { values: VALUE_FLAGS, switches: SWITCHES });
      // Only here: the other commands start faster without what runs.
      const { run } = await import('./run.ts');
      return run(oneWord(words), flags);
    }
    case 'convert': {
      const { flags, words } = parseCommandLine(rest.map(longFlag), {
        values: /^--(source-format|output|report|extra-args)$/,
        switches: /^--bypass-errors$/,
      });
      const { convertCommand } = await import('./convert.ts');
      return convertCommand(flags, words[0] ?? '-');
    }
    case 'tools':
      throw new Failure(`homeostat's stand-in for Grafana Alloy can't ${command}; that needs the real alloy`);
    default:
      throw new Failure(`unknown command "${command}" for "alloy"`);
  }
}

/** Go's log package: local time, seconds. */
function logStamp(now: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const date = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join('/');
  return `${date} ${[now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join(':')}`;
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    process.stderr.write(`Error: ${error.message}\n`);
    process.stderr.write(
      `${logStamp(new Date())} collector server run finished with error: ${error.message}\n`,
    );
    process.exit(1);
  },
);
