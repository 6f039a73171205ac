// Long work in slices: other requests, timers and events come in between.
import { setImmediate as nextTurn } from 'node:timers/promises';

/** What one slice may take; the loop has more to do in each turn than this. */
const SLICE_MS = 8;

export class Slices {
  #begun = performance.now();

  /** Whether the others have waited long enough. */
  get isOver(): boolean {
    return performance.now() - this.#begun >= SLICE_MS;
  }

  async next(): Promise<void> {
    await nextTurn();
    this.#begun = performance.now();
  }
}

/** As Array.map, in slices. */
export async function mapInSlices<T, R>(items: Iterable<T>, work: (item: T) => R): Promise<R[]> {
  const slices = new Slices();
  const results: R[] = [];
  for (const item of items) {
    results.push(work(item));
    if (slices.isOver) await slices.next();
  }
  return results;
}

/** One a turn: each is work for whoever takes it. */
export async function* oneATurn<T>(items: Iterable<T>): AsyncGenerator<T> {
  for (const item of items) {
    yield item;
    await nextTurn();
  }
}
