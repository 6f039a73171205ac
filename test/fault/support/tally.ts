// What a suite survived, and what it did not; and doing many things at a time.
export class Tally {
  readonly name: string;
  survived = 0;
  readonly #failures: string[] = [];

  constructor(name: string) {
    this.name = name;
  }

  get total(): number {
    return this.survived + this.#failures.length;
  }

  /** One thing that is to be survived; what it throws is why it was not. */
  async check(what: string, body: () => unknown): Promise<void> {
    try {
      await body();
      this.survived += 1;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#failures.push(`${what}: ${why}`);
      console.log(`  NOT SURVIVED ${what}: ${why.slice(0, 1500)}`);
    }
  }

  /** @returns whether all was survived. */
  print(): boolean {
    console.log(`fault ${this.name}: survived ${this.survived} of ${this.total}`);
    return this.#failures.length === 0 && this.total > 0;
  }
}

/** Works on all of them, at most `width` at a time. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = [...items].reverse();
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let item = rest.pop(); item !== undefined; item = rest.pop()) await work(item);
    }),
  );
}
