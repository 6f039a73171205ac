// Watches where git keeps its branches: HEAD, packed-refs, refs/ and reftable/. Wakes on chokidar's raw events
// (its tidied ones lose some, FACTS.md); many events are one wake, since whoever is woken looks for itself.
import { statSync } from 'node:fs';
import { relative, sep } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';

const WATCHED = new Set(['', 'HEAD', 'packed-refs', 'refs', 'reftable']);

export class RefWatch {
  readonly #directories: readonly string[];
  readonly #wake: () => void;
  #watcher: FSWatcher | undefined;
  readonly #stopped = Promise.withResolvers<void>();
  #identity = '';

  constructor(gitDir: string, commonDir: string, wake: () => void) {
    this.#directories = [...new Set([gitDir, commonDir])];
    this.#wake = wake;
  }

  /** Settles when events can't be missed any more. @throws system errors. */
  async start(): Promise<void> {
    this.#identity = this.#identify();
    const watcher = watch([...this.#directories], {
      ignoreInitial: true,
      atomic: false,
      ignored: (path) => !this.#isWatched(path),
    });
    this.#watcher = watcher;
    watcher.on('raw', () => this.#wake());
    watcher.on('all', () => this.#wake());
    // A watch that fails is made up for by the poll, which arms it anew.
    watcher.on('error', () => {
      this.#identity = '';
    });
    const ready = new Promise<void>((resolve) => watcher.once('ready', resolve));
    // A watch that is stopped before it is ready never becomes so.
    await Promise.race([ready, this.#stopped.promise]);
  }

  async stop(): Promise<void> {
    const watcher = this.#watcher;
    this.#watcher = undefined;
    this.#stopped.resolve();
    await watcher?.close();
  }

  /** Whether what it watches is still what stands there. */
  isCurrent(): boolean {
    return this.#watcher !== undefined && this.#identity !== '' && this.#identity === this.#identify();
  }

  #isWatched(path: string): boolean {
    return this.#directories.some((directory) => {
      const below = relative(directory, path);
      return !below.startsWith('..') && WATCHED.has(below.split(sep)[0] ?? '');
    });
  }

  #identify(): string {
    try {
      return this.#directories
        .flatMap((directory) => [directory, `${directory}/refs`])
        .map((path) => statSync(path).ino)
        .join();
    } catch {
      return '';
    }
  }
}
