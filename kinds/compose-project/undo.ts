// Undo: back to what our file was before, made anew on the user's files as they are now, or to none of ours.
import * as z from 'zod';
import { Waiting } from '../../api/errors.ts';
import { verdictOf } from '../docker-verdict.ts';
import type { InventoryRecord } from '../kind.ts';
import { restoreFile, SavedFile, saveFile } from '../managed-file.ts';
import { activeServices, type Base, commandsOf, type Io, type Project, readBase, up } from './compose.ts';
import { type Container, containersOf, isHalfMade, mendHalfMade, remove, unpauseAll } from './containers.ts';
import { groundOf, type Misfit, narrowed, optionalOf, refusedBeside } from './fit.ts';
import { envFilesIn, envFilesOf, goingOn, leftovers, type Observed, replicasOf } from './observe.ts';
import { BASE_NAMES, LISTED, OVERRIDE, withoutOurs } from './placement.ts';
import { type Ground, isOurs, LABEL, type Override, onBase, parseOverride, textOf } from './render.ts';
import type { D } from './schema.ts';
import { end, refusalsOf, refuse } from './seen.ts';
import { filesOf, inProject, projectOf, type Surroundings, surroundingsOf } from './surroundings.ts';

export const Before = z.object({
  at: z.object({ directory: z.string(), name: z.string().nullable(), program: z.string() }),
  /** Compose's name for the project. */
  project: z.string(),
  /** Our file, in the two places where it may be; absent where there was none of ours. */
  own: z.array(SavedFile),
  envFiles: z.array(SavedFile),
  hadDotenv: z.boolean(),
  /** Services of the user's that had a container, of those that we extend. */
  ran: z.array(z.string()),
  /** Services that did not work. */
  unwell: z.array(z.string()),
  /** How often the engine had started containers again, by id; those that it never had are left out. */
  restarts: z.record(z.string(), z.number()),
});
export type Before = z.infer<typeof Before>;

export async function beforeOf(d: D, o: Observed, io: Io, signal: AbortSignal): Promise<Before> {
  const at = projectOf(d.spec);
  const extended = new Set(Object.keys(d.spec.extend ?? {}));
  const whose = { project: o.base.project, directory: at.directory, document: d.key };
  const containers = await containersOf(whose, extended, io, signal);
  const seen = (c: Container) => ({ name: c.service, container: c.engine, nowMs: o.nowMs });
  return {
    at,
    project: o.base.project,
    own: ([OVERRIDE, LISTED] as const).map((name) => saveFile(io.files, inProject(at, name), o.own[name])),
    envFiles: [...o.envFiles].map(([file, state]) => saveFile(io.files, file, state)),
    hadDotenv: o.dotenv !== undefined,
    ran: [...new Set(containers.map((c) => c.service).filter((name) => extended.has(name)))],
    unwell: containers
      .filter((c) => verdictOf({ ...seen(c), log: '' }).verdict === 'No')
      .map((c) => c.service),
    restarts: Object.fromEntries(
      containers.filter((c) => c.engine.RestartCount > 0).map((c) => [c.id, c.engine.RestartCount]),
    ),
  };
}

/** @param text undefined for no file. */
export function writeDotenv(at: Project, around: Surroundings, text: string | undefined, io: Io): void {
  const file = inProject(at, '.env');
  if (text === around.dotenv) return;
  if (text === undefined) return io.files.remove(file);
  const now = io.files.read(file);
  const attributes = now.type === 'file' ? now : { mode: 0o644, ...around.owner };
  const { mode, uid, gid } = attributes as { mode: number; uid?: number; gid?: number };
  const owner = uid === undefined || gid === undefined ? {} : { uid, gid };
  io.files.replaceAtomic(file, Buffer.from(text), { mode, ...owner }, { durable: true });
}

/** @throws Error when compose does not bring a service back. */
export async function undo(
  before: Before,
  record: InventoryRecord,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const { at } = before;
  const saved = before.own.map(overrideIn).find((override) => override !== undefined);
  if (saved === undefined && !isThere(at, io)) return abandon(before, record, io, signal);
  let around = surroundingsOf(at, io);
  let override: Pick<Override, 'services'> = { services: {} };
  let asleep: ReadonlySet<string> = new Set();
  if (saved === undefined) takeOut(before, record, around, io);
  const files = around.placement.base;
  const base = await readBase(at, files, io, signal);
  if (saved !== undefined) {
    const appendedTo = new Set(Object.keys(saved['x-homeostat'].append));
    const ground = groundOf(at, files, base, await commandsOf(base, at, files, appendedTo, io, signal));
    const { override: whole, misfits } = await fitting(saved, ground, at, files, io, signal);
    asleep = goingOn({ misfits });
    putBack(before, whole, around, io);
    override = whole;
    around = surroundingsOf(at, io);
  }
  await bringBack(
    before,
    record,
    { override, asleep },
    base,
    saved === undefined ? files : filesOf(around.placement),
    io,
    signal,
  );
}

