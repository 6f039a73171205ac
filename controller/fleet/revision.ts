// What the fleet takes over of a compilation. A compilation of this thread is one as it is; one of the worker keeps the
// payloads' texts there, and gives them when they are asked for.
import type { Diagnostic } from '../../api/diagnostics.ts';
import type { FleetDocument, HostDocument } from '../../api/documents.ts';
import type { Use } from '../pipeline/revision.ts';
import type { Snapshot } from '../source/snapshot.ts';

/** What one host gets at one commit. */
export interface ServedHost {
  readonly document: HostDocument;
  /** Its JSON, where that is there already. */
  readonly documentText?: string;
  /** JSON of the api's Payload; undefined where it has to be asked for. */
  readonly payloadText?: string;
  /** Hex SHA-256 of that text. */
  readonly payloadDigest: string;
}

export interface ServedRevision {
  readonly commit: string;
  readonly fleet: FleetDocument | undefined;
  readonly hosts: ReadonlyMap<string, ServedHost>;
  readonly uses: readonly Use[];
  /** Of hosts without `payloadText`; undefined once a newer revision took the place of this one. */
  text?(host: string, payloadDigest: string): Promise<string | undefined>;
}

export interface Compiled {
  /** Missing when there is any error. */
  readonly revision?: ServedRevision;
  readonly diagnostics: readonly Diagnostic[];
  /** A download failed in a way that may pass: the same commit is worth another try. */
  readonly again: boolean;
}

/** Compiles one commit after the other, and remembers the last for the next. */
export interface Compiler {
  /** @throws what the snapshot's files throw when they can't be read. */
  compile(snapshot: Snapshot): Promise<Compiled>;
  stop(): Promise<void>;
}
