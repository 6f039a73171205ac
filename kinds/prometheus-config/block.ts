// One marked block of list items under a top-level key of a YAML file that people edit; every other byte stays as
// it is. Pure, and textual: a parser that writes YAML back would lose the comments and the indentation.

export interface Block {
  /** Top-level key whose value is a list: `scrape_configs`. */
  readonly key: string;
  /** Who owns it; stands in the markers. */
  readonly owner: string;
}

const begin = ({ key, owner }: Block) => `# BEGIN homeostat ${owner} ${key}: edit in git, not here`;
const end = ({ key, owner }: Block) => `# END homeostat ${owner} ${key}`;

/** Who has blocks in the text. */
export function ownersIn(text: string): string[] {
  const begins = text.matchAll(/^[ \t]*# BEGIN homeostat (\S+) \S+: edit in git, not here\r?$/gm);
  return [...new Set([...begins].map((m) => m[1]!))];
}

/** The file is not of a form in which a block can be placed; the message says where, and what would be right. */
export class BlockError extends Error {
  override readonly name = 'BlockError';
}

/** The block's items without markers and indentation, or undefined when it is not there (or only half). */
export function readBlock(text: string, block: Block): string | undefined {
  const found = findBlock(linesOf(text), block);
  if (found === undefined) return undefined;
  const inner = linesOf(text).slice(found.start + 1, found.end);
  return inner.map((line) => line.replace(found.indent, '').replace(/\r?\n$/, '')).join('\n');
}

/**
 * The text with the block holding these items, or without the block when they are undefined.
 * @throws BlockError
 */
export function writeBlock(text: string, block: Block, items: string | undefined): string {
  const lines = linesOf(text);
  const eol = /\r\n/.test(text) ? '\r\n' : '\n';
  const found = findBlock(lines, block);
  if (found === undefined) {
    const half = lines.findIndex((l) => l.trim() === begin(block) || l.trim() === end(block));
    if (half >= 0)
      throw new BlockError(
        `line ${half + 1}: half of the block's markers is missing: remove what is left of it`,
      );
    if (items === undefined) return text;
    // A line end for YAML, and none for people's programs: which end a line had would be lost.
    const lone = text.search(/\r(?!\n)/);
    if (lone >= 0) {
      const line = linesOf(text.slice(0, lone + 1)).length;
      throw new BlockError(
        `line ${line}: it has a carriage return alone: save it with one kind of line ends`,
      );
    }
    return insert(lines, block, items, eol).join('');
  }
  const fresh = items === undefined ? [] : render(block, items, found.indent, eol);
  const isUnended = !lines[found.end]!.endsWith('\n');
  lines.splice(found.start, found.end - found.start + 1, ...fresh);
  // The key goes only when it came with the block and nothing else was put below it.
  const above = lines[found.start - 1];
  const alone =
    items === undefined && above?.trim() === `${block.key}: # homeostat` && !hasItems(lines, found.start);
  if (alone) lines.splice(found.start - 1, 1);
  // The file had no newline at its end before the block came.
  if (isUnended) unend(lines);
  return lines.join('');
}

/** The text without any of homeostat's blocks; as many lines as before. */
export function withoutBlocks(text: string): string {
  let isInside = false;
  return linesOf(text)
    .map((line) => {
      if (/^\s*# BEGIN homeostat /.test(line)) isInside = true;
      const kept = isInside ? '\n' : line;
      if (/^\s*# END homeostat /.test(line)) isInside = false;
      return kept;
    })
    .join('');
}

/** Lines with their line ends, so that joining them gives the text back. */
function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function findBlock(lines: readonly string[], block: Block) {
  const start = lines.findIndex((l) => l.trim() === begin(block));
  const stop = lines.findIndex((l, i) => i > start && l.trim() === end(block));
  if (start < 0 || stop < 0) return undefined;
  return { start, end: stop, indent: /^\s*/.exec(lines[start]!)![0].replace(/\r?\n/, '') };
}

function render(block: Block, items: string, indent: string, eol: string): string[] {
  const inner = items.replace(/\n+$/, '').split('\n');
  return [begin(block), ...inner, end(block)].map((line) => (line === '' ? eol : `${indent}${line}${eol}`));
}

/** Into the first document: what stands behind "..." or a second "---" is not read by Prometheus. */
function insert(all: string[], block: Block, items: string, eol: string): string[] {
  const stop = documentEnd(all);
  const lines = all.slice(0, stop);
  return [...insertInto(lines, block, items, eol), ...all.slice(stop)];
}

function documentEnd(lines: readonly string[]): number {
  const begins = lines.findIndex((line) => !/^\uFEFF?(?:[#%].*|\s*)\r?\n?$/.test(line));
  const from = /^---(?:\s|$)/.test(lines[begins] ?? '') ? begins + 1 : begins;
  const stop = lines.findIndex((line, i) => i >= from && /^(?:---|\.\.\.)(?:\s|$)/.test(line));
  return stop < 0 ? lines.length : stop;
}

function insertInto(lines: string[], block: Block, items: string, eol: string): string[] {
  const key = lines.findIndex((l) => new RegExp(`^\\uFEFF?(["']?)${block.key}\\1\\s*:`).test(l));
  if (key < 0) {
    const ours = [`${block.key}: # homeostat${eol}`, ...render(block, items, '  ', eol)];
    return after(lines, lines.length - 1, ours, eol);
  }
  const value = lines[key]!.slice(lines[key]!.indexOf(':') + 1)
    .trim()
    .replace(/\s*#.*$/, '');
  // An anchor or a tag is of the list below.
  if (!/^(?:[&!]\S*(?:\s+|$))*$/.test(value)) {
    const remedy = /^(?:~|null)$/i.test(value)
      ? `remove the word ${value}, so that items can stand below`
      : /^\[\s*\]$/.test(value)
        ? 'remove the brackets, so that items can stand below'
        : 'it is a list in one line: write its items in lines below';
    throw new BlockError(`line ${key + 1}: "${block.key}: ${value}": ${remedy}`);
  }
  const { last, indent } = section(lines, key);
  return after(lines, last, render(block, items, indent, eol), eol);
}

/** A file without a newline at its end has none afterwards, so that it comes back as it was. */
function after(lines: readonly string[], last: number, ours: string[], eol: string): string[] {
  const head = lines.slice(0, last + 1);
  if (last >= 0 && !head[last]!.endsWith('\n')) {
    head[last] = `${head[last]}${eol}`;
    unend(ours);
  }
  return [...head, ...ours, ...lines.slice(last + 1)];
}

function unend(lines: string[]): void {
  if (lines.length > 0) lines[lines.length - 1] = lines.at(-1)!.replace(/\r?\n$/, '');
}

/** The last line that belongs to the list below `key`, and the indentation of its items. */
function section(lines: readonly string[], key: number): { last: number; indent: string } {
  let last = key;
  let indent: string | undefined;
  for (let i = key + 1; i < lines.length; i++) {
    const line = lines[i]!;
    if (line.trim() === '') continue;
    const isItem = /^\s*-(\s|$)/.test(line);
    const isComment = line.trimStart().startsWith('#');
    if (/^\S/.test(line) && !isItem && !isComment) break;
    // A comment at the margin may be the next key's; see below.
    if (isComment && /^\S/.test(line)) continue;
    if (isItem && indent === undefined) indent = /^\s*/.exec(line)![0];
    last = i;
  }
  // Right below the list it is the list's (a job that was commented out), unless the next key stands right below it.
  let end = last + 1;
  while (lines[end]?.startsWith('#')) end += 1;
  if (end === lines.length || lines[end]!.trim() === '') last = end - 1;
  return { last, indent: indent ?? '  ' };
}

function hasItems(lines: readonly string[], from: number): boolean {
  for (const line of lines.slice(from)) {
    if (/^\s*-(\s|$)/.test(line)) return true;
    if (/^[^\s#]/.test(line)) return false;
  }
  return false;
}
