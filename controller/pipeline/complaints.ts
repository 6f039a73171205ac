// What is wrong with one document: schemas' complaints in words, at their places.
import type * as z from 'zod';
import type { Diagnostic } from '../../api/diagnostics.ts';
import { describeIssues, type Problem } from './describe-issue.ts';
import { valueAt } from './document-values.ts';
import { isDynamic } from './interpolate.ts';
import { diagnosticAt, originOf, type Source } from './parsed.ts';
import type { Path } from './yaml.ts';

export class Complaints {
  readonly list: Diagnostic[] = [];
  readonly #document: Source;

  constructor(document: Source) {
    this.#document = document;
  }

  add(path: Path, at: 'key' | 'value', message: string): void {
    this.list.push(diagnosticAt(this.#document, path, at, message));
  }

  /** @returns whether the value fits, as far as that can be said without a host's values. */
  fits(schema: z.ZodType, value: unknown, prefix: Path, what: string): boolean {
    const result = schema.safeParse(value);
    if (result.success) return true;
    const raw = (path: Path): string => {
      const origin = originOf(this.#document, [...prefix, ...path]);
      return origin.yaml.locate(origin.path).raw;
    };
    // A text that a host's values enter is judged when they are in it.
    const isOpen = ({ path, aboutText }: Problem): boolean => {
      const text = valueAt(value, path);
      return aboutText && typeof text === 'string' && isDynamic(text);
    };
    const problems = describeIssues(result.error, schema, value, raw, what, isOpen);
    for (const { path, at, message } of problems) this.add([...prefix, ...path], at, message);
    return problems.length === 0;
  }
}
