// How the values of options and arguments are read: each is checked when the command line is parsed, before anything
// is begun, and refused with what would be right. test/unit/cli/options.test.ts holds every command to it.
import { accessSync, constants, statfsSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { Name, Ref } from '../api/documents.ts';
import { parseToken } from '../api/enroll.ts';
import { errnoOf, inWords } from '../api/errors.ts';

/** The environment's default for what is asked in place of others, for the commands that read a directory, too. */
export const MIRROR_VARIABLE = 'HOMEOSTAT_MIRROR';

export type Parser<T> = (text: string) => T;

/** @param check returns what is wrong, and what would be right. */
function checked(check: (text: string) => string | undefined): Parser<string> {
  return (text) => {
    const wrong = check(text);
    if (wrong !== undefined) throw new InvalidArgumentError(wrong);
    return text;
  };
}

/** For `<name...>`: commander hands over one value after the other. */
export function each(
  parse: Parser<string>,
): (text: string, before: readonly string[] | undefined) => string[] {
  return (text, before) => [...(before ?? []), parse(text)];
}

/** Of this environment variable when the command line has no value. An empty variable counts as none. */
export function orFrom(variable: string, option: Option): Option {
  return process.env[variable] === '' ? option : option.env(variable);
}

export type Format = 'json' | 'yaml' | 'wide' | 'table' | 'text';

const FORMATS: Readonly<Record<Format, string>> = {
  json: 'json',
  yaml: 'yaml',
  wide: 'wide (a table with more columns)',
  table: 'table',
  text: 'text',
};

/** `-o`, the first of the formats being what is printed without it. */
export function outputOption(...formats: readonly [Format, ...Format[]]): Option {
  const described = formats.map((format) => FORMATS[format]).join(', ');
  return new Option('-o, --output <format>', described)
    .default(formats[0], formats[0])
    .argParser(oneOf(formats));
}

function oneOf(words: readonly string[]): Parser<string> {
  const all = words.length === 1 ? words[0] : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
  return checked((text) => (words.includes(text) ? undefined : `Write ${all}.`));
}

const UNITS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** @param most as a person would write it. @returns a parser that gives seconds. */
export function duration(most: string): Parser<number> {
  const mostSeconds = inSeconds(most) ?? Number.POSITIVE_INFINITY;
  return (text) => {
    const seconds = inSeconds(text);
    if (seconds === undefined)
      throw new InvalidArgumentError('A duration is a number with s, m, h or d, as 30m.');
    if (seconds < 1) throw new InvalidArgumentError('1s is the least.');
    if (seconds > mostSeconds) throw new InvalidArgumentError(`${most} is the most.`);
    return seconds;
  };
}

function inSeconds(text: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,9})?)([smhd])$/.exec(text);
  return match === null ? undefined : Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
}

