// The worker thread: compiles what it is given, and keeps what a compilation found out for the next. Its heap is its own,
// so that neither parsing nor collecting garbage holds the controller up.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { kinds } from '../../kinds/index.ts';
import { type Compilation, compile, type Revision } from '../pipeline/compile.ts';
import { Defect } from '../pipeline/defect.ts';
import { DownloadStore } from '../source/downloads.ts';
import { type Snapshot, type SnapshotFile, SourceError } from '../source/snapshot.ts';
import { orFromNothing } from './anew.ts';
import type {
  ChangedHost,
  FileEntry,
  FromWorker,
  ReadResult,
  ToWorker,
  WantedText,
  WorkerData,
} from './protocol.ts';

/** Read at a time: one message each way. */
const FILES_AT_ONCE = 64;
const BYTES_AT_ONCE = 8 * 1024 * 1024;
/** In one message: some milliseconds of the controller's. */
const HOSTS_AT_ONCE = 250;

type CompileMessage = Extract<ToWorker, { type: 'compile' }>;

interface PendingRead {
  readonly entry: FileEntry;
  resolve(bytes: Buffer): void;
  reject(error: Error): void;
}

class CompileWorker {
  readonly #port: MessagePort;
  readonly #downloads: DownloadStore;
  #last: Compilation | undefined;
  /** The last good revision, and the one before: the controller may still serve it. */
  #serving: Revision | undefined;
  #before: Revision | undefined;
  /** What the controller was told. */
  #told = new Map<string, ChangedHost>();
  #toTell: ChangedHost[] = [];
  #reads: PendingRead[] = [];
  #reading: PendingRead[] = [];

  constructor(port: MessagePort, { downloads }: WorkerData) {
    this.#port = port;
    this.#downloads = new DownloadStore(downloads);
    port.on('message', (message: ToWorker) => this.#receive(message));
  }

  #receive(message: ToWorker): void {
    if (message.type === 'compile') void this.#compile(message);
    else if (message.type === 'files') this.#received(message.results);
    else if (message.type === 'more') this.#tellMore();
    else this.#send({ type: 'texts', texts: message.wanted.map((wanted) => this.#textOf(wanted)) });
  }

  async #compile(message: CompileMessage): Promise<void> {
    try {
      const snapshot = this.#snapshot(message);
      this.#last = await orFromNothing(this.#last, (last) => compile(snapshot, kinds, last, this.#downloads));
      const { revision, diagnostics, again } = this.#last;
      const gone = revision === undefined ? [] : this.#compare(revision);
      this.#send({
        type: 'compiled',
        ...{ diagnostics, again, good: revision !== undefined, gone },
        fleet: revision?.fleet === undefined ? undefined : JSON.stringify(revision.fleet),
        uses: (revision?.uses ?? []).map((use) => ({ ...use, place: use.place() })),
      });
    } catch (error) {
      const { message, stack } =
        error instanceof Error ? error : { message: String(error), stack: undefined };
      this.#reads = [];
      this.#send({
        type: 'failed',
        message,
        stack,
        where: error instanceof Defect ? error.where : undefined,
      });
    }
  }

  /** What the controller has to be told of a good revision. @returns the hosts that are no longer there. */
  #compare(revision: Revision): string[] {
    const told = new Map<string, ChangedHost>();
    this.#toTell = [];
    for (const [name, { document, payloadDigest }] of revision.hosts) {
      const documentText = JSON.stringify(document);
      const before = this.#told.get(name);
      const same = before?.payloadDigest === payloadDigest && before.documentText === documentText;
      const host = same ? before : { name, payloadDigest, documentText };
      told.set(name, host);
      if (!same) this.#toTell.push(host);
    }
    const gone = [...this.#told.keys()].filter((name) => !told.has(name));
    this.#told = told;
    this.#before = this.#serving;
    this.#serving = revision;
    return gone;
  }

  #tellMore(): void {
    const hosts = this.#toTell.splice(0, HOSTS_AT_ONCE);
    this.#send({ type: 'hosts', hosts, isLast: this.#toTell.length === 0 });
  }

  #textOf({ host, payloadDigest }: WantedText): string | undefined {
    for (const revision of [this.#serving, this.#before]) {
      const found = revision?.hosts.get(host);
      if (found?.payloadDigest === payloadDigest) return found.payloadText;
    }
    return undefined;
  }

  #snapshot({ commit, files, submodules }: CompileMessage): Snapshot {
    const entry = (file: FileEntry): [string, SnapshotFile] => [
      file.path,
      {
        oid: file.oid,
        size: file.size,
        ...(file.refused === undefined ? {} : { refused: file.refused }),
        read: () => this.#read(file),
      },
    ];
    return { commit, files: new Map(files.map(entry)), submodules: new Set(submodules) };
  }

  #read(entry: FileEntry): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#reads.push({ entry, resolve, reject });
      // After those that are asked for in the same turn.
      if (this.#reads.length === 1) queueMicrotask(() => this.#ask());
    });
  }

  #ask(): void {
    if (this.#reading.length > 0 || this.#reads.length === 0) return;
    let bytes = 0;
    let n = 0;
    while (n < Math.min(this.#reads.length, FILES_AT_ONCE) && (n === 0 || bytes < BYTES_AT_ONCE)) {
      bytes += this.#reads[n]!.entry.size;
      n += 1;
    }
    this.#reading = this.#reads.splice(0, n);
    this.#send({ type: 'read', paths: this.#reading.map(({ entry }) => entry.path) });
  }

  #received(results: readonly ReadResult[]): void {
    const reading = this.#reading;
    this.#reading = [];
    for (const [i, result] of results.entries()) {
      if ('error' in result) reading[i]!.reject(new SourceError(result.error));
      else reading[i]!.resolve(Buffer.from(result.bytes.buffer));
    }
    this.#ask();
  }

  #send(message: FromWorker): void {
    this.#port.postMessage(message);
  }
}

if (parentPort !== null) new CompileWorker(parentPort, workerData);
