// What is wrong with a manifest, for the person who wrote it: `file:line:column: what is wrong, and what would
// be right`. Diagnostics are collected, never thrown one by one: a person mends all mistakes in one go.

export interface Diagnostic {
  /** Path below the manifests' root, with forward slashes. */
  readonly file: string;
  /** 1-based; 0 when the diagnostic is about the file or the tree as a whole. */
  readonly line: number;
  /** 1-based, in UTF-16 code units; 0 as for `line`. */
  readonly column: number;
  readonly severity: 'error' | 'warning';
  /** One sentence: what is wrong, and what would be right. No trailing full stop. */
  readonly message: string;
}

export function formatDiagnostic(d: Diagnostic): string {
  const place = d.line > 0 ? `${d.file}:${d.line}:${d.column}` : d.file;
  return `${place}: ${d.severity === 'warning' ? 'warning: ' : ''}${d.message}`;
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((d) => d.severity === 'error');
}

/** By file, then position; stable, so that equal places keep the order in which they were found. */
export function sortDiagnostics(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  return [...diagnostics].sort(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column,
  );
}

/** Candidates that one call looks at, and the longest word that it looks for: a hint may not cost more than what it is about. */
const MAX_CANDIDATES = 500;
const MAX_WORD = 200;

/** The candidate nearest to `word`, for "did you mean", or undefined when none is near enough to be meant. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let limit = limitFor(word);
  let count = 0;
  for (const candidate of candidates) {
    count += 1;
    if (count > MAX_CANDIDATES || word.length > MAX_WORD) break;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase(), limit);
    if (distance < limit) {
      best = candidate;
      limit = distance;
    }
  }
  return best;
}

/** Hints from a list of any length (hosts, documents, files), for any number of words: when its work is done up, it has none. */
export class Suggestions {
  readonly #candidates: () => Iterable<string>;
  readonly #known = new Map<string, string | undefined>();
  #byLength: Map<number, string[]> | undefined;
  #left = MAX_STEPS;

  constructor(candidates: () => Iterable<string>) {
    this.#candidates = candidates;
  }

  near(word: string): string | undefined {
    if (!this.#known.has(word)) this.#known.set(word, this.#search(word));
    return this.#known.get(word);
  }

  #search(word: string): string | undefined {
    if (this.#left <= 0 || word.length > MAX_WORD) return undefined;
    let best: string | undefined;
    let limit = limitFor(word);
    const before = steps;
    for (const candidate of this.#ofLength(word.length, limit)) {
      if (steps - before > this.#left) break;
      const distance = editDistance(word.toLowerCase(), candidate.toLowerCase(), limit);
      if (distance >= limit) continue;
      best = candidate;
      limit = distance;
    }
    this.#left -= steps - before;
    return best;
  }

  *#ofLength(length: number, limit: number): Generator<string> {
    this.#byLength ??= Map.groupBy(this.#candidates(), (candidate) => candidate.length);
    for (let off = 0; off < limit; off++) {
      yield* this.#byLength.get(length + off) ?? [];
      if (off > 0) yield* this.#byLength.get(length - off) ?? [];
    }
  }
}

/** Some 50 ms, in all that one list is asked. */
const MAX_STEPS = 2_000_000;
let steps = 0;
/** How much all hints have cost so far; for tests, which count work and not time. */
export function suggestionSteps(): number {
  return steps;
}

function limitFor(word: string): number {
  return Math.max(1, Math.floor(word.length / 3)) + 1;
}

/** Damerau-Levenshtein distance (adjacent swaps count one), cut off at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  steps += 1;
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let value = Math.min(row[j - 1]! + 1, last[j]! + 1, last[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        value = Math.min(value, beforeLast[j - 2]! + 1);
      }
      row.push(value);
      least = Math.min(least, value);
    }
    steps += b.length;
    // A later row is no smaller than the smallest of the two before it, but for a swap, which costs one.
    if (least > limit) return limit;
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
