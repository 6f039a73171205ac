// Lines and columns of offsets into a text. The lines are counted once, since there may be as many places as lines.

/** 1-based; columns in UTF-16 code units. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export class Lines {
  readonly #text: string;
  readonly #first: number;
  /** Offsets at which lines begin. */
  #starts: readonly number[] | undefined;

  /** @param first number of the text's first line. */
  constructor(text: string, first = 1) {
    this.#text = text;
    this.#first = first;
  }

  placeOf(offset: number): Place {
    const at = Math.min(offset, this.#text.length);
    this.#starts ??= [0, ...breaks(this.#text)];
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! <= at) low = middle;
      else high = middle;
    }
    return { line: this.#first + low, column: at - this.#starts[low]! + 1 };
  }
}

export function countLineBreaks(text: string): number {
  let count = 0;
  for (const _ of breaks(text)) count++;
  return count;
}

/** Offsets behind line breaks: LF, CRLF and CR (YAML 1.2, section 5.4). */
function* breaks(text: string): Generator<number> {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 10 || (code === 13 && text.charCodeAt(i + 1) !== 10)) yield i + 1;
  }
}
