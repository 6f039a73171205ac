// JSON files that survive a crash whole: written beside, flushed, renamed, and the directory flushed.
import fs from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../api/errors.ts';

/** @throws system errors; the file is then what it was before. */
export function writeDurably(file: string, text: string, mode = 0o600): void {
  const temporary = `${file}.new`;
  try {
    const fd = fs.openSync(temporary, 'w', mode);
    try {
      fs.writeFileSync(fd, text);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  flushDirectory(path.dirname(file));
}

/** What a kill left of `writeDurably` in a directory; to be called before anything is written there. */
export function removeUnfinished(directory: string): void {
  for (const name of fs.readdirSync(directory)) {
    if (name.endsWith('.new')) fs.rmSync(path.join(directory, name), { force: true });
  }
}

export function removeDurably(file: string): void {
  try {
    fs.unlinkSync(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  flushDirectory(path.dirname(file));
}

/** The file's text, or undefined when there is none. */
export function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function flushDirectory(directory: string): void {
  const fd = fs.openSync(directory, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** How a value stands on disk, where that is not as in memory. */
export interface DiskForm<T> {
  write(value: T): T;
  /** @throws Error when it can't be read back. */
  read(value: T): T;
}

/**
 * A map from resource keys to JSON documents, one file each, held in memory and written through. A file that
 * can't be read is moved aside as `.broken` and reported: nothing is lost, and one bad file stops no other key.
 */
export class DurableMap<T> {
  readonly #directory: string;
  readonly #entries = new Map<string, T>();
  readonly #form: DiskForm<T>;

  constructor(directory: string, form: DiskForm<T> = { write: (value) => value, read: (value) => value }) {
    this.#directory = directory;
    this.#form = form;
  }

  /** @returns the files that were moved aside. */
  load(): string[] {
    fs.mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    this.#entries.clear();
    removeUnfinished(this.#directory);
    const broken: string[] = [];
    for (const name of fs.readdirSync(this.#directory)) {
      if (!name.endsWith('.json')) continue;
      const file = path.join(this.#directory, name);
      try {
        const { key, value } = JSON.parse(fs.readFileSync(file, 'utf8')) as { key: string; value: T };
        if (typeof key !== 'string' || value === undefined) throw new Error('not an entry');
        this.#entries.set(key, this.#form.read(value));
      } catch {
        fs.renameSync(file, `${file}.broken`);
        broken.push(file);
      }
    }
    return broken;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  keys(): string[] {
    return [...this.#entries.keys()];
  }

  set(key: string, value: T): void {
    writeDurably(this.#file(key), JSON.stringify({ key, value: this.#form.write(value) }));
    this.#entries.set(key, value);
  }

  delete(key: string): void {
    if (!this.#entries.has(key)) return;
    removeDurably(this.#file(key));
    this.#entries.delete(key);
  }

  /** `File/motd` is File.motd.json: a kind has no dot, a name no slash. */
  #file(key: string): string {
    return path.join(this.#directory, `${key.replace('/', '.')}.json`);
  }
}
