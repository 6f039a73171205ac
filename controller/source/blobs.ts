// Reads blobs through one `git cat-file --batch` (git-cat-file(1)): the process is started at the first read, and
// reads may be asked for faster than they are answered. Each answer has a deadline, from the one before it.
import { endGroup } from './bounded-process.ts';
import type { Git } from './git.ts';
import { SourceError } from './snapshot.ts';

interface Request {
  readonly oid: string;
  readonly maxBytes: number;
  resolve(bytes: Buffer): void;
  reject(error: Error): void;
}

interface Talk {
  readonly child: ReturnType<Git['talk']>;
  readonly exited: Promise<void>;
}

export interface BlobOptions {
  readonly signal?: AbortSignal;
  /** Default 30,000. */
  readonly answerMs?: number;
}

const ANSWER_MS = 30_000;
/** `<object name> SP blob SP <size>`: of 64 hex digits and 20 digits. */
const MAX_HEADER = 256;

export class BlobReader {
  readonly #git: Git;
  readonly #answerMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => void this.close('the controller stops');
  #talk: Talk | undefined;
  #requests: Request[] = [];
  #chunks: Buffer[] = [];
  #buffered = 0;
  #closed: string | undefined;
  #deadline: NodeJS.Timeout | undefined;
  /** Of the blob whose header was read: bytes that are still to come, its final newline included. */
  #wanted: number | undefined;
  /** It is larger than was asked for: what comes of it is thrown away. */
  #skipped = false;

  constructor(git: Git, { signal, answerMs = ANSWER_MS }: BlobOptions = {}) {
    this.#git = git;
    this.#answerMs = answerMs;
    this.#signal = signal;
    if (signal?.aborted) this.#closed = 'the controller stops';
    signal?.addEventListener('abort', this.#onAbort);
  }

  /**
   * @param maxBytes a larger one is an error, and takes no memory.
   * @throws SourceError when the object is missing or not read in time, or the reader was closed.
   */
  read(oid: string, maxBytes: number): Promise<Buffer> {
    if (this.#closed !== undefined) return Promise.reject(new SourceError(this.#closed));
    return new Promise((resolve, reject) => {
      this.#requests.push({ oid, maxBytes, resolve, reject });
      this.#start().child.stdin.write(`${oid}\n`);
      if (this.#requests.length === 1) this.#await();
    });
  }

  async close(why = 'the snapshot was closed'): Promise<void> {
    this.#closed ??= why;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    await this.#end(this.#closed);
  }

  async #end(why: string): Promise<void> {
    const talk = this.#talk;
    this.#talk = undefined;
    this.#fail(why);
    if (talk === undefined) return;
    for (const stream of [talk.child.stdin, talk.child.stdout, talk.child.stderr]) stream.destroy();
    await endGroup(talk.child, talk.exited);
  }

  #start(): Talk {
    if (this.#talk !== undefined) return this.#talk;
    const child = this.#git.talk(['cat-file', '--batch']);
    const exited = Promise.withResolvers<void>();
    const talk = { child, exited: exited.promise };
    this.#talk = talk;
    let said = '';
    const ended = (why: string): void => {
      exited.resolve();
      if (this.#talk === talk)
        void this.#end(`git cat-file ended (${said.trim() || why}): is the repository damaged?`);
    };
    child.stdout.on('data', (chunk: Buffer) => {
      if (this.#talk === talk) this.#receive(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-500);
    });
    child.stdin.on('error', () => {}); // why it ended is in `ended`
    child.once('error', (error) => ended(error.message));
    child.once('close', (code, signal) => ended(signal ?? `exit code ${code}`));
    return talk;
  }

  /** The first request is answered in time, or the process is ended. */
  #await(): void {
    clearTimeout(this.#deadline);
    const first = this.#requests[0];
    if (first === undefined) return;
    this.#deadline = setTimeout(() => {
      void this.#end(
        `git did not read object ${first.oid} within ${this.#answerMs / 1000} s: is the repository's disk reachable?`,
      );
    }, this.#answerMs);
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    while (this.#wanted === undefined ? this.#header() : this.#content());
  }

  /** @returns whether there may be more to take. */
  #header(): boolean {
    const all = this.#flatten();
    const end = all.indexOf(10);
    const request = this.#requests[0];
    if (end < 0 && all.length <= MAX_HEADER) return false;
    if (end < 0 || request === undefined) {
      void this.#end('git cat-file says what nobody asked for');
      return false;
    }
    this.#keep(all.subarray(end + 1));
    const [, type, size] = all.subarray(0, end).toString().split(' ');
    if (type !== 'blob') {
      this.#answered()?.reject(
        new SourceError(`the repository lacks object ${request.oid}: is it damaged or a partial clone?`),
      );
      // Another type's content would follow.
      if (type !== 'missing') void this.#end(`object ${request.oid} is not a file's content`);
      return type === 'missing';
    }
    this.#wanted = Number(size) + 1;
    if (Number(size) > request.maxBytes) {
      this.#skipped = true;
      const message = `object ${request.oid} has ${size} bytes, and at most ${request.maxBytes} are read`;
      this.#requests[0] = { ...request, resolve: () => request.reject(new SourceError(message)) };
    }
    return true;
  }

  #content(): boolean {
    const wanted = this.#wanted ?? 0;
    if (this.#buffered < wanted) {
      if (this.#skipped) {
        this.#wanted = wanted - this.#buffered;
        this.#keep(Buffer.alloc(0));
      }
      return false;
    }
    const all = this.#flatten();
    this.#keep(all.subarray(wanted));
    this.#wanted = undefined;
    const bytes = this.#skipped ? Buffer.alloc(0) : Buffer.from(all.subarray(0, wanted - 1));
    this.#skipped = false;
    this.#answered()?.resolve(bytes);
    return true;
  }

  #answered(): Request | undefined {
    const request = this.#requests.shift();
    this.#await();
    return request;
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
    this.#await();
    this.#keep(Buffer.alloc(0));
    this.#wanted = undefined;
    this.#skipped = false;
    for (const request of requests) request.reject(new SourceError(message));
  }
}
