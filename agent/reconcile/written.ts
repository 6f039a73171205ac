// What stands on the host by a resource, for those that restart on it: the desired state, and what the kind saw there
// where the desired state does not say it all.
import { digestOf } from '../../api/json.ts';
import type { Written } from '../journal/records.ts';
import type { Look } from './look.ts';
import type { Pass } from './loop.ts';

/** Keeps it where it is another one, and has those that restart on it looked at. */
export function recordWritten(pass: Pass, look: Look): void {
  const written = newlyWritten(pass, look);
  if (written !== undefined) record(pass, written);
}

export function record({ deps, state }: Pass, written: Written): void {
  deps.journal.write({ key: state.key, entry: { ...deps.journal.entry(state.key)!, written } });
}

/** What is to be recorded; undefined where the record says so already. */
export function newlyWritten({ deps, state }: Pass, { target, observed }: Look): Written | undefined {
  const { journal, ports } = deps;
  const { kind, desired } = target;
  const entry = journal.entry(state.key);
  if (entry === undefined) return undefined;
  const revision = kind.revision?.(desired, observed);
  const written = writtenNow(entry.written, desired.digest, revision, ports.clock.now());
  if (written === entry.written) return undefined;
  if (written.digest !== entry.written?.digest) state.wroteNew = true;
  return written;
}

/** Pure. @returns `before` itself where nothing is new. */
export function writtenNow(
  before: Written | undefined,
  desired: string,
  revision: string | undefined,
  atMs: number,
): Written {
  if (before !== undefined && (before.desired ?? before.digest) === desired) {
    if (revision === undefined || before.revision === revision) return before;
    // Of what was written before this was kept, nobody restarts.
    if (before.revision === undefined) return { ...before, desired, revision };
  }
  if (revision === undefined) return { digest: desired, atMs };
  return { digest: digestOf([desired, revision]), atMs, desired, revision };
}
