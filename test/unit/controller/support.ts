// Small kinds and snapshots for tests of the controller: enough of File and Service to break every rule.
import { createHash } from 'node:crypto';
import * as z from 'zod';
import { contentFields, Ref } from '../../../api/documents.ts';
import type { Snapshot, SnapshotFile } from '../../../controller/source/snapshot.ts';
import { type AnyKind, defineKind } from '../../../kinds/kind.ts';

const never = (): never => {
  throw new Error('the controller must not run a kind');
};
const effects = {
  before: { version: 1, schema: z.null() },
  ...{ observe: never, diff: never, assess: never, prepare: never, apply: never, undo: never },
  needs: [],
};

const FileSpec = z.strictObject({
  path: z.string().startsWith('/'),
  ...contentFields,
  mode: z
    .string()
    .regex(/^0[0-7]{3}$/, 'a mode is four octal digits, as in "0644"')
    .optional(),
  owner: z.string().optional(),
  immutable: z.boolean().optional(),
});

const ServiceSpec = z.strictObject({
  unit: z.string().endsWith('.service'),
  enabled: z.boolean().optional(),
  restartOn: z.array(Ref).optional(),
  port: z.int().min(1).max(65535).optional(),
  policy: z.enum(['always', 'on-failure', 'no']).optional(),
});

const PolicySpec = z.strictObject({ tailnet: z.string().min(1) });

export const testKinds: ReadonlyMap<string, AnyKind> = new Map([
  [
    'File',
    defineKind<z.infer<typeof FileSpec>, null, never, null>({
      ...effects,
      kind: 'File',
      scope: 'host',
      spec: FileSpec,
      owns: (spec) => [`file:${spec.path}`],
      permissions: () => [],
      check: (spec) =>
        spec.content === undefined && spec.contentFrom === undefined
          ? [{ path: [], message: 'a File needs content or contentFrom' }]
          : [],
    }),
  ],
  [
    'Service',
    defineKind<z.infer<typeof ServiceSpec>, null, never, null>({
      ...effects,
      kind: 'Service',
      scope: 'host',
      spec: ServiceSpec,
      owns: (spec) => [`unit:${spec.unit}`],
      permissions: () => [],
      inputs: (spec) => spec.restartOn ?? [],
    }),
  ],
  [
    'Policy',
    defineKind<z.infer<typeof PolicySpec>, null, never, null>({
      ...effects,
      kind: 'Policy',
      scope: 'fleet',
      spec: PolicySpec,
      owns: (spec) => [`tailnet:${spec.tailnet}`],
      permissions: () => [],
    }),
  ],
]);

/** A snapshot from texts; counts what is read. */
export function memorySnapshot(
  texts: Readonly<Record<string, string | Buffer>>,
  commit = 'c0ffee',
): Snapshot & { reads: string[] } {
  const reads: string[] = [];
  const files = new Map<string, SnapshotFile>();
  for (const [path, text] of Object.entries(texts)) {
    const bytes = Buffer.from(text as string);
    files.set(path, {
      oid: createHash('sha1').update(bytes).digest('hex'),
      size: bytes.length,
      read: async () => {
        reads.push(path);
        return bytes;
      },
    });
  }
  return { commit, files, reads };
}
