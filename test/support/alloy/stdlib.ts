/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): the functions and
 * constants of its standard library that a host's config may use. The rest of Alloy's are not modelled:
 * they evaluate to an error that says which field does not exist.
 */
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Call, Scope, Value } from './evaluate.ts';

const text = (value: Value | undefined): string =>
  value === null || value === undefined ? '' : String(value);

/** Go's Sprintf, as far as configs use it: %s %v %d %q %%. */
function format(pattern: Value, ...args: Value[]): string {
  let next = 0;
  return text(pattern).replace(/%([svdq%])/g, (_, verb: string) => {
    if (verb === '%') return '%';
    const value = args[next++];
    return verb === 'q' ? JSON.stringify(text(value)) : text(value);
  });
}

/** Strips any of the characters of `set` from both ends. */
function trim(value: Value, set: Value): string {
  const chars = new Set(text(set));
  const all = [...text(value)];
  const first = all.findIndex((ch) => !chars.has(ch));
  return first < 0 ? '' : all.slice(first, all.findLastIndex((ch) => !chars.has(ch)) + 1).join('');
}

const strings: Record<string, Call> = {
  format,
  join: (list, separator) => (list as Value[]).map(text).join(text(separator)),
  replace: (value, from, to) => text(value).replaceAll(text(from), text(to)),
  split: (value, separator) => text(value).split(text(separator)),
  to_lower: (value) => text(value).toLowerCase(),
  to_upper: (value) => text(value).toUpperCase(),
  trim,
  trim_prefix: (value, prefix) =>
    text(value).startsWith(text(prefix)) ? text(value).slice(text(prefix).length) : text(value),
  trim_suffix: (value, suffix) =>
    text(value).endsWith(text(suffix))
      ? text(value).slice(0, -text(suffix).length || undefined)
      : text(value),
  trim_space: (value) => text(value).trim(),
};

const encoding: Record<string, Call> = {
  from_json: (value) => JSON.parse(text(value)) as Value,
  to_json: (value) => JSON.stringify(value),
  from_base64: (value) => Buffer.from(text(value), 'base64').toString(),
  to_base64: (value) => Buffer.from(text(value)).toString('base64'),
  url_encode: (value) => encodeURIComponent(text(value)),
};

const env: Call = (name) => process.env[text(name)] ?? '';
const concat: Call = (...lists) => lists.flatMap((list) => list as Value[]);
const same: Call = (value) => value ?? null;
const empty = (value: Value): boolean =>
  value === null ||
  value === '' ||
  value === 0 ||
  value === false ||
  (Array.isArray(value) && value.length === 0);

export const standardLibrary: Scope = {
  constants: {
    hostname: hostname(),
    os: process.platform,
    arch: process.arch === 'x64' ? 'amd64' : process.arch,
  },
  sys: { env },
  env,
  string: strings,
  ...strings,
  encoding,
  json_decode: encoding['from_json']!,
  base64_decode: encoding['from_base64']!,
  array: { concat },
  concat,
  coalesce: (...values) => values.find((value) => !empty(value)) ?? values.at(-1) ?? null,
  convert: { nonsensitive: same },
  nonsensitive: same,
  file: { path_join: (...parts) => join(...parts.map(text)) },
};
