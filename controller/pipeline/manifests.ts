// The manifests of a snapshot as documents. What is known of a file is kept while git's object name stays the same.
import type { Diagnostic } from '../../api/diagnostics.ts';
import { inWords } from '../../api/errors.ts';
import {
  isManifest,
  MAX_MANIFEST_BYTES,
  MAX_TOTAL_BYTES,
  type Snapshot,
  type SnapshotFile,
  standInProblem,
} from '../source/snapshot.ts';
import { mebibytes } from './content.ts';
import { checkDocument, type Kinds } from './document.ts';
import type { Parsed } from './parsed.ts';
import { readYaml, type YamlFile } from './yaml.ts';

export interface FileEntry {
  readonly oid: string;
  readonly parsed: readonly Parsed[];
  readonly diagnostics: readonly Diagnostic[];
  /** A document in it could not be read, so that its name is unknown. */
  readonly incomplete: boolean;
}

export async function readFiles(
  snapshot: Snapshot,
  kinds: Kinds,
  before: ReadonlyMap<string, FileEntry> | undefined,
): Promise<Map<string, FileEntry>> {
  const paths = [...snapshot.files.keys()].filter(isManifest).sort();
  let bytes = 0;
  const files = await Promise.all(
    paths.map(async (path) => {
      const file = snapshot.files.get(path)!;
      bytes += Math.min(file.size, MAX_MANIFEST_BYTES);
      if (bytes > MAX_TOTAL_BYTES) return [path, refusedEntry(path, 'too many', TOO_MUCH)] as const;
      const known = before?.get(path);
      return [path, known?.oid === file.oid ? known : await readFile(path, file, kinds)] as const;
    }),
  );
  return new Map(files);
}

const TOO_MUCH = `all manifests together have more than ${mebibytes(MAX_TOTAL_BYTES)}, and this one is not read: take some away, or have large texts in files of their own (contentFrom)`;

function refusedEntry(path: string, oid: string, message: string): FileEntry {
  return {
    oid,
    parsed: [],
    diagnostics: [{ file: path, line: 0, column: 0, severity: 'error', message }],
    incomplete: true,
  };
}

async function readFile(path: string, file: SnapshotFile, kinds: Kinds): Promise<FileEntry> {
  const refused = (message: string): FileEntry => refusedEntry(path, file.oid, message);
  if (file.refused !== undefined) return refused(file.refused);
  if (file.size > MAX_MANIFEST_BYTES) {
    return refused(
      `the file has ${mebibytes(file.size)}, and a manifest has at most ${mebibytes(MAX_MANIFEST_BYTES)}: divide it, or have large texts in files of their own (contentFrom)`,
    );
  }
  const bytes = await file.read();
  const standIn = standInProblem(bytes);
  if (standIn !== undefined) return refused(standIn);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refused('the file is not UTF-8 text: save it as UTF-8');
  }
  let yaml: YamlFile;
  try {
    yaml = readYaml(path, text);
  } catch (error) {
    return refused(`the file can't be read (${inWords(error)}): this is a defect of homeostat`);
  }
  const whole = yaml.diagnostics.length === 0;
  const checked = yaml.documents.map((document, i) => {
    return checkDocument(path, document, kinds, whole && i === 0);
  });
  const parsed = checked.flatMap((c) => (c.parsed === undefined ? [] : [c.parsed]));
  return {
    oid: file.oid,
    parsed,
    diagnostics: [...yaml.diagnostics, ...checked.flatMap((c) => c.diagnostics)],
    incomplete: yaml.diagnostics.length > 0 || parsed.length < checked.length,
  };
}
