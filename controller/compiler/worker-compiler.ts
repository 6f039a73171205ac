// The controller's side of the worker thread that compiles. What comes from it is taken in portions, each in a turn of its
// own; a worker that ends or takes too long is an error of that commit, and the next one gets a new worker.
import type { Worker } from 'node:worker_threads';
import { FleetDocument, HostDocument } from '../../api/documents.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { Compiled, Compiler, ServedHost, ServedRevision } from '../fleet/revision.ts';
import { Defect } from '../pipeline/defect.ts';
import type { Snapshot } from '../source/snapshot.ts';
import type { ChangedHost, FromWorker, ReadResult, ToWorker, WantedText } from './protocol.ts';

/** For one commit, downloads included. */
const COMPILE_TIMEOUT_MS = 10 * 60_000;
/** Payloads in one message: their answers are made in the turn in which they come. */
const TEXTS_AT_ONCE = 32;

interface Job {
  readonly snapshot: Snapshot;
  /** What git said when a file could not be read. */
  problem: unknown;
  outcome: Extract<FromWorker, { type: 'compiled' }> | undefined;
  resolve(compiled: Compiled): void;
  reject(error: unknown): void;
}

interface Question extends WantedText {
  resolve(text: string | undefined): void;
}

export interface WorkerCompilerDeps {
  readonly start: () => Worker;
  readonly clock: Pick<Clock, 'setTimeout'>;
}

export class WorkerCompiler implements Compiler {
  readonly #deps: WorkerCompilerDeps;
  #worker: Worker | undefined;
  #hosts = new Map<string, ServedHost>();
  #job: Job | undefined;
  #questions: Question[] = [];
  #asked: Question[] = [];
  #stopped = false;

  constructor(deps: WorkerCompilerDeps) {
    this.#deps = deps;
  }

  async compile(snapshot: Snapshot): Promise<Compiled> {
    if (this.#stopped) throw new Error('the controller is being stopped');
    const { promise, resolve, reject } = Promise.withResolvers<Compiled>();
    this.#job = { snapshot, problem: undefined, outcome: undefined, resolve, reject };
    const files = [...snapshot.files].map(([path, { oid, size, refused }]) => ({ path, oid, size, refused }));
    const worker = this.#started();
    const timer = this.#deps.clock.setTimeout(() => {
      this.#ended(worker, new Error(`compiling did not end within ${COMPILE_TIMEOUT_MS / 60_000} minutes`));
    }, COMPILE_TIMEOUT_MS);
    const submodules = [...(snapshot.submodules ?? [])];
    this.#send({ type: 'compile', commit: snapshot.commit, files, submodules });
    try {
      return await promise;
    } finally {
      timer.cancel();
      this.#job = undefined;
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const worker = this.#worker;
    if (worker !== undefined) this.#ended(worker, new Error('the controller is being stopped'));
    await worker?.terminate();
  }

  #started(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = this.#deps.start();
    this.#worker = worker;
    this.#hosts = new Map();
    worker.on('message', (message: FromWorker) => void this.#receive(worker, message));
    worker.on('error', (error) => this.#ended(worker, error));
    worker.on('exit', (code) => this.#ended(worker, new Error(`the compiling thread ended with ${code}`)));
    return worker;
  }

  /** Everything that waits for this worker is told; the next commit gets another. */
  #ended(worker: Worker, error: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    void worker.terminate();
    for (const { resolve } of [...this.#asked, ...this.#questions]) resolve(undefined);
    this.#asked = [];
    this.#questions = [];
    this.#job?.reject(error);
  }

  async #receive(worker: Worker, message: FromWorker): Promise<void> {
    if (this.#worker !== worker) return;
    if (message.type === 'texts') this.#answered(message.texts);
    const job = this.#job;
    if (job === undefined) return;
    if (message.type === 'read') {
      const results = await readAll(job, message.paths);
      const transfer = results.flatMap((r) => ('bytes' in r ? [r.bytes.buffer] : []));
      if (this.#worker === worker) this.#send({ type: 'files', results }, transfer);
    } else if (message.type === 'failed') job.reject(job.problem ?? failure(message));
    else if (message.type === 'compiled') {
      job.outcome = message;
      if (message.good) this.#begin(message.gone);
      else job.resolve({ diagnostics: message.diagnostics, again: message.again });
    } else if (message.type === 'hosts') this.#take(job, message.hosts, message.isLast);
  }

  #begin(gone: readonly string[]): void {
    this.#hosts = new Map(this.#hosts);
    for (const name of gone) this.#hosts.delete(name);
    this.#send({ type: 'more' });
  }

  #take(job: Job, hosts: readonly ChangedHost[], isLast: boolean): void {
    for (const { name, payloadDigest, documentText } of hosts) {
      this.#hosts.set(name, new TransferredHost(payloadDigest, documentText));
    }
    if (!isLast) {
      this.#send({ type: 'more' });
      return;
    }
    const { diagnostics, again, fleet, uses } = job.outcome!;
    const revision: ServedRevision = {
      commit: job.snapshot.commit,
      fleet: fleet === undefined ? undefined : FleetDocument.parse(JSON.parse(fleet)),
      hosts: this.#hosts,
      uses: uses.map((use) => ({ ...use, place: () => use.place })),
      text: (host, payloadDigest) => this.#text({ host, payloadDigest }),
    };
    job.resolve({ revision, diagnostics, again });
  }

  #text(wanted: WantedText): Promise<string | undefined> {
    if (this.#worker === undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#questions.push({ ...wanted, resolve });
      if (this.#questions.length === 1) setImmediate(() => this.#ask());
    });
  }

  /** One portion at a time: what many wait for comes in many turns. */
  #ask(): void {
    if (this.#asked.length > 0 || this.#questions.length === 0) return;
    this.#asked = this.#questions.splice(0, TEXTS_AT_ONCE);
    const wanted = this.#asked.map(({ host, payloadDigest }) => ({ host, payloadDigest }));
    this.#send({ type: 'texts', wanted });
  }

  #answered(texts: readonly (string | undefined)[]): void {
    const asked = this.#asked;
    this.#asked = [];
    for (const [i, question] of asked.entries()) question.resolve(texts[i]);
    setImmediate(() => this.#ask());
  }

  #send(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }
}

/** Its document is parsed when somebody asks for it. */
class TransferredHost implements ServedHost {
  readonly payloadDigest: string;
  readonly documentText: string;

  constructor(payloadDigest: string, documentText: string) {
    this.payloadDigest = payloadDigest;
    this.documentText = documentText;
  }

  get document(): HostDocument {
    return HostDocument.parse(JSON.parse(this.documentText));
  }
}

async function readAll(job: Job, paths: readonly string[]): Promise<ReadResult[]> {
  return Promise.all(
    paths.map(async (path): Promise<ReadResult> => {
      try {
        const bytes = await job.snapshot.files.get(path)!.read();
        // A copy of its own: a small Buffer is a part of a pool, which would be sent whole.
        return { bytes: new Uint8Array(bytes) };
      } catch (error) {
        job.problem ??= error;
        return { error: error instanceof Error ? error.message : String(error) };
      }
    }),
  );
}

function failure({ message, stack, where }: Extract<FromWorker, { type: 'failed' }>): Error {
  const error = where === undefined ? new Error(message) : new Defect(where, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
