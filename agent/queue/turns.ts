// Turns of the event loop, one for each that asks, in their order. Many passes wait for the same flush; were they all
// to go on at once, each with a write that blocks the process, no event would be read until the last had written.
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Settles in a turn of the event loop in which nobody else's does, after what has happened meanwhile was read. */
  next(): Promise<void> {
    this.#last = this.#last.then(() => new Promise((resolve) => setImmediate(resolve)));
    return this.#last;
  }
}
