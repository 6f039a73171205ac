// Manifests that a command writes for people to go on from: checked before anything is written, and never over
// something that is there.
import fs from 'node:fs';
import path from 'node:path';
import { formatDiagnostic, hasErrors } from '../api/diagnostics.ts';
import { sha256 } from '../api/json.ts';
import { type Compilation, compile } from '../controller/pipeline/compile.ts';
import type { SnapshotFile } from '../controller/source/snapshot.ts';
import { kinds } from '../kinds/index.ts';

export interface GeneratedFile {
  readonly bytes: Buffer | string;
  /** Default 0644. */
  readonly mode?: number;
}

/**
 * Writes them below `directory`.
 * @param forCheck further files that the manifests are checked with, and that are not written.
 * @param beside what is in the directory already, where it is one of manifests.
 * @returns warnings, one a line.
 * @throws Error when one is there already, or when they would not be valid; then nothing was written.
 */
export async function writeGenerated(
  directory: string,
  files: ReadonlyMap<string, GeneratedFile>,
  forCheck: ReadonlyMap<string, GeneratedFile> = new Map(),
  beside: ReadonlyMap<string, SnapshotFile> = new Map(),
): Promise<string[]> {
  const there = [...files.keys()].map((file) => path.join(directory, file)).filter((f) => fs.existsSync(f));
  if (there.length > 0)
    throw new Error(`${there.join(', ')} is there already; nothing was written: name another directory`);
  const { diagnostics } = await compileGenerated(new Map([...files, ...forCheck]), beside);
  if (hasErrors(diagnostics)) {
    // What was found on the host can be odder than a schema knows; better told than written.
    throw new Error(
      `what would be written is not valid${beside.size === 0 ? '' : ` beside what is in ${directory}`}; nothing was written:\n${diagnostics.map(formatDiagnostic).join('\n')}`,
    );
  }
  for (const [file, { bytes, mode }] of files) {
    const full = path.join(directory, file);
    fs.mkdirSync(path.dirname(full), { recursive: true });
    fs.writeFileSync(full, bytes, { mode: mode ?? 0o644, flag: 'wx' });
  }
  return diagnostics.map(formatDiagnostic);
}

export function compileGenerated(
  files: ReadonlyMap<string, GeneratedFile>,
  beside: ReadonlyMap<string, SnapshotFile> = new Map(),
): Promise<Compilation> {
  const entries = [...files].map(([file, { bytes }]): [string, SnapshotFile] => {
    const buffer = Buffer.from(bytes);
    return [file, { oid: sha256(buffer), size: buffer.length, read: async () => buffer }];
  });
  return compile({ commit: 'generated', files: new Map([...beside, ...entries]) }, kinds);
}

/** A text that comes out of interpolation as it stands here (controller/pipeline/interpolate.ts). */
export function uninterpolated(text: string): string {
  return text.replace(/\$\{(?=(?:host|vars)\.[^${}\r\n]*\})|(?<=\$)\$\{/g, '$$$${');
}
