// Waits on what lives longer than the wait: a connection, a signal, a download. A reaction that is added to a promise
// stays as long as the promise does, and a listener as long as its signal: one for each call is a leak. Whoever waits
// here leaves nothing behind.

/** Takes back what was arranged. May be called again. */
export type Leave = () => void;
export type Source<T> = (resolve: (value: T) => void, reject: (reason: unknown) => void) => Leave;

/** Settles with the first source that does, and leaves all of them. */
export async function firstOf<T>(...sources: readonly Source<T>[]): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const leaves: Leave[] = [];
  try {
    for (const source of sources) leaves.push(source(resolve, reject));
    return await promise;
  } finally {
    for (const leave of leaves) leave();
  }
}

/** Calls at once when the signal has aborted already. */
export function onAbort(signal: AbortSignal | undefined, listener: (reason: unknown) => void): Leave {
  const abort = (): void => listener(signal?.reason);
  if (signal?.aborted) abort();
  else signal?.addEventListener('abort', abort, { once: true });
  return () => signal?.removeEventListener('abort', abort);
}

export function after(ms: number, listener: () => void): Leave {
  const timer = setTimeout(listener, ms);
  return () => clearTimeout(timer);
}

/** Something that ends once, with a value. Unlike a promise it forgets those who have left. */
export class Ending<T> {
  readonly #listeners = new Set<(value: T) => void>();
  #ended: { readonly value: T } | undefined;

  get value(): T | undefined {
    return this.#ended?.value;
  }

  /** How many wait. */
  get size(): number {
    return this.#listeners.size;
  }

  end(value: T): void {
    if (this.#ended !== undefined) return;
    this.#ended = { value };
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener(value);
  }

  /** Calls at once when it has ended already. */
  on(listener: (value: T) => void): Leave {
    if (this.#ended !== undefined) {
      listener(this.#ended.value);
      return () => undefined;
    }
    // Of its own, so that a listener that is given twice is left once.
    const own = (value: T): void => listener(value);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }
}
