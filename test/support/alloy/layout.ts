/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): where `alloy fmt` puts
 * blanks, lines and comments. Cells of neighbouring lines (`name`, `= value`, `// comment`) are aligned by
 * the elastic tabstops of Go's text/tabwriter; comments are woven in by their place in the source.
 */
import type { Comment } from './ast.ts';
import type { Source } from './source.ts';

/** Pending blanks: a cell's end, a line's end, one that also ends the alignment, and indentation. */
export type Blank = 'space' | 'cell' | 'line' | 'break' | 'in' | 'out';

interface Line {
  indent: number;
  cells: string[];
  /** Nothing after this line is aligned with anything up to it. */
  breaks: boolean;
  /** A comment's trailing blanks are its own. */
  endsInComment: boolean;
}

const MOST_LINE_ENDS = 2;

export class Layout {
  readonly #source: Source;
  readonly #comments: Comment[];
  readonly #lines: Line[] = [];
  #line: Line | undefined;
  #indent = 0;
  #pending: Blank[] = [];
  /** Where the next text stands in the source, roughly: only comments need to know. */
  #offset = 0;
  #sourceLine = 1;
  #lastLine = 0;

  constructor(source: Source, comments: Comment[]) {
    this.#source = source;
    this.#comments = [...comments];
  }

  blank(...blanks: Blank[]): void {
    this.#pending.push(...blanks);
  }

  /** Writes text; `at` is its place in the source where it is known. */
  text(text: string, at?: number): void {
    if (at !== undefined) {
      this.#offset = at;
      this.#sourceLine = this.#source.line(at);
    }
    const next = { offset: this.#offset, line: this.#sourceLine };
    if (this.#commentBefore(next.offset)) this.#weave(next);
    else this.#release(this.#pending.length);
    this.#offset = next.offset;
    this.#sourceLine = next.line;
    this.#write(text);
  }

  /** The comments after everything else, and the whole text. */
  end(): string {
    if (this.#commentBefore(Number.POSITIVE_INFINITY)) this.#weave(undefined);
    this.#endLine(true);
    return align(this.#lines);
  }

  #commentBefore(offset: number): boolean {
    return this.#comments.length > 0 && this.#comments[0]!.at <= offset;
  }

  #weave(next: { offset: number; line: number } | undefined): void {
    let last: Comment | undefined;
    while (this.#commentBefore(next?.offset ?? Number.POSITIVE_INFINITY)) {
      last = this.#comments.shift()!;
      this.#beforeComment(last, next?.line);
      this.#sourceLine = this.#source.line(last.at);
      this.#write(last.text);
      if (this.#line) this.#line.endsInComment = true;
    }
    if (!next || !last) return;
    if (last.text.startsWith('/*') && this.#sourceLine === next.line) this.#append(' ');
    const breaks = this.#pending.includes('break');
    this.#pending = this.#pending.filter((blank) => blank === 'in' || blank === 'out');
    this.#release(this.#pending.length);
    this.#endLines(next.line - this.#lastLine, breaks);
  }

  #beforeComment(comment: Comment, nextLine: number | undefined): void {
    if (this.#lines.length === 0 && !this.#line) return;
    const line = this.#source.line(comment.at);
    if (line === this.#lastLine) {
      if (line === nextLine) this.#append(' ');
      else this.#current().cells.push('');
      return;
    }
    // Indentation that was asked for before the line's end already counts for the comment.
    const first = this.#pending.findIndex((blank) => blank !== 'in' && blank !== 'out');
    if (first >= 0) {
      this.#pending.splice(first, 1);
      this.#release(first);
    }
    this.#endLines(line - this.#lastLine, true);
  }

  #release(count: number): void {
    for (const blank of this.#pending.splice(0, count)) {
      if (blank === 'in') this.#indent += 1;
      else if (blank === 'out') this.#indent -= 1;
      else if (blank === 'space') this.#append(' ');
      else if (blank === 'cell') this.#current().cells.push('');
      else this.#endLines(1, blank === 'break');
    }
  }

  #endLines(count: number, breaks: boolean): void {
    for (let done = 0; done < Math.min(count, MOST_LINE_ENDS); done += 1) {
      this.#endLine(breaks);
      this.#sourceLine += 1;
    }
  }

  #endLine(breaks: boolean): void {
    this.#lines.push({ ...this.#current(), breaks });
    this.#line = undefined;
  }

  #current(): Line {
    this.#line ??= { indent: this.#indent, cells: [''], breaks: false, endsInComment: false };
    return this.#line;
  }

  #append(text: string): void {
    const line = this.#current();
    line.cells[line.cells.length - 1] += text;
    line.endsInComment = false;
  }

  #write(text: string): void {
    this.#append(text);
    this.#offset += text.length;
    this.#sourceLine += text.split('\n').length - 1;
    this.#lastLine = this.#sourceLine;
  }
}

function align(lines: Line[]): string {
  const columns = Math.max(0, ...lines.map((line) => line.cells.length - 1));
  for (let column = 0; column < columns; column += 1) {
    let run: Line[] = [];
    const close = (): void => {
      const width = Math.max(0, ...run.map((line) => [...line.cells[column]!].length)) + 1;
      for (const line of run) {
        const cell = line.cells[column]!;
        line.cells[column] = cell + ' '.repeat(width - [...cell].length);
      }
      run = [];
    };
    for (const line of lines) {
      const fits = line.cells.length - 1 > column && (run.length === 0 || run[0]!.indent === line.indent);
      if (!fits) close();
      if (line.cells.length - 1 > column) run.push(line);
      if (line.breaks) close();
    }
    close();
  }
  return lines
    .map(({ indent, cells, endsInComment }) => {
      const text = '\t'.repeat(indent) + cells.join('');
      return `${endsInComment ? text : text.replace(/[ \t]+$/, '')}\n`;
    })
    .join('');
}
