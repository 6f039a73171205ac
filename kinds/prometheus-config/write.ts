// One edit of the config and of the files of ours beside it: checked by a parser, and written in an order that suits a
// Prometheus which reads them at any moment: what is listed is there before it is listed, and goes after.
import { isUtf8 } from 'node:buffer';
import { errnoOf, Stalled, Waiting } from '../../api/errors.ts';
import type { Clock, FileState, Files } from '../ports.ts';
import { type Items, parseYaml, requireOnlyOurs, YamlError } from '../shared/yaml.ts';
import { directoryOf, jobsFileOf, KEYS, NO_PART, type Parts, withParts } from './parts.ts';

type Config = Extract<FileState, { type: 'file' }>;

export interface Edit {
  readonly path: string;
  readonly inPlace: boolean;
  readonly config: Config;
  readonly text: string;
  /** What stands there of each document. */
  readonly now: Parts;
  /** What is to stand there of those that this is about. */
  readonly wanted: Parts;
}

/** @throws Stalled for what is no UTF-8: written back, it would be another text. */
export function textOf(path: string, { content }: Config): string {
  if (isUtf8(content)) return content.toString();
  const lines = content.toString('latin1').split('\n');
  const line = lines.findIndex((text) => !isUtf8(Buffer.from(text, 'latin1'))) + 1;
  throw new Stalled(
    'Unplaceable',
    `${path}: line ${line}: it is not written in UTF-8: save it in that encoding`,
  );
}

/** A file that changed within this time may be half of what somebody is writing. */
const REST_MS = 3_000;
const AGAIN_MS = 10_000;

/** When we wrote a config last, by the host's files: nobody has to wait for what we wrote whole. */
const written = new WeakMap<Files, Map<string, number>>();

/**
 * People edit this file, and an editor empties it before it fills it, perhaps in steps. What stands there in between is
 * never built upon: the rest of what they write would be lost, or mixed with ours.
 * @throws Waiting
 */
export function requireAtRest({ path, config, text }: Edit, io: { files: Files; clock: Clock }): void {
  const { mtimeMs = 0 } = config;
  const ageMs = io.clock.now() - mtimeMs;
  if (ageMs >= 0 && ageMs < REST_MS && written.get(io.files)?.get(path) !== mtimeMs) {
    const age = `${(ageMs / 1000).toFixed(1)} s ago`;
    throw new Waiting('BeingEdited', `${path} was written ${age}, and may be half done`, REST_MS - ageMs);
  }
  if (text.trim() === '') {
    throw new Waiting('Empty', `${path} is empty: is it being edited, or has it been lost?`, AGAIN_MS);
  }
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

/** @param isNew what was not there before is on the disk when this returns. */
export function write(edit: Edit, files: Files, isNew: boolean): void {
  const { path, config, wanted } = edit;
  const fileOf = (owner: string) => jobsFileOf(path, owner);
  for (const [owner, { file }] of wanted) {
    if (file === undefined || file === edit.now.get(owner)?.file) continue;
    const { mode, uid, gid } = config; // whoever may read the config may read it, too
    files.replaceAtomic(fileOf(owner), Buffer.from(file), { mode, uid, gid }, { durable: isNew });
  }
  const text = editedText(edit);
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
  const now = files.read(path);
  const times = written.get(files) ?? new Map<string, number>();
  written.set(files, times);
  if (now.type === 'file' && now.content.toString() === text) times.set(path, now.mtimeMs ?? 0);
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
