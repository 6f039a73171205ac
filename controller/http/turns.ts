// A few requests each turn of the event loop: when ten thousand agents ask at the same moment, the system hands over a
// thousand of them at once, and timers, git and everything else would wait until all of those are answered.
export class Turns {
  readonly #perTurn: number;
  readonly #waiting: (() => void)[] = [];
  #begun = 0;
  #ending = false;

  constructor(perTurn = 16) {
    this.#perTurn = perTurn;
  }

  /** Runs it now, or in a later turn; in the order in which they came. */
  run(work: () => void): void {
    if (this.#begun < this.#perTurn && this.#waiting.length === 0) {
      this.#begun += 1;
      this.#endTurn();
      work();
    } else this.#waiting.push(work);
  }

  #endTurn(): void {
    if (this.#ending) return;
    this.#ending = true;
    setImmediate(() => {
      this.#ending = false;
      const next = this.#waiting.splice(0, this.#perTurn);
      this.#begun = next.length;
      if (next.length > 0) this.#endTurn();
      for (const work of next) work();
    });
  }
}
