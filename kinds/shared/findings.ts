// What `check` finds, a mistake a row. Pure.
import type { Finding } from '../kind.ts';

/** Whether it was made, where, and what would be right. */
export type Mistake = readonly [isMade: boolean, path: Finding['path'], message: string];

export function findings(...mistakes: readonly Mistake[]): Finding[] {
  return mistakes.filter(([isMade]) => isMade).map(([, path, message]) => ({ path, message }));
}
