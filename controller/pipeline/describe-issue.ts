// What zod says about a value, turned into what the person who wrote the file would do about it. One issue in,
// one message out, with the path it is about; union noise is resolved to the variant that was meant.
import type * as z from 'zod';
import { didYouMean } from '../../api/diagnostics.ts';
import { isSecretRef } from '../../api/documents.ts';
import { valueAt } from './document-values.ts';
import { fieldsAt } from './schema-walk.ts';
import {
  formatWords,
  type Issue,
  isOwnMessage,
  limitWords,
  NOUNS,
  nameOf,
  oneOf,
  show,
  typeWords,
} from './words.ts';

export interface Problem {
  readonly path: readonly PropertyKey[];
  /** Whether the key is what is wrong, and not its value. */
  readonly at: 'key' | 'value';
  readonly message: string;
  /** It hangs on the text of the value, which interpolation may still change. */
  readonly aboutText: boolean;
}

/**
 * @param raw a scalar's text as it stands in the file; '' where there is none.
 * @param what names the thing that has the fields, as in "a File has …".
 * @param skip whether a problem is none yet.
 */
export function describeIssues(
  error: z.ZodError,
  schema: z.ZodType,
  value: unknown,
  raw: (path: readonly PropertyKey[]) => string,
  what: string,
  skip: (problem: Problem) => boolean = () => false,
): Problem[] {
  const describer = new Describer(schema, value, raw, what);
  const misspelt = new Set<string>();
  for (const issue of error.issues) {
    if (issue.code !== 'unrecognized_keys') continue;
    const fields = fieldsAt(schema, issue.path);
    for (const key of issue.keys.slice(0, MAX_PROBLEMS))
      misspelt.add([...issue.path, didYouMean(key, fields)].join('\n'));
  }
  // What is missing because its name has a typo is one mistake, not two.
  const said = (issue: Issue): boolean =>
    issue.code === 'invalid_type' && isAbsent(value, issue.path) && misspelt.has(issue.path.join('\n'));
  const problems: Problem[] = [];
  for (const issue of error.issues) {
    if (said(issue)) continue;
    problems.push(...describer.problems(issue, []).filter((problem) => !skip(problem)));
    if (problems.length > MAX_PROBLEMS) break;
  }
  if (problems.length <= MAX_PROBLEMS) return problems;
  const { path } = problems[MAX_PROBLEMS]!;
  const message = `there is more that is wrong with ${what}: mend what is reported first`;
  return [...problems.slice(0, MAX_PROBLEMS), { path, at: 'value', message, aboutText: false }];
}

/** Of one document: a machine wrote what has more. */
const MAX_PROBLEMS = 100;

function isAbsent(value: unknown, path: readonly PropertyKey[]): boolean {
  return valueAt(value, path) === undefined;
}

class Describer {
  readonly #schema: z.ZodType;
  readonly #value: unknown;
  readonly #raw: (path: readonly PropertyKey[]) => string;
  readonly #what: string;

  constructor(schema: z.ZodType, value: unknown, raw: (p: readonly PropertyKey[]) => string, what: string) {
    this.#schema = schema;
    this.#value = value;
    this.#raw = raw;
    this.#what = what;
  }