/** What was, on their files as they are: as much of it as compose takes beside them. */
async function fitting(
  saved: Override,
  ground: Ground,
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<{ override: Override; misfits: readonly Misfit[] }> {
  const override = onBase(saved, ground);
  const refused = await refusedBeside(at, files, override, io, signal);
  return refused === undefined
    ? { override, misfits: [] }
    : await narrowed(saved, ground, at, files, io, signal);
}

/** Whether the user's project still is, by compose's own names or by those that COMPOSE_FILE gives. */
function isThere(at: Project, io: Io): boolean {
  const some = (names: readonly string[]) =>
    names.some((name) => io.files.read(inProject(at, name)).type !== 'absent');
  if (some(BASE_NAMES)) return true;
  try {
    return some(surroundingsOf(at, io).placement.base);
  } catch (error) {
    if (error instanceof Waiting) return false;
    throw error;
  }
}

/** Our file as it was, on the base as it is. */
function putBack(before: Before, override: Override, around: Surroundings, io: Io): void {
  const { at } = before;
  const { own } = around.placement;
  for (const file of before.envFiles.filter(({ type }) => type === 'file')) restoreFile(io.files, file);
  const attributes = { mode: 0o644, ...around.owner };
  io.files.replaceAtomic(inProject(at, own), Buffer.from(textOf(override)), attributes, { durable: true });
  writeDotenv(at, around, around.placement.dotenv, io);
  const other = own === OVERRIDE ? LISTED : OVERRIDE;
  if (around.own[other].type !== 'absent') io.files.remove(inProject(at, other));
  for (const file of before.envFiles.filter(({ type }) => type === 'absent')) restoreFile(io.files, file);
}

function takeOut(before: Before, record: InventoryRecord, around: Surroundings, io: Io): void {
  const { at } = before;
  const rest = around.dotenv === undefined ? undefined : withoutOurs(around.dotenv);
  writeDotenv(at, around, rest === '' && !before.hadDotenv ? undefined : rest, io);
  const envFiles = new Set([...before.envFiles.map(({ path }) => path), ...envFilesOf(at, record.owns)]);
  const own = ([OVERRIDE, LISTED] as const).filter((name) => around.own[name].type !== 'absent');
  for (const name of own) for (const file of envFilesIn(around.own[name])) envFiles.add(inProject(at, file));
  // Before the file that names them: an agent that is killed in between would not know them any more.
  for (const file of envFiles) io.files.remove(file);
  for (const name of own) io.files.remove(inProject(at, name));
}

async function bringBack(
  before: Before,
  record: InventoryRecord,
  { override, asleep }: { override: Pick<Override, 'services'>; asleep: ReadonlySet<string> },
  base: Base,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const named = new Set([...Object.keys(override.services), ...before.ran]);
  const whose = { project: before.project, directory: before.at.directory, document: record.key };
  const containers = await containersOf(whose, named, io, signal);
  await mendHalfMade(containers, io, signal);
  await unpauseAll(containers, io, signal);
  const { remove: unwanted, release } = leftovers(containers, override, base, asleep);
  for (const container of unwanted) await remove(container, io, signal);
  const lost = before.ran.filter((name) => isLost(name, containers) && base.services[name] !== undefined);
  const touched = release.filter((name) =>
    containers.some((c) => c.service === name && LABEL.document in c.labels),
  );
  // Compose switches on the profile of what it is told to bring up.
  const optional = optionalOf(base);
  const active = optional.size === 0 ? undefined : await activeServices(before.at, files, io, signal);
  const isOff = (name: string) => optional.has(name) && active?.has(name) === false;
  const all = new Set([...Object.keys(override.services), ...touched, ...lost]);
  const names = [...all].filter((name) => !isOff(name) || touched.includes(name));
  if (names.length === 0) return;
  const why = await up(before.at, files, names, replicasOf(containers), io, signal);
  if (why !== undefined) throw new Error(`docker compose up, in a rollback: ${why}`);
  const back = await containersOf(whose, named, io, signal);
  const refused = await refusalsOf(record, back, new Map(), io, signal);
  await end(refused, back, before.at, files, io, signal);
  refuse(refused);
}

const isLost = (name: string, containers: readonly Container[]): boolean =>
  !containers.some((c) => c.service === name && c.state === 'running' && !isHalfMade(c));

/** The user's project is gone: what is left of ours goes, and nothing can go back to anything. */
async function abandon(before: Before, record: InventoryRecord, io: Io, signal: AbortSignal): Promise<void> {
  const whose = { project: before.project, directory: before.at.directory, document: record.key };
  const containers = await containersOf(whose, new Set(), io, signal);
  for (const container of containers) {
    if (container.labels[LABEL.part] === 'added') await remove(container, io, signal);
  }
  const env = [...envFilesOf(before.at, record.owns), ...before.envFiles.map((file) => file.path)];
  const own = before.own
    .map((file) => file.path)
    .filter((file) => {
      const state = io.files.read(file);
      return state.type === 'file' && isOurs(state.content.toString());
    });
  for (const file of new Set([...own, ...env])) io.files.remove(file);
  const dotenv = io.files.read(inProject(before.at, '.env'));
  if (dotenv.type !== 'file') return;
  const text = dotenv.content.toString();
  const rest = withoutOurs(text);
  if (rest === '' && text !== '' && !before.hadDotenv) io.files.remove(inProject(before.at, '.env'));
  else if (rest !== text) io.files.replaceAtomic(inProject(before.at, '.env'), Buffer.from(rest), dotenv);
}

function overrideIn(saved: SavedFile): Override | undefined {
  return saved.type === 'file' ? parseOverride(Buffer.from(saved.content, 'base64').toString()) : undefined;
}
