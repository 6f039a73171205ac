// The system's own events of one directory (docs/decisions/0002-raw-file-events.md). Nothing else is done at an event:
// directories such as /tmp have many that nobody here waits for.
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import { errnoOf } from '../../api/errors.ts';

interface Events {
  ready: [];
  /** The entry's name; the directory's own when something happened to itself; null when the system does not say. */
  raw: [event: string, name: string | null];
  error: [error: unknown];
}

export class DirectoryWatcher extends EventEmitter<Events> {
  #watcher: fs.FSWatcher | undefined;
  #closed = false;

  /** Stands when this returns; `ready` or `error` come later, so that there is time to listen. */
  open(directory: string): this {
    try {
      this.#watcher = fs.watch(directory);
      this.#watcher.on('change', (event, name) => this.emit('raw', event, name as string | null));
      this.#watcher.on('error', (error) => this.emit('error', error));
      setImmediate(() => this.emit('ready'));
    } catch (error) {
      // Whoever asks looks once more when it stands, and sees that the directory is gone.
      const isGone = ['ENOENT', 'ENOTDIR'].includes(errnoOf(error));
      setImmediate(() => (isGone || this.#closed ? this.emit('ready') : this.emit('error', error)));
    }
    return this;
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
  }
}

export function watchDirectory(directory: string): DirectoryWatcher {
  return new DirectoryWatcher().open(directory);
}

/** Until it stands. @throws what the system could not do. */
export function ready(watcher: DirectoryWatcher): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    watcher.once('ready', resolve);
    watcher.once('error', reject);
  });
}