  problems(issue: Issue, prefix: readonly PropertyKey[]): Problem[] {
    const path = [...prefix, ...issue.path];
    const value = valueAt(this.#value, path);
    const name = nameOf(path, this.#what);
    const one = (message: string, at: 'key' | 'value' = 'value', aboutText = false): Problem[] => [
      { path, at, message, aboutText },
    ];
    const own = isOwnMessage(issue.message) ? issue.message : undefined;
    switch (issue.code) {
      case 'invalid_type':
        return one(
          own === undefined ? this.#wrongType(path, value, [issue.expected]) : `${name}: ${own}`,
          'value',
          typeof value === 'string',
        );
      case 'unrecognized_keys':
        return issue.keys.slice(0, MAX_PROBLEMS + 1).map((key) => this.#unknownField(path, key));
      case 'invalid_value': {
        const values = issue.values.map(show);
        if (value === undefined) return one(`${name} is missing: it must be ${oneOf(values)}`);
        const near =
          typeof value === 'string' && values.length > 1
            ? didYouMean(value, issue.values.map(String))
            : undefined;
        const hint = near === undefined ? '' : ` (did you mean ${show(near)}?)`;
        return one(
          `${name} is ${show(value)}, and must be ${oneOf(values)}${hint}`,
          'value',
          typeof value === 'string',
        );
      }
      case 'invalid_format':
        return one(`${name} is ${show(value)}: ${own ?? formatWords(issue)}`, 'value', true);
      case 'too_small':
      case 'too_big':
        return one(
          own === undefined ? `${name} ${limitWords(issue, value)}` : `${name}: ${own}`,
          'value',
          true,
        );
      case 'not_multiple_of':
        return one(`${name} is ${show(value)}, and must be a multiple of ${String(issue.divisor)}`);
      case 'invalid_key': {
        const inner = issue.issues[0]?.message ?? '';
        return one(
          `${show(path.at(-1))} can't be a key here: ${isOwnMessage(inner) ? inner : 'it does not have the right form'}`,
          'key',
        );
      }
      case 'invalid_element':
        return issue.issues.flatMap((inner) => this.problems(inner, path));
      case 'invalid_union':
        return this.#union(issue, path, value, own);
      default:
        return one(path.length === 0 ? issue.message : `${name}: ${issue.message}`, 'value', true);
    }
  }

  /** A union says all its variants' complaints; only the variant that was meant matters. */
  #union(
    issue: Issue & { code: 'invalid_union' },
    path: PropertyKey[],
    value: unknown,
    own?: string,
  ): Problem[] {
    const name = nameOf(path, this.#what);
    const at = 'value' as const;
    if ('options' in issue && Array.isArray(issue.options)) {
      const options = issue.options as unknown[];
      const is = value === undefined ? 'is missing, and' : `is ${show(value)}, and`;
      const near = typeof value === 'string' ? didYouMean(value, options.map(String)) : undefined;
      const hint = near === undefined ? '' : ` (did you mean ${show(near)}?)`;
      const message = `${name} ${is} must be ${oneOf(options.map(show))}${hint}`;
      return [{ path, at, message, aboutText: typeof value === 'string' }];
    }
    const variants = issue.errors.filter((issues) => !issues.some(isWholesale));
    const meant = [...variants].sort((a, b) => score(a, value) - score(b, value))[0];
    if (meant !== undefined && (score(meant, value) < 10 || (variants.length === 1 && own === undefined))) {
      return meant.flatMap((inner) => this.problems(inner, path));
    }
    const aboutText = typeof value === 'string';
    if (own !== undefined) {
      const unknown = this.#misspelt(path, value);
      return [
        { path, at, message: unknown === undefined ? own : `${own} (did you mean ${unknown}?)`, aboutText },
      ];
    }
    const expected = issue.errors.flatMap((issues) =>
      issues.flatMap((i) => ('expected' in i && i.path.length === 0 ? [String(i.expected)] : [])),
    );
    if (expected.length > 0)
      return [{ path, at, message: this.#wrongType(path, value, expected), aboutText }];
    const words = issue.errors.flatMap((issues) =>
      issues.map((i) => (i.code === 'invalid_format' ? formatWords(i) : i.message)),
    );
    return [
      { path, at, message: `${name} is ${show(value)}: ${[...new Set(words)].join(', or ')}`, aboutText },
    ];
  }

  #misspelt(path: readonly PropertyKey[], value: unknown): string | undefined {
    if (typeof value !== 'object' || value === null) return undefined;
    const fields = fieldsAt(this.#schema, path);
    for (const key of Object.keys(value).slice(0, MAX_PROBLEMS)) {
      if (fields.includes(key)) continue;
      const near = didYouMean(key, fields);
      if (near !== undefined) return near;
    }
    return undefined;
  }

  #wrongType(path: readonly PropertyKey[], value: unknown, expected: readonly string[]): string {
    const name = nameOf(path, this.#what);
    const nouns = [...new Set(expected.map((e) => this.#noun(path, e)))].join(' or ');
    if (value === undefined)
      return expected[0] === 'nonoptional' ? `${name} is missing` : `${name} is missing: it must be ${nouns}`;
    const raw = this.#raw(path);
    if (value === null) return `${name} has no value, and must be ${nouns}`;
    if (isSecretRef(value)) return `${name} must be ${nouns}: a secret (secretFrom) can't stand here`;
    if (expected.includes('string') && (typeof value === 'number' || typeof value === 'boolean')) {
      const text = raw === '' ? String(value) : raw;
      return `${name} must be text, and YAML reads ${text} as ${typeof value === 'number' ? 'a number' : 'true or false'}: write "${text}" in quotes`;
    }
    if (expected.includes('boolean') && typeof value === 'string') {
      const meant = /^(?:yes|on|y)$/i.test(value)
        ? 'true'
        : /^(?:no|off|n)$/i.test(value)
          ? 'false'
          : undefined;
      if (meant !== undefined)
        return `${name} must be true or false, and YAML 1.2 reads ${value} as text: write ${meant}`;
      if (/^(?:true|false)$/i.test(value))
        return `${name} must be true or false, and quotes make it text: write ${value.toLowerCase()} without quotes`;
    }
    if (
      (expected.includes('number') || expected.includes('int')) &&
      typeof value === 'string' &&
      value.trim() !== '' &&
      Number.isFinite(Number(value))
    ) {
      return `${name} must be ${nouns}, and quotes make it text: write ${value} without quotes`;
    }
    return `${name} must be ${nouns}, and is ${typeWords(value)}`;
  }

  /** For a mapping, its fields: `a mapping with secretFrom`. */
  #noun(path: readonly PropertyKey[], expected: string): string {
    if (expected === 'object') {
      const fields = fieldsAt(this.#schema, path);
      if (fields.length > 0 && fields.length <= 4) return `a mapping with ${fields.join(', ')}`;
    }
    return NOUNS[expected] ?? expected;
  }

  #unknownField(path: readonly PropertyKey[], key: string): Problem {
    const fields = fieldsAt(this.#schema, path);
    const near = didYouMean(key, fields);
    const where = path.length === 0 ? this.#what : nameOf(path, this.#what);
    const hint =
      key === '<<'
        ? "merge keys aren't part of YAML 1.2, write the fields out"
        : near !== undefined
          ? `did you mean "${near}"?`
          : fields.length > 0
            ? `${where} has ${fields.join(', ')}`
            : 'remove it';
    return { path: [...path, key], at: 'key', message: `unknown field "${key}": ${hint}`, aboutText: false };
  }
}

/** The whole value is of another type: this variant was not meant. */
function isWholesale(issue: Issue): boolean {
  return issue.path.length === 0 && issue.code !== 'unrecognized_keys' && issue.code !== 'custom';
}

/** How far a variant is from what was written; below 10, its own complaints are the best answer. */
function score(issues: readonly Issue[], value: unknown): number {
  let sum = 0;
  for (const issue of issues) {
    if (issue.code === 'unrecognized_keys') sum += issue.path.length === 0 ? 10 * issue.keys.length : 1;
    else if (
      (issue.code === 'invalid_type' || issue.code === 'invalid_value') &&
      issue.path.length === 1 &&
      (isAbsent(value, issue.path) || /nonoptional/.test(issue.message))
    )
      sum += 10;
    else sum += 1;
  }
  return sum;
}
