// One edit of the config and of the files of ours beside it: checked by a parser, and written in an order that suits a
// Prometheus which reads them at any moment: what is listed is there before it is listed, and goes after.
import { isUtf8 } from 'node:buffer';
import { errnoOf, Stalled, Waiting } from '../../api/errors.ts';
import type { Files } from '../ports.ts';
import { type Items, parseYaml, requireOnlyOurs, YamlError } from '../shared/yaml.ts';
import { noteWritten, type Read, requireUnchanged } from './at-rest.ts';
import { directoryOf, jobsFileOf, KEYS, NO_PART, type Parts, withParts } from './parts.ts';

const AGAIN_MS = 10_000;

export interface Edit extends Read {
  readonly inPlace: boolean;
  /** What stands there of each document. */
  readonly now: Parts;
  /** What is to stand there of those that this is about. */
  readonly wanted: Parts;
}

/** @throws Stalled for what is no UTF-8: written back, it would be another text. */
export function textOf(path: string, { content }: Read['config']): string {
  if (isUtf8(content)) return content.toString();
  const lines = content.toString('latin1').split('\n');
  const line = lines.findIndex((text) => !isUtf8(Buffer.from(text, 'latin1'))) + 1;
  throw new Stalled(
    'Unplaceable',
    `${path}: line ${line}: it is not written in UTF-8: save it in that encoding`,
  );
}

export const editedText = ({ path, text, wanted }: Edit): string => withParts(path, text, wanted);

/** @throws Stalled('Unplaceable') when ours would not be read there, Waiting when the rest is no YAML. */
export async function requirePlaceable(edit: Edit): Promise<void> {
  const { path, text, now, wanted } = edit;
  const without = withParts(path, text, new Map([...wanted.keys()].map((owner) => [owner, NO_PART])));
  try {
    await parseYaml(without);
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    throw new Waiting(
      'NotYaml',
      `${path}: ${error.message}: this part, which is not ours, is no YAML`,
      AGAIN_MS,
    );
  }
  const has = new Map([...wanted.keys()].map((owner) => [owner, now.get(owner) ?? NO_PART]));
  const items = { has: itemsOf(has), wants: itemsOf(wanted) };
  try {
    await requireOnlyOurs({ now: text, without, edited: editedText(edit), ...items });
  } catch (error) {
    if (error instanceof YamlError) throw new Stalled('Unplaceable', `${path}: ${error.message}`);
    throw error;
  }
}

function itemsOf(parts: Parts): Items {
  const texts = (key: (typeof KEYS)[number]) => [...parts.values()].flatMap((part) => part[key] ?? []);
  return Object.fromEntries(KEYS.map((key) => [key, texts(key)]));
}

/**
 * @param isNew what was not there before is on the disk when this returns.
 * @throws Waiting for what somebody changed meanwhile
 */
export function write(edit: Edit, files: Files, isNew: boolean): void {
  const { path, config, wanted } = edit;
  const text = editedText(edit);
  if (text !== edit.text) requireUnchanged(edit, files);
  const fileOf = (owner: string) => jobsFileOf(path, owner);
  for (const [owner, { file }] of wanted) {
    if (file === undefined) continue;
    if (file === edit.now.get(owner)?.file) {
      // An agent that was killed may have been about to write another one.
      files.removeStale?.(fileOf(owner));
      continue;
    }
    const { mode, uid, gid } = config; // whoever may read the config may read it, too
    files.replaceAtomic(fileOf(owner), Buffer.from(file), { mode, uid, gid }, { durable: isNew });
  }
  if (text !== edit.text) writeConfig(edit, text, files, isNew);
  removeFiles(
    files,
    path,
    [...wanted].filter(([, { file }]) => file === undefined).map(([o]) => fileOf(o)),
  );
}

function writeConfig({ path, inPlace, config }: Edit, text: string, files: Files, isNew: boolean): void {
  const { mode, uid, gid } = config;
  if (inPlace) files.rewriteInPlace(path, Buffer.from(text), { mode, uid, gid });
  else files.replaceAtomic(path, Buffer.from(text), { mode, uid, gid }, { durable: isNew });
  noteWritten(path, text, files);
}

/** Their directory goes with the last of them. */
export function removeFiles(files: Files, configFile: string, gone: readonly string[]): void {
  const directory = directoryOf(configFile);
  if (gone.length === 0 || files.read(directory).type !== 'directory') return;
  for (const file of gone) {
    files.removeStale?.(file);
    files.remove(file);
  }
  try {
    files.remove(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY') throw error;
  }
}
