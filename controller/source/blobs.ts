// Reads blobs through one `git cat-file --batch` (git-cat-file(1)): the process is started at the first read, and
// reads may be asked for faster than they are answered.
import type { Git } from './git.ts';
import { SourceError } from './snapshot.ts';

type Child = ReturnType<Git['spawn']>;

interface Request {
  readonly oid: string;
  resolve(bytes: Buffer): void;
  reject(error: Error): void;
}

export class BlobReader {
  readonly #git: Git;
  #process: Child | undefined;
  #requests: Request[] = [];
  #chunks: Buffer[] = [];
  #buffered = 0;
  #closed = false;
  /** Of the blob whose header was read: bytes that are needed, its final newline included. */
  #wanted: number | undefined;

  constructor(git: Git) {
    this.#git = git;
  }

  /** @throws SourceError when the object is missing, or the reader was closed. */
  read(oid: string): Promise<Buffer> {
    if (this.#closed) return Promise.reject(new SourceError('the snapshot was closed'));
    return new Promise((resolve, reject) => {
      this.#requests.push({ oid, resolve, reject });
      this.#start().stdin.write(`${oid}\n`);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const process = this.#process;
    this.#process = undefined;
    if (process === undefined) return;
    process.stdin.end();
    process.kill();
    await process;
    this.#fail('the snapshot was closed');
  }

  #start(): Child {
    if (this.#process !== undefined) return this.#process;
    const process = this.#git.spawn(['cat-file', '--batch']);
    this.#process = process;
    process.stdout.on('data', (chunk: Buffer) => this.#receive(chunk));
    process.stdin.on('error', () => {}); // its end is told below
    void process.then((result) => {
      if (this.#process === process) this.#process = undefined;
      this.#fail(`git cat-file ended (${result.shortMessage ?? 'unexpectedly'})`);
    });
    return process;
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    for (;;) {
      if (this.#wanted === undefined) {
        const header = this.#takeLine();
        if (header === undefined) return;
        const [, type, size] = header.split(' ');
        if (type === 'blob') this.#wanted = Number(size) + 1;
        else {
          const request = this.#requests.shift();
          request?.reject(
            new SourceError(`the repository lacks object ${request.oid}: is it damaged or a partial clone?`),
          );
          if (type !== 'missing') void this.close();
        }
      } else {
        if (this.#buffered < this.#wanted) return;
        const all = this.#flatten();
        const end = this.#wanted;
        this.#wanted = undefined;
        this.#keep(all.subarray(end));
        this.#requests.shift()?.resolve(Buffer.from(all.subarray(0, end - 1)));
      }
    }
  }

  #takeLine(): string | undefined {
    const all = this.#flatten();
    const end = all.indexOf(10);
    if (end < 0) return undefined;
    this.#keep(all.subarray(end + 1));
    return all.subarray(0, end).toString();
  }

  #flatten(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#keep(all);
    return all;
  }

  #keep(rest: Buffer): void {
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#buffered = rest.length;
  }

  #fail(message: string): void {
    const requests = this.#requests;
    this.#requests = [];
    this.#keep(Buffer.alloc(0));
    this.#wanted = undefined;
    for (const request of requests) request.reject(new SourceError(message));
  }
}
