/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): a configuration file's
 * text with its positions, and diagnostics printed as the recordings in shared/data/alloy show them
 * (`validate.stderr` of bad-attr, bad-ref, bad-syntax).
 */

/** One file. Offsets count UTF-16 units of the text; columns count bytes, as Alloy's do. */
export class Source {
  readonly name: string;
  readonly text: string;
  readonly lines: string[];
  readonly #starts: number[];

  constructor(name: string, text: string) {
    this.name = name;
    this.text = text;
    this.lines = text.split('\n');
    this.#starts = [0];
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#starts.push(at + 1);
  }

  /** Line and column of an offset, both from 1. */
  position(offset: number): { line: number; column: number } {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    const column = Buffer.byteLength(this.text.slice(this.#starts[low], offset)) + 1;
    return { line: low + 1, column };
  }

  line(offset: number): number {
    return this.position(offset).line;
  }

  /** `file:line:column`, the form of every diagnostic. */
  where(offset: number): string {
    const { line, column } = this.position(offset);
    return `${this.name}:${line}:${column}`;
  }
}

export interface Diagnostic {
  severity: 'Error' | 'Warning';
  source: Source;
  /** Offset of the first character meant. */
  start: number;
  /** Offset of the last one (inclusive); the start when left out. */
  end?: number;
  message: string;
}

/** What Alloy reports of a config it refuses: never empty. */
export class ConfigError extends Error {
  readonly diagnostics: Diagnostic[];

  constructor(diagnostics: Diagnostic[]) {
    super(summary(diagnostics));
    this.diagnostics = diagnostics;
  }
}

export function headline(diagnostic: Diagnostic): string {
  return `${diagnostic.source.where(diagnostic.start)}: ${diagnostic.message}`;
}

function summary(diagnostics: Diagnostic[]): string {
  const more = diagnostics.length > 1 ? ` (and ${diagnostics.length - 1} more diagnostics)` : '';
  return headline(diagnostics[0]!) + more;
}

/** All diagnostics with their excerpts: one line of context around each, a blank line between them. */
export function printDiagnostics(diagnostics: Diagnostic[]): string {
  return diagnostics.map((one) => `${one.severity}: ${headline(one)}\n\n${excerpt(one)}`).join('\n');
}

function excerpt(diagnostic: Diagnostic): string {
  const { source } = diagnostic;
  const start = source.position(diagnostic.start);
  const end = source.position(diagnostic.end ?? diagnostic.start);
  const first = Math.max(start.line - 1, 1);
  const last = Math.min(end.line + 1, source.lines.length);
  const width = String(last).length;
  const several = end.line > start.line;
  let out = '';
  for (let line = first; line <= last; line += 1) {
    const text = source.lines[line - 1]!;
    const bar = several ? (line >= start.line && line <= end.line ? '| ' : '  ') : '';
    out += `${String(line).padStart(width)} | ${bar}${text.replace(/\r/g, '').replace(/[\t\v]/g, '    ')}\n`;
    if (line !== start.line && !(several && line === end.line)) continue;
    const margin = several ? (line === start.line ? ' |  _' : ' | |_') : ' | ';
    out += `${' '.repeat(width)}${margin}${focus(text, line, start, end)}\n`;
  }
  return out;
}

/** The row of carets under a line; a diagnostic over several lines is drawn with a rule instead of blanks. */
function focus(
  text: string,
  line: number,
  start: { line: number; column: number },
  end: { line: number; column: number },
): string {
  const blank = end.line > start.line ? '_' : ' ';
  let column = 1;
  let out = '';
  for (const ch of text) {
    if (line === end.line && column > end.column) break;
    const meant =
      (line > start.line || column >= start.column) &&
      // On a single-line diagnostic the break above ends the run.
      (line < end.line || line === start.line || column <= end.column);
    if (ch === '\t' || ch === '\v') out += blank.repeat(4);
    else out += meant ? '^' : blank;
    column += Buffer.byteLength(ch);
  }
  return out;
}
