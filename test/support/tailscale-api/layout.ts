// How Tailscale's server lays out a policy that it takes: as hujson.Format does
// (https://github.com/tailscale/hujson), which cmd/gitops-pusher relies on for its ETag. What is followed here: tabs,
// white space within a line, a trailing comma in what spans lines, comments without trailing space, strings without
// escapes that they don't need, one newline at the end; standard JSON stays standard. What is not: the alignment of
// values, and which lists are spread over lines. test/unit/support/tailscale-api.test.ts compares it with recordings.
import { applyEdits, createScanner, type Node, parseTree } from 'jsonc-parser';

// SyntaxKind of jsonc-parser, whose enum is none at run time for those who strip types.
const OPEN = [1, 3];
const CLOSE = [2, 4];
const COMMA = 5;
const COLON = 6;
const STRING = 10;
const COMMENTS = [12, 13];
const LINE_COMMENT = 12;
const LINE_BREAK = 14;
const SPACE = 15;
const EOF = 17;

export function layOut(text: string): string {
  const unix = text.replace(/\r\n?/g, '\n');
  let out = '';
  let depth = 0;
  let breaks = 0;
  let before = 0;
  for (const { kind, value } of scan(unix)) {
    if (kind === SPACE) continue;
    if (kind === LINE_BREAK) {
      breaks += 1;
      continue;
    }
    if (CLOSE.includes(kind)) depth -= 1;
    if (breaks > 0 && out !== '') out += `${'\n'.repeat(Math.min(breaks, 2))}${'\t'.repeat(depth)}`;
    else if (
      out !== '' &&
      kind !== COMMA &&
      ([COMMA, COLON, ...COMMENTS].includes(before) || COMMENTS.includes(kind))
    )
      out += ' ';
    if (OPEN.includes(kind)) depth += 1;
    out +=
      kind === STRING ? JSON.stringify(value) : COMMENTS.includes(kind) ? commentText(value, depth) : value;
    before = kind;
    breaks = 0;
  }
  return `${isStandard(unix) ? out : withTrailingCommas(out)}\n`;
}

/** hujson wants a line break after a // comment; jsonc-parser does not. */
export function endsInComment(text: string): boolean {
  return [...scan(text)].at(-1)?.kind === LINE_COMMENT;
}

function* scan(text: string): Generator<{ kind: number; value: string }> {
  const scanner = createScanner(text);
  for (let kind: number = scanner.scan(); kind !== EOF; kind = scanner.scan()) {
    const raw = text.slice(scanner.getTokenOffset(), scanner.getTokenOffset() + scanner.getTokenLength());
    yield { kind, value: kind === STRING ? scanner.getTokenValue() : raw };
  }
}

function commentText(raw: string, depth: number): string {
  return raw
    .split('\n')
    .map((line, i) => (i === 0 ? line.trimEnd() : `${'\t'.repeat(depth)}${line.trim()}`))
    .join('\n');
}

function isStandard(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function withTrailingCommas(text: string): string {
  const edits: { offset: number; length: number; content: string }[] = [];
  const visit = (node: Node): void => {
    const last = node.children?.at(-1);
    if (last !== undefined && (node.type === 'object' || node.type === 'array')) {
      const behind = text.slice(last.offset + last.length, node.offset + node.length - 1);
      const bare = behind.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\//g, '');
      if (behind.includes('\n') && !bare.includes(',')) {
        edits.push({ offset: last.offset + last.length, length: 0, content: ',' });
      }
    }
    for (const child of node.children ?? []) visit(child);
  };
  const root = parseTree(text, [], { allowTrailingComma: true });
  if (root !== undefined) visit(root);
  return applyEdits(
    text,
    edits.sort((a, b) => a.offset - b.offset),
  );
}
