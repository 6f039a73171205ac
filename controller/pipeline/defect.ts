// An exception where none belongs: a defect of homeostat, and never the fault of who wrote the manifest. Each is
// reported with the document that it happened at, so that it can be found, and worked around meanwhile.
import { sourceOf } from './parsed.ts';

export class Defect extends Error {
  override readonly name = 'Defect';
  /** `file:line`, and what it is. */
  readonly where: string;
  constructor(where: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.where = where;
  }
}

type Source = Parameters<typeof sourceOf>[0] & { readonly key: string };

/** @throws Defect that names the document. */
export function at<T>(document: Source, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof Defect ? error : new Defect(`${sourceOf(document)} (${document.key})`, error);
  }
}
