// What the controller and its worker thread say to each other. The worker compiles; the controller reads git for it.
import type { Diagnostic } from '../../api/diagnostics.ts';
import type { Use } from '../pipeline/revision.ts';

export interface FileEntry {
  readonly path: string;
  readonly oid: string;
  readonly size: number;
  readonly refused?: string | undefined;
}

/** A host whose payload or document is another than at the last good commit. */
export interface ChangedHost {
  readonly name: string;
  readonly payloadDigest: string;
  /** JSON of the Host document. */
  readonly documentText: string;
}

/** A document, and where it goes; with its place looked up, since a function can't be sent. */
interface PlacedUse extends Omit<Use, 'place'> {
  readonly place: ReturnType<Use['place']>;
}

export interface WantedText {
  readonly host: string;
  readonly payloadDigest: string;
}

export type ReadResult = { readonly bytes: Uint8Array<ArrayBuffer> } | { readonly error: string };

export type ToWorker =
  | {
      readonly type: 'compile';
      readonly commit: string;
      readonly files: readonly FileEntry[];
      readonly submodules: readonly string[];
    }
  /** Answers `read`, in its order. */
  | { readonly type: 'files'; readonly results: readonly ReadResult[] }
  /** Asks for the next hosts of the compilation that ended. */
  | { readonly type: 'more' }
  | { readonly type: 'texts'; readonly wanted: readonly WantedText[] };

export type FromWorker =
  | { readonly type: 'read'; readonly paths: readonly string[] }
  /** `fleet`: JSON of the Fleet document. `good` is false when there is an error. */
  | {
      readonly type: 'compiled';
      readonly diagnostics: readonly Diagnostic[];
      readonly again: boolean;
      readonly good: boolean;
      readonly fleet: string | undefined;
      readonly gone: readonly string[];
      readonly uses: readonly PlacedUse[];
    }
  | { readonly type: 'hosts'; readonly hosts: readonly ChangedHost[]; readonly isLast: boolean }
  | { readonly type: 'texts'; readonly texts: readonly (string | undefined)[] }
  /** `where` is that of a Defect. */
  | {
      readonly type: 'failed';
      readonly message: string;
      readonly stack: string | undefined;
      readonly where: string | undefined;
    };

export interface WorkerData {
  readonly downloads: { readonly directory: string; readonly mirrors?: ReadonlyMap<string, string> };
}
