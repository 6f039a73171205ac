// Patterns, without backtracking: as regular expressions, or with all that a shell knows, some stop the process. Pure.

type Fits = (character: string) => boolean;
const STAR = '*';

/** @param boundary the characters that `*` does not stand for. */
function fits(text: string, pattern: readonly (Fits | typeof STAR)[], boundary = ''): boolean {
  let [t, p] = [0, 0];
  // Where the last star was met, and what it stands for so far. A star before it never needs to stand for more.
  let [star, taken] = [-1, 0];
  while (t < text.length) {
    const part = pattern[p];
    if (part === STAR) {
      star = p++;
      taken = t;
    } else if (part?.(text[t]!) === true) {
      p += 1;
      t += 1;
    } else if (star >= 0 && !boundary.includes(text[taken]!)) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  while (pattern[p] === STAR) p += 1;
  return p === pattern.length;
}

const literal =
  (wanted: string): Fits =>
  (character) =>
    character === wanted;

/** Whether a text fits a pattern in which `*` stands for any characters but those of the boundary, and all else for itself. */
export function fitsPattern(text: string, pattern: string, boundary = ''): boolean {
  const parts = pattern.split('').map((character) => (character === '*' ? STAR : literal(character)));
  return fits(text, parts, boundary);
}

/** Whether a name fits a pattern as Go's filepath.Match has them: `*`, `?`, `[a-z]`, and `\` before what means itself. */
export function fitsGlob(name: string, pattern: string): boolean {
  const parts: (Fits | typeof STAR)[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i]!;
    const end = character === '[' ? pattern.indexOf(']', i + 2) : -1;
    if (end > 0) {
      parts.push(classOf(pattern.slice(i + 1, end)));
      i = end;
    } else if (character === '*') parts.push(STAR);
    else if (character === '?') parts.push(() => true);
    else parts.push(literal(character === '\\' ? (pattern[++i] ?? '\\') : character));
  }
  return fits(name, parts);
}

/** The same for a whole path: wildcards stand for no slash. */
export function fitsPathGlob(file: string, pattern: string): boolean {
  const [names, patterns] = [file.split('/'), pattern.split('/')];
  return names.length === patterns.length && names.every((name, i) => fitsGlob(name, patterns[i]!));
}

function classOf(text: string): Fits {
  const isNot = text.startsWith('^');
  const ranges = [...text.slice(isNot ? 1 : 0).matchAll(/(.)-(.)|(.)/gs)];
  return (character) =>
    isNot !==
    ranges.some(([, from, to, one]) =>
      one === undefined ? from! <= character && character <= to! : one === character,
    );
}
