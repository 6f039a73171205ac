// The contract suite's hosts outside of node's test runner: for the fault suite and the bench.
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { isSecretRef, type SecretRef } from '../../api/documents.ts';
import { temporaryDirectory } from './sandbox.ts';

/** As much of a test's context as the fixtures use; `end` is its end. */
export function detachedContext(): { readonly t: TestContext; end(): Promise<void> } {
  const cleanups: (() => unknown)[] = [];
  const t = { after: (cleanup: () => unknown) => cleanups.push(cleanup) } as unknown as TestContext;
  return {
    t,
    async end() {
      for (const cleanup of cleanups) await cleanup();
    },
  };
}

/** A spec whose secrets are in files, where an agent finds them. */
export function withSecrets(value: Record<string, unknown>, t: TestContext): Record<string, unknown> {
  const directory = temporaryDirectory(t);
  const inFile = ({ secretFrom }: SecretRef): SecretRef => {
    const file = path.join(directory, randomUUID());
    fs.writeFileSync(file, 'env' in secretFrom ? secretFrom.env : path.basename(file));
    return { secretFrom: { file } };
  };
  return JSON.parse(JSON.stringify(value, (_, member) => (isSecretRef(member) ? inFile(member) : member)));
}
