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
  EADDRINUSE: 'another program listens there',
  EADDRNOTAVAIL: 'this host does not have that address',
  EAI_AGAIN: 'the name can’t be looked up now',
  EBUSY: 'it is in use, or something is mounted there',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was cut',
  EDQUOT: 'the disk quota is used up',
  EEXIST: 'something of that name is there already',
  EHOSTUNREACH: 'that host can’t be reached',
  EINVAL: 'the system does not accept it',
  EIO: 'the disk reports an input/output error',
  EISDIR: 'it is a directory',
  ELOOP: 'it is a symbolic link, which is never followed',
  EMFILE: 'too many files are open in this process',
  ENAMETOOLONG: 'the path is too long',
  ENETUNREACH: 'that network can’t be reached',
  ENFILE: 'too many files are open on this host',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space is left on the device',
  ENOTDIR: 'a part of the path is not a directory',
  ENOTEMPTY: 'the directory is not empty',
  ENOTFOUND: 'there is no host of that name',
  ENOTSOCK: 'it is not a socket',
  EPERM: 'the operation is not permitted',
  EPIPE: 'nobody reads it any more',
  EROFS: 'the file system is read-only',
  ETIMEDOUT: 'no answer came in time',
  ETXTBSY: 'the program is being run',
};

/** The errno of a Node system error, '' for other errors. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** An error's cause in words, with the errno for those who search for it. Never throws. */
export function inWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Of a name with several addresses, each of which failed.
  if (error instanceof AggregateError && error.message === '') return inWords(error.errors[0]);
  const code = errnoOf(error);
  const words = ERRNO[code];
  // With a code of the system's and a message of our own, the message says more.
  if (words === undefined || !isSystems(error)) return error.message;
  return `${placeOf(error)}${words} (${code})`;
}

/** Whether the message is Node's, as in "listen EADDRINUSE: address already in use 127.0.0.1:8420". */
function isSystems(error: Error): boolean {
  return 'syscall' in error || 'path' in error || error.message.includes(errnoOf(error));
}

function placeOf(error: Error): string {
  const field = (name: string): unknown => Reflect.get(error, name);
  const place =
    field('path') ??
    (field('port') === undefined ? field('hostname') : `${field('address')}:${field('port')}`);
  return typeof place === 'string' ? `${place}: ` : '';
}
