// One append-only file of JSON records that survives a crash. A record is a line with its CRC; a line that was cut
// off, or that the disk changed, is recognised and left out. Appending is a write and no flush: a record outlives
// the process at once, and a power failure once `flushed` has settled. Whoever needs that waits, and all that wait
// at the same time share one flush, which is what makes a thousand new resources affordable.
//
// The file is opened for each record: who removes or replaces it under a running agent finds it whole again.
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { errnoOf } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import { readIfThere, writeDurably } from './durable.ts';

const NEWLINE = Buffer.from('\n');
/** A file below this is never worth being written anew. */
const SMALL_BYTES = 1024 * 1024;

export class Log {
  readonly #file: string;
  /** Everything that must be in the file, as few records as possible. */
  readonly #contents: () => Iterable<unknown>;
  #bytes = 0;
  #rewriteAbove = SMALL_BYTES;
  /** The file may not be what it should be: it is written anew before it is used. */
  #suspect = true;
  #unflushed = false;
  #flushing: Promise<void> | undefined;
  #nextFlush: Promise<void> | undefined;

  constructor(file: string, contents: () => Iterable<unknown>) {
    this.#file = file;
    this.#contents = contents;
  }

  /**
   * Reads the file, if there is one. A file in which anything but the last line is damaged is copied to `.broken`,
   * and what can be read of it is used.
   * @param readOnly nothing is copied
   * @param take throws for what it can't use
   * @returns the copies that were made. @throws system errors
   */
  load({ readOnly }: { readOnly: boolean }, take: (record: Json) => void): string[] {
    const text = readIfThere(this.#file) ?? '';
    const lines = text.split('\n');
    // What stands behind the last line's end was being written when the agent was cut off.
    lines.pop();
    let damaged = false;
    for (const line of lines) {
      const json = line.slice(9);
      try {
        if (line.slice(0, 9) !== `${checksum(json)} `) throw new Error('it was changed');
        take(JSON.parse(json) as Json);
      } catch {
        damaged = true;
      }
    }
    this.#suspect = true;
    if (!damaged || readOnly) return [];
    const copy = `${this.#file}.broken`;
    fs.copyFileSync(this.#file, copy);
    return [copy];
  }

  /** @param record as JSON.stringify takes it. @throws system errors; the record is then not in the file. */
  append(record: unknown): void {
    if (this.#suspect || this.#bytes > this.#rewriteAbove) this.#rewrite();
    const line = lineOf(record);
    let fd = this.#open();
    if (fd === undefined) {
      this.#rewrite();
      fd = this.#open();
      if (fd === undefined) throw new Error(`${this.#file} is changed by somebody else while it is written`);
    }
    try {
      for (let at = 0; at < line.length; ) at += fs.writeSync(fd, line, at);
      this.#bytes += line.length;
      this.#unflushed = true;
    } catch (error) {
      this.#suspect = true;
      throw error;
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Settles when all that was appended before is on the disk. @throws system errors */
  async flushed(): Promise<void> {
    if (this.#suspect) return this.#rewrite();
    if (!this.#unflushed) return this.#flushing;
    // One that is under way may have begun before the last record was written.
    this.#nextFlush ??= (this.#flushing ?? Promise.resolve())
      .catch(() => {})
      .then(() => {
        this.#flushing = this.#nextFlush;
        this.#nextFlush = undefined;
        return this.#flush();
      })
      .finally(() => {
        this.#flushing = undefined;
      });
    return this.#nextFlush;
  }

  async #flush(): Promise<void> {
    if (!this.#unflushed) return;
    this.#unflushed = false;
    try {
      const fd = fs.openSync(this.#file, 'r');
      try {
        await new Promise<void>((resolve, reject) =>
          fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error))),
        );
      } finally {
        fs.closeSync(fd);
      }
    } catch (error) {
      // After a failed flush nobody knows what the disk has, and a second one may claim that all is well.
      this.#suspect = true;
      throw error;
    }
  }

  /** @returns undefined when the file is not the one that this log wrote. */
  #open(): number | undefined {
    let fd: number;
    try {
      fd = fs.openSync(this.#file, fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    if (fs.fstatSync(fd).size === this.#bytes) return fd;
    fs.closeSync(fd);
    return undefined;
  }

  /** @throws system errors; the file is then as it was. */
  #rewrite(): void {
    const bytes = Buffer.concat([...this.#contents()].map(lineOf));
    fs.mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o700 });
    writeDurably(this.#file, bytes);
    this.#bytes = bytes.length;
    this.#rewriteAbove = 2 * this.#bytes + SMALL_BYTES;
    this.#suspect = false;
    this.#unflushed = false;
  }
}

function lineOf(record: unknown): Buffer {
  const json = Buffer.from(JSON.stringify(record));
  return Buffer.concat([Buffer.from(`${checksum(json)} `), json, NEWLINE]);
}

function checksum(json: string | Uint8Array): string {
  return crc32(json).toString(16).padStart(8, '0');
}
