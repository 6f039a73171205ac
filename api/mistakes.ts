// What is wrong with JSON that a program or a person wrote, in words: the field, what it is, and what would be right.
// Manifests, which have places and a person in front of them, get more (controller/pipeline/describe-issue.ts).
import type * as z from 'zod';
import { didYouMean } from './diagnostics.ts';

const NOUNS: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'text',
};

/** zod's own messages, which name types as programs do; those of the schema's author say what would be right. */
const OF_ZOD = /^(?:Invalid |Unrecognized |Too (?:small|big))/;

/**
 * Each on a line, as `field controller: it is missing, and must be text`.
 * @param fields of what may be there, to find what a misspelt one was meant to be.
 */
export function mistakesIn(error: z.ZodError, value: unknown, fields: readonly string[] = []): string {
  return error.issues.map((issue) => mistake(issue, value, fields)).join('\n');
}

function mistake(issue: z.core.$ZodIssue, value: unknown, fields: readonly string[]): string {
  const field = issue.path.map((part, i) =>
    typeof part === 'number' ? `[${part}]` : `${i > 0 ? '.' : ''}${String(part)}`,
  );
  const where = field.length === 0 ? '' : `field ${field.join('')}: `;
  const at = issue.path.reduce<unknown>(within, value);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${where}${unknownField(key, fields)}`).join('\n');
  }
  if (!OF_ZOD.test(issue.message)) return `${where}it is ${shown(at)}: ${issue.message}`;
  if (issue.code === 'invalid_type') {
    return `${where}it is ${shown(at)}, and must be ${NOUNS[issue.expected] ?? issue.expected}`;
  }
  if (issue.code === 'invalid_value') {
    return `${where}it is ${shown(at)}, and must be ${issue.values.map((v) => JSON.stringify(v)).join(' or ')}`;
  }
  if (issue.code === 'too_big') return `${where}it is ${shown(at)}, and ${issue.maximum} is the most`;
  if (issue.code === 'too_small') return `${where}it is ${shown(at)}, and ${issue.minimum} is the least`;
  return `${where}it is ${shown(at)}, which does not have the right form`;
}

function unknownField(key: string, fields: readonly string[]): string {
  const near = didYouMean(key, fields);
  return `there is no field "${key}": ${near === undefined ? 'remove it' : `did you mean "${near}"?`}`;
}

function within(value: unknown, part: PropertyKey): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, part) : undefined;
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Where a text stops being JSON, and why; `error` is what JSON.parse threw. Quotes no more than one character of it. */
export function jsonMistake(text: string, error: unknown): string {
  const said = error instanceof Error ? error.message : '';
  if (text.trim() === '') return 'it is empty';
  if (/^Unexpected end|^Unterminated/.test(said)) return 'it ends too early';
  const token = /^Unexpected token '(?:[^']|')+?',? /su.exec(said)?.[0];
  const position = Number(
    / at position (\d+)/.exec(said)?.[1] ?? (token === undefined ? 0 : firstWith(text, token)),
  );
  const before = text.slice(0, position).split('\n');
  const why =
    token === undefined
      ? said.replace(/ in JSON at position .*| at position .*/s, '').replace(/^./, (c) => c.toLowerCase())
      : `${JSON.stringify(text[position] ?? '')} is not expected here`;
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}: ${why}`;
}

/** V8 names no position for an unexpected token: it is where a text that is cut off begins to be told of it. */
function firstWith(text: string, message: string): number {
  let [without, withIt] = [0, text.length];
  while (withIt - without > 1) {
    const middle = Math.floor((without + withIt) / 2);
    if (messageOf(text.slice(0, middle)).startsWith(message)) withIt = middle;
    else without = middle;
  }
  return without;
}

function messageOf(text: string): string {
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : '';
  }
}
