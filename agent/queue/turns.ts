// Turns of the event loop, shared out in the order in which they were asked for. Many passes wait for the same flush;
// were they all to go on at once, each with a write that blocks the process, no event would be read until the last of
// them had written. What is quick shares a turn, since a turn has its price, too.

/** After this, events are read before the next one goes on. */
const TURN_MS = 2;

export class Turns {
  readonly #now: () => number;
  readonly #waiting: (() => void)[] = [];
  #scheduled = false;
  #endsAt = 0;

  /** @param now a clock that never goes back, milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Settles when those before have gone on, and what happened meanwhile was read if they took long. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (!this.#scheduled) this.#begin();
    });
  }

  #begin(): void {
    this.#scheduled = true;
    setImmediate(() => {
      this.#endsAt = this.#now() + TURN_MS;
      this.#goOn();
    });
  }

  #goOn(): void {
    const resolve = this.#waiting.shift();
    this.#scheduled = resolve !== undefined;
    if (resolve === undefined) return;
    resolve();
    // A tick that is asked for by a promise comes when no promise is left to run: all that follows is over then.
    void Promise.resolve().then(() =>
      process.nextTick(() => (this.#now() < this.#endsAt ? this.#goOn() : this.#begin())),
    );
  }
}
