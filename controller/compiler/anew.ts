// What the last compilation found out only saves work: a defect that hangs on it is not worth a commit.
import { errnoOf } from '../../api/errors.ts';
import type { Compilation } from '../pipeline/compile.ts';
import { SourceError } from '../source/snapshot.ts';

/** git, the disk or the network: anything else is not as it was written to be. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof SourceError || /^E[A-Z0-9]+$/.test(errnoOf(error));
}

/** @throws what `run` throws, once from nothing unless the files can't be read. */
export async function orFromNothing(
  last: Compilation | undefined,
  run: (last: Compilation | undefined) => Promise<Compilation>,
): Promise<Compilation> {
  try {
    return await run(last);
  } catch (error) {
    if (last === undefined || isUnreadable(error)) throw error;
    return await run(undefined);
  }
}
