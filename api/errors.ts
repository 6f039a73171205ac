// Errors say what the reconcile loop should do about them. Everything that is neither of these two backs off
// and is tried again.
import { type LiftedBy, REASONS, type Reason } from './reasons.ts';

/** A retry can't mend it: the resource is parked until what its reason names changes. */
export class Stalled extends Error {
  override readonly name = 'Stalled';
  /** For programs. */
  readonly reason: Reason;
  /** @param message for people: what is wrong, where, and what would be right. */
  constructor(reason: Reason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }

  get liftedBy(): LiftedBy {
    return REASONS[this.reason];
  }
}

/** Not yet, and not a failure: come back after `afterMs` at the latest, or sooner when woken. */
export class Waiting extends Error {
  override readonly name = 'Waiting';
  /** CamelCase, for programs. */
  readonly reason: string;
  readonly afterMs: number;
  constructor(reason: string, message: string, afterMs: number, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.afterMs = afterMs;
  }
}

const ERRNO: Record<string, string> = {
  EACCES: 'permission denied',
  EBUSY: 'it is in use, or something is mounted there',
  EDQUOT: 'the disk quota is used up',
  EIO: 'the disk reports an input/output error',
  EISDIR: 'it is a directory',
  ELOOP: 'it is a symbolic link, which is never followed',
  EMFILE: 'too many files are open in this process',
  ENFILE: 'too many files are open on this host',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space is left on the device',
  ENOTDIR: 'a part of the path is not a directory',
  ENOTEMPTY: 'the directory is not empty',
  EPERM: 'the operation is not permitted',
  EROFS: 'the file system is read-only',
  ETXTBSY: 'the program is being run',
};

/** The errno of a Node system error, '' for other errors. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** An error's cause in words, with the errno for those who search for it. Never throws. */
export function inWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = errnoOf(error);
  const words = ERRNO[code];
  if (words === undefined) return error.message;
  const path = 'path' in error && typeof error.path === 'string' ? `${error.path}: ` : '';
  return `${path}${words} (${code})`;
}
