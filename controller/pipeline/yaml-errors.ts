// js-yaml's words for a syntax error, turned into what the person who wrote the file would do about it.
import { YAMLException } from 'js-yaml';

const WORDS: readonly (readonly [RegExp, string])[] = [
  [/tab characters must not/, "a tab can't indent YAML: use spaces"],
  [/nesting exceeded/, 'lists and mappings are nested deeper than 64 levels: flatten them'],
  [
    /bad indentation of a mapping entry/,
    'this line doesn\'t line up with the keys around it: give keys of one mapping the same indentation, and put a value that has ": " in quotes',
  ],
  [
    /bad indentation of a sequence entry/,
    'this item doesn\'t line up with the others: give all "-" of one list the same indentation',
  ],
  [
    /deficient indentation/,
    "a bracket, brace or quote that was opened above isn't closed before this line: close it, or indent the line",
  ],
  [/missed comma between/, 'a comma is missing between two entries in [ ] or { }'],
  [/unexpected end of the stream within a flow/, "a [ or { isn't closed before the end: close it"],
  [
    /unexpected end of the .* within a (single|double) quoted/,
    "a quote isn't closed before the end: close it",
  ],
  [
    /multiline key may not be an implicit key|expected ':' after/,
    '"key: value" is expected here, and no ": " was found',
  ],
  [
    /end of the stream or a document separator is expected/,
    'this doesn\'t fit what stands above it: a document is one mapping of "key: value" lines, with "---" before the next',
  ],
  [/unknown escape sequence/, 'this \\ escape is unknown: use single quotes where \\ is meant as it is'],
  [/expected hexadecimal/, 'a \\x, \\u or \\U escape needs hexadecimal digits'],
  [/non-printable characters|null byte/, 'a control character stands here, and YAML has none: remove it'],
  [/does not support complex keys/, "a list or mapping can't be a key: use text"],
  [
    /directive/,
    'this % line is no directive that YAML knows: remove it, or put a value that begins with % in quotes',
  ],
];

/**
 * @param error what js-yaml threw.
 * @returns the offset into `source` of the error, and the message, without a place.
 * @throws what is not js-yaml's.
 */
export function explainYamlError(error: unknown, source: string): { offset: number; message: string } {
  if (!(error instanceof YAMLException)) {
    // js-yaml documents that it may throw other errors for odd input; that is no reason to die.
    return { offset: 0, message: `the document can't be read as YAML (${(error as Error).message})` };
  }
  const offset = Math.max(0, error.mark?.position ?? 0);
  const char = source[offset] ?? '';
  if (source[offset - 1] === '$' && char === '{') {
    return { offset: offset - 1, message: 'put text with ${…} in quotes where it stands inside { } or [ ]' };
  }
  const before = source.slice(source.lastIndexOf('\n', offset - 1) + 1, offset);
  if (/^[@`%]$/.test(char) && /[:-]\s+$/.test(before)) {
    return { offset, message: `a value can't begin with ${char}: put it in quotes` };
  }
  if (/['"]\s*$/.test(before) && /bad indentation of a mapping/.test(error.reason)) {
    return {
      offset,
      message:
        'text goes on behind the closing quote: write a quote inside quotes twice, or use the other kind',
    };
  }
  const braces = /complex keys/.test(error.reason) ? source.search(/\{\s*[{[]/) : -1;
  if (braces >= 0) {
    return {
      offset: braces,
      message: 'YAML reads { as the beginning of a mapping: put text with {{ }} in quotes',
    };
  }
  const stuck = /bad indentation of a mapping/.test(error.reason) ? stuckColon(source, offset) : -1;
  if (stuck >= 0)
    return { offset: stuck, message: 'a key is followed by ": ": write a space after this colon' };
  const unknownTag = /unknown \w+ tag !<(.*)>/.exec(error.reason);
  if (unknownTag) {
    return {
      offset,
      message: `the tag ${unknownTag[1]} is unknown: remove it, or put a value that begins with ! in quotes`,
    };
  }
  const words = WORDS.find(([pattern]) => pattern.test(error.reason));
  return { offset, message: words === undefined ? `this is not YAML (${error.reason})` : words[1] };
}

/** `key:value` in the line above the place: where its colon stands, or -1. */
function stuckColon(source: string, offset: number): number {
  const lineStart = source.lastIndexOf('\n', offset - 1) + 1;
  const above = source.slice(source.lastIndexOf('\n', lineStart - 2) + 1, lineStart);
  const match = /^(\s*[A-Za-z]\w*):[^\s:]/.exec(above);
  return match === null ? -1 : lineStart - above.length + match[1]!.length;
}
