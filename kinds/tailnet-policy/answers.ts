// What Tailscale's API says about a policy, in whatever shape it comes: `errors` of one test as a list or as one text,
// `data` as a list of tests, a text, an object or nothing, and no body at all (seen by other clients of it). Pure.
import * as z from 'zod';
import { excerpt } from '../shared/excerpt.ts';

const Texts = z.unknown().optional().transform(textsOf);
const OfATest = z.looseObject({ user: z.string().catch(''), errors: Texts, warnings: Texts });
const Answer = z.looseObject({ message: z.string().catch(''), data: z.unknown().optional() });

export interface Said {
  /** In one line; undefined when nothing is refused. */
  readonly problem?: string;
  readonly warnings: readonly string[];
}

/** @returns undefined for what is no JSON object: then something else answered. */
export function readAnswer(body: string): Said | undefined {
  if (body.trim() === '') return { warnings: [] };
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return undefined;
  }
  const answer = Answer.safeParse(parsed);
  if (!answer.success) return undefined;
  const { message, data } = answer.data;
  const tests = (Array.isArray(data) ? data : []).map((one) => OfATest.safeParse(one).data);
  const of = (what: 'errors' | 'warnings'): string[] =>
    tests.flatMap((test) =>
      (test?.[what] ?? []).map((said) => (test!.user === '' ? said : `from ${test!.user}: ${said}`)),
    );
  const [errors, warnings] = [of('errors'), of('warnings')];
  // Warnings alone refuse nothing.
  if (errors.length === 0 && (message === '' || /^warning/i.test(message))) return { warnings };
  const more = errors.length > 0 ? errors : Array.isArray(data) ? [] : textsOf(data);
  const problem = [message, more.join('; ')].filter((part) => part !== '').join(': ');
  return { problem: excerpt(problem), warnings };
}

function textsOf(said: unknown): string[] {
  return (Array.isArray(said) ? said : isNothing(said) ? [] : [said]).map(text);
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null || value === '';
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
