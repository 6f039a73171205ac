// chokidar on one directory, for its raw events alone. By itself it would list the directory, with an lstat of every
// entry, after each of them, to make its tidied events of that: with a thousand managed files that is most of what a
// heal costs, and nobody here listens to those (docs/decisions/0002-raw-file-events.md).
import { FSWatcher } from 'chokidar';

class UnlistedWatcher extends FSWatcher {
  /** As chokidar's own when it is closed: nothing to read. */
  override _readdirp(): undefined {
    return undefined;
  }
}

/** Emits `ready` once, `raw` at each event of the system, and `error`. Never polls. */
export function watchDirectory(directory: string): FSWatcher {
  const watcher = new UnlistedWatcher({
    depth: 0,
    ignoreInitial: true,
    atomic: false,
    followSymlinks: false,
    // The directory alone: its own watch tells of everything in it.
    ignored: (p) => p !== directory,
  });
  watcher.add(directory);
  return watcher;
}

/** Until it stands. @throws what chokidar could not do. */
export function ready(watcher: FSWatcher): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    watcher.once('ready', resolve);
    watcher.once('error', reject);
  });
}
