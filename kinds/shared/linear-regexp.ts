// Regular expressions of manifests. JavaScript's own may take hours for a short text, and stop all that the agent does
// meanwhile; those of RE2 (github.com/google/re2/wiki/Syntax) take time in proportion to the text, whatever they are.
// The library is loaded with the first of them.
import { inWords, Stalled } from '../../api/errors.ts';

export type Test = (text: string) => boolean;
/** @throws Stalled('Invalid') for what is no such expression */
export type Compile = (pattern: string) => Test;

const LONGEST_PATTERN = 1_000;
/** What lies behind is not looked at. */
export const LONGEST_TEXT = 1024 * 1024;

export async function loadRegExps(): Promise<Compile> {
  const { RE2JS } = await import('re2js');
  return (pattern) => {
    const fault = patternFault(pattern);
    if (fault !== undefined) throw new Stalled('Invalid', `/${pattern}/ is no regular expression: ${fault}`);
    try {
      const compiled = RE2JS.compile(pattern, RE2JS.MULTILINE);
      return (text) => compiled.matcher(text.slice(0, LONGEST_TEXT)).find();
    } catch (error) {
      throw new Stalled('Invalid', `/${pattern}/ is no regular expression: ${inWords(error)}`);
    }
  };
}

/** Whether all is well as far as it can be said without the library; for the controller. Pure. */
export function patternFault(pattern: string): string | undefined {
  if (pattern.length > LONGEST_PATTERN) return `it has more than ${LONGEST_PATTERN} characters`;
  const unknown = /\(\?<?[=!]|\\[1-9]|\\k</.exec(pattern.replace(/\\\\/g, ''))?.[0];
  if (unknown !== undefined) return `${unknown} is not known here (the syntax is that of RE2)`;
  try {
    new RegExp(pattern.replace(/\(\?P</g, '(?<'), 'm');
    return undefined;
  } catch (error) {
    return inWords(error);
  }
}