export function seconds(least: number, most: number): Parser<number> {
  return (text) => {
    const value = /^\d{1,9}(?:\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Write a number of seconds from ${least} to ${most}, without a unit.`);
  };
}

/** An address of the web to which paths are added: http or https, with nothing behind the path. */
export const url: Parser<string> = (text) => {
  const example = 'as http://100.64.0.4:8420';
  if (!/^https?:\/\//i.test(text)) {
    const without = /^(?!https?\/)[\w.-]+(?::\d+)?(?:\/\S*)?$|^\[[0-9a-fA-F:.]+\](?::\d+)?(?:\/\S*)?$/.test(
      text,
    );
    throw new InvalidArgumentError(
      without
        ? `Write http:// before it: http://${text}`
        : `Write a URL that begins with http:// or https://, ${example}.`,
    );
  }
  if (/\s/.test(text) || !URL.canParse(text))
    throw new InvalidArgumentError(`It is not a URL. Write one ${example}.`);
  const { search, hash, username } = new URL(text);
  if (search + hash !== '' || /[?#]$/.test(text))
    throw new InvalidArgumentError(`Leave out what follows ? or #: write it ${example}.`);
  if (username !== '' || text.includes('@'))
    throw new InvalidArgumentError('Leave out user and password: other options have room for credentials.');
  return text.replace(/\/+$/, '');
};

/** Of a document or host. */
export const name: Parser<string> = checked((text) =>
  Name.safeParse(text).success
    ? undefined
    : 'A name has lower-case letters, digits, - and ., begins and ends with a letter or digit, and has at most 63 characters.',
);

export const resourceKey: Parser<string> = checked((text) =>
  Ref.safeParse(text).success ? undefined : 'A resource is Kind/name, as File/motd.',
);

export function text(most: number): Parser<string> {
  return checked((value) => {
    if (value.trim() === '') return 'It is empty.';
    if (/[\0\r\n]/.test(value)) return 'Write it on one line.';
    return value.length > most ? `It is longer than ${most} characters.` : undefined;
  });
}

export function matching(form: RegExp, right: string): Parser<string> {
  return checked((value) => (form.test(value) ? undefined : right));
}

/** Refused without being repeated: it may be another secret, and what is printed here may be kept. */
export const token: Parser<string> = (value) => tokenIn(value, '--token or HOMEOSTAT_TOKEN');

export function tokenIn(value: string, place: string): string {
  if (parseToken(value) !== undefined) return value.trim();
  throw new Error(`what ${place} says is no token: it must be all of what homeostat token create printed`);
}

/** This machine's name as that of its Host document. @throws Error when it can't be one. */
export function hostNameHere(): string {
  const here = hostname().toLowerCase();
  if (Name.safeParse(here).success) return here;
  throw new Error(`this machine's name, ${here}, can't be the name of a Host document: say --host NAME`);
}

function pathProblem(path: string): string | undefined {
  if (path.trim() === '') return 'It is empty: name a path.';
  if (path.includes('\0')) return 'A path has no NUL character.';
  return undefined;
}

/** What the path is now; @throws InvalidArgumentError when the system does not say. */
function look(path: string) {
  const problem = pathProblem(path);
  if (problem !== undefined) throw new InvalidArgumentError(problem);
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new InvalidArgumentError(`It can’t be looked at: ${inWords(error)}.`);
  }
}

/** Of a file that is read. */
export const inputFile: Parser<string> = (path) => {
  const stat = look(path);
  if (stat === undefined) throw new InvalidArgumentError('There is no such file.');
  if (stat.isDirectory()) throw new InvalidArgumentError('It is a directory: name the file.');
  mayRead(path);
  return path;
};

/** Of a directory that is read. */
export const inputDirectory: Parser<string> = (path) => {
  const stat = look(path);
  if (stat === undefined) throw new InvalidArgumentError(`There is no directory ${path}.`);
  if (!stat.isDirectory()) throw new InvalidArgumentError(`${path} is not a directory: name the directory.`);
  mayRead(path);
  return path;
};

function mayRead(path: string): void {
  try {
    accessSync(path, constants.R_OK);
  } catch (error) {
    throw new InvalidArgumentError(`It can’t be read: ${inWords(error)}.`);
  }
}

/** Of a file that may be there or not. */
export const file: Parser<string> = (path) => {
  const stat = lookOrParent(path);
  if (stat?.isDirectory()) throw new InvalidArgumentError('It is a directory: name a file.');
  return path;
};

/** Of a directory that is made where there is none. */
export const directory: Parser<string> = (path) => {
  const stat = lookOrParent(path);
  if (stat !== undefined && !stat.isDirectory())
    throw new InvalidArgumentError('It is a file: name a directory.');
  return path;
};

/** @throws InvalidArgumentError when the nearest thing above it that is there is no directory. */
function lookOrParent(path: string) {
  const problem = pathProblem(path);
  if (problem !== undefined) throw new InvalidArgumentError(problem);
  const full = resolve(path);
  for (let at = full; ; at = dirname(at)) {
    try {
      const stat = statSync(at, { throwIfNoEntry: false });
      if (at === full && stat !== undefined) return stat;
      if (stat?.isDirectory()) return mayHold(at);
      if (stat !== undefined) throw new InvalidArgumentError(`${at} is a file, and nothing can be below it.`);
    } catch (error) {
      if (error instanceof InvalidArgumentError) throw error;
      if (errnoOf(error) !== 'ENOTDIR')
        throw new InvalidArgumentError(`It can’t be looked at: ${inWords(error)}.`);
    }
  }
}

/** The type of /proc (proc(5), statfs(2)). */
const PROC = 0x9fa0;

/** Node's mkdir with `recursive` never ends below /proc, where making a directory fails with ENOENT. */
function mayHold(path: string): undefined {
  if (statfsSync(path).type === PROC) throw new InvalidArgumentError(`Nothing can be made in ${path}.`);
}

/** Linux takes no longer ones (sockaddr_un, with its end). */
const MAX_SOCKET_PATH = 107;

export const socket: Parser<string> = (path) => {
  const stat = lookOrParent(path);
  if (stat !== undefined && !stat.isSocket())
    throw new InvalidArgumentError('It is not a socket: name the socket itself.');
  if (Buffer.byteLength(resolve(path)) > MAX_SOCKET_PATH)
    throw new InvalidArgumentError(`A socket’s path has at most ${MAX_SOCKET_PATH} bytes.`);
  return path;
};
