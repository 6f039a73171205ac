// Words for what diagnostics about values are made of: names of fields, kinds of values, limits.
import type * as z from 'zod';

export type Issue = z.core.$ZodIssue;

export const NOUNS: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  null: 'empty',
};

export function isOwnMessage(message: string): boolean {
  return !/^(?:Invalid|Too (?:small|big)|Unrecognized key)/.test(message);
}

export function formatWords(issue: Issue & { code: 'invalid_format' }): string {
  const extra = issue as { prefix?: string; suffix?: string; includes?: string; pattern?: string };
  if (issue.format === 'starts_with') return `it must begin with "${extra.prefix}"`;
  if (issue.format === 'ends_with') return `it must end with "${extra.suffix}"`;
  if (issue.format === 'includes') return `it must have "${extra.includes}" in it`;
  if (issue.format === 'regex') return `it must match ${extra.pattern}`;
  if (issue.format === 'url') return 'it must be a URL, as in http://localhost:9090';
  if (issue.format === 'ipv4' || issue.format === 'ipv6')
    return `it must be an ${issue.format === 'ipv4' ? 'IPv4' : 'IPv6'} address`;
  return `it must be ${/^[aeiou]/.test(issue.format) ? 'an' : 'a'} ${issue.format}`;
}

export function limitWords(issue: Issue & { code: 'too_small' | 'too_big' }, value: unknown): string {
  const small = issue.code === 'too_small';
  const limit = Number(small ? issue.minimum : issue.maximum);
  const bound =
    issue.inclusive === false ? (small ? 'more than' : 'less than') : small ? 'at least' : 'at most';
  if (issue.origin === 'string') {
    if (small && limit === 1) return 'is empty: give it a value, or leave the line out';
    return `has ${String(value).length} characters, and must have ${bound} ${limit}`;
  }
  if (issue.origin === 'array' || issue.origin === 'set') {
    const count = Array.isArray(value) ? value.length : 0;
    return `has ${count === 0 ? 'no items' : `${count} items`}, and must have ${bound} ${limit}`;
  }
  return `is ${show(value)}, and must be ${bound} ${limit}`;
}

/** `"mode"`, `item 2 of "names"`; for the whole, what it is. */
export function nameOf(path: readonly PropertyKey[], what: string): string {
  const last = path.at(-1);
  if (last === undefined) return what;
  if (typeof last !== 'number') return `"${String(last)}"`;
  return `item ${last + 1} of ${nameOf(path.slice(0, -1), what)}`;
}

export function oneOf(values: readonly string[]): string {
  return values.length < 2 ? (values[0] ?? '') : `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`;
}

/** A value as it may be shown in one line. */
export function show(value: unknown): string {
  const text =
    typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
      ? JSON.stringify(value)
      : typeWords(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}…"`;
}

export function typeWords(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  return NOUNS[typeof value] ?? typeof value;
}
