// What `check` finds, a mistake a row. Pure.
import type { Finding } from '../kind.ts';

/** Whether it was made, where, and what would be right. */
export type Mistake = readonly [isMade: boolean, path: Finding['path'], message: string];

export function findings(...mistakes: readonly Mistake[]): Finding[] {
  return mistakes.filter(([isMade]) => isMade).map(([, path, message]) => ({ path, message }));
}

/** A text stands in the manifest or in a file beside it. @param path of the mapping that has the two fields */
export function bothContents(
  { content, contentFrom }: { content?: unknown; contentFrom?: unknown },
  path: Finding['path'] = [],
): Mistake {
  const isBoth = content !== undefined && contentFrom !== undefined;
  return [isBoth, [...path, 'contentFrom'], 'content and contentFrom exclude each other; keep one'];
}
