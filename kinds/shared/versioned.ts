// What was kept on disk, read back by its schema. Pure.
import { Stalled } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import type { Versioned } from '../kind.ts';

/** As it stands on disk. */
export interface Stored {
  readonly version: number;
  readonly data: Json;
}

/**
 * @param what how it is called where it can't be read: `the snapshot of File/motd`.
 * @throws Stalled('SnapshotUnreadable')
 */
export function readVersioned<T>(shape: Versioned<T>, { version, data }: Stored, what: string): T {
  if (version > shape.version) {
    throw unreadable(what, `a newer homeostat wrote it (version ${version}): install that one again`);
  }
  if (version < shape.version && shape.migrate === undefined) {
    throw unreadable(what, `it has version ${version}, and this homeostat reads ${shape.version}`);
  }
  const current = version < shape.version ? shape.migrate!(data, version) : data;
  const parsed = shape.schema.safeParse(current);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw unreadable(what, `${issue.path.join('.') || 'it'}: ${issue.message}`);
}

function unreadable(what: string, why: string): Stalled {
  const wayOn =
    'To do without it: set prune: orphan in the document, remove the document in another commit, and add it again';
  return new Stalled('SnapshotUnreadable', `${what} can't be read, so nothing is written: ${why}. ${wayOn}`);
}
