// Regular expressions of manifests. JavaScript's own may take hours for a short text, and stop all that the agent does
// meanwhile; those of RE2 (github.com/google/re2/wiki/Syntax) take time in proportion to the text, whatever they are.
// The library is loaded with the first of them.
import { inWords, Stalled } from '../../api/errors.ts';

/** Whether some line of a text fits. */
type Test = (text: string) => Promise<boolean>;
/** @throws Stalled('Invalid') for what is no such expression */
export type Compile = (pattern: string) => Test;

const LONGEST_PATTERN = 1_000;
const TOO_LONG = `it has more than ${LONGEST_PATTERN} characters`;
/** Instructions that a pattern is compiled to: a text takes as many steps for each of its characters, at the worst. */
const LARGEST_PROGRAM = 2_000;
/** Steps without a turn for others (about 0.1 s at the worst), and steps in all: what lies behind is not looked at. */
const STEPS_AT_ONCE = 1_000_000;
const STEPS_IN_ALL = 20_000_000;

export async function loadRegExps(): Promise<Compile> {
  const { RE2JS } = await import('re2js');
  return (pattern) => {
    const wrong = (why: string) => new Stalled('Invalid', `/${pattern}/ is no regular expression: ${why}`);
    if (pattern.length > LONGEST_PATTERN) throw wrong(TOO_LONG);
    try {
      const compiled = RE2JS.compile(pattern);
      const size = compiled.programSize();
      if (size > LARGEST_PROGRAM) throw new Error('it is too large');
      return (text) => someLine(text, size, (line) => compiled.matcher(line).find());
    } catch (error) {
      throw wrong(inWords(error));
    }
  };
}

async function someLine(text: string, size: number, fits: (line: string) => boolean): Promise<boolean> {
  const longest = Math.floor(STEPS_AT_ONCE / size);
  let steps = 0;
  for (const line of text.slice(0, Math.floor(STEPS_IN_ALL / size)).split('\n')) {
    const looked = line.slice(0, longest);
    if (fits(looked)) return true;
    steps += (looked.length + 1) * size;
    if (steps < STEPS_AT_ONCE) continue;
    steps = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return false;
}

/** Whether all is well as far as it can be said without the library; for the controller. Pure. */
export function patternFault(pattern: string): string | undefined {
  if (pattern.length > LONGEST_PATTERN) return TOO_LONG;
  const unknown = /\(\?<?[=!]|\\[1-9]|\\k</.exec(pattern.replace(/\\\\/g, ''))?.[0];
  if (unknown !== undefined) return `${unknown} is not known here (the syntax is that of RE2)`;
  try {
    new RegExp(pattern.replace(/^\(\?[imsU]+\)/, '').replace(/\(\?P</g, '(?<'), 'm');
    return undefined;
  } catch (error) {
    return inWords(error);
  }
}
