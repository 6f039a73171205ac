// ComposeProject: our part of a compose project of the user's. It is one compose file of ours beside theirs, which a
// plain `docker compose up` takes too; of theirs nothing is written but COMPOSE_FILE, where that has to name ours.
import { Stalled } from '../../api/errors.ts';
import { requireImage } from '../docker-engine.ts';
import { SETTLE_MS } from '../docker-verdict.ts';
import { defineKind } from '../kind.ts';
import { writeFile } from '../managed-file.ts';
import { watchAll } from '../watch-all.ts';
import { assess } from './assess.ts';
import { hashesOf, type Io, type Project, readBase, up, versionOf } from './compose.ts';
import { containersOf, mendHalfMade, remove, restart, unpauseAll } from './containers.ts';
import { baseDiffers, refusedBeside } from './fit.ts';
import {
  differing,
  diffFiles,
  dotenvDigest,
  goingOn,
  leftovers,
  type Observed,
  observe,
  replicasOf,
  staleFiles,
  wantedFiles,
} from './observe.ts';
import { checkProject, pathsOf, permissionsOf } from './permissions.ts';
import { BASE_NAMES, OVERRIDE_NAMES } from './placement.ts';
import { basePermissions, resolve } from './powers.ts';
import { ComposeProjectSpec, type D, Memory } from './schema.ts';
import { end, refusalsOf, refuse } from './seen.ts';
import { startsOf } from './starts.ts';
import { filesOf, inProject, projectOf, surroundingsOf } from './surroundings.ts';
import { Before, beforeOf, undo, writeDotenv } from './undo.ts';

type Needs = 'files' | 'processes' | 'docker' | 'mounts' | 'clock';

/** What a healthcheck needs, as a rule; one that takes longer is waited for as well. */
const WITHIN_MS = 60_000;

/** What of a container's life wakes; exec and health probes, which healthchecks make, do not. */
const EVENTS = ['create', 'start', 'die', 'destroy', 'pause', 'unpause', 'rename', 'health_status'];

export const composeProject = defineKind<ComposeProjectSpec, Observed, Needs, Before, Memory>({
  kind: 'ComposeProject',
  scope: 'host',
  spec: ComposeProjectSpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['files', 'processes', 'docker', 'mounts', 'clock'],

  owns: (spec) =>
    pathsOf(spec).map((file) => (file.endsWith('/.env') ? `file:${file}#COMPOSE_FILE` : `file:${file}`)),
  inputs: (spec) =>
    [...Object.values(spec.services ?? {}), ...Object.values(spec.extend ?? {})].flatMap(
      ({ restartOn = [] }) => restartOn,
    ),
  locks: (spec) => [`compose:${spec.project ?? spec.directory}`],
  permissions: permissionsOf,
  resolve,
  check: checkProject,

  observe,

  diff(d, o) {
    const changes = diffFiles(d, o);
    for (const [name, trouble] of differing(d, o)) {
      changes.push({ what: `service ${name}`, from: trouble, to: 'running' });
    }
    const { remove: unwanted, release } = leftovers(o.containers, o.override, o.base, goingOn(o));
    for (const { service, state } of unwanted)
      changes.push({ what: `service ${service}`, from: state, to: 'absent' });
    for (const name of release)
      changes.push({ what: `service ${name}`, from: 'with our part', to: 'without' });
    return changes;
  },

  async prepare(d, o, io, signal) {
    if (o.misfits.length > 0) throw baseDiffers(d.spec, words(o.misfits));
    await validate(d, o, io, signal);
    await requireImages(d, io, signal);
    const before = await beforeOf(d, o, io, signal);
    return { existed: before.own.some((file) => file.type !== 'absent'), before };
  },

  async apply(changes, d, io, signal) {
    if (changes.length === 0) return undefined;
    const at = projectOf(d.spec);
    await requireImages(d, io, signal);
    let o = await observe(d, io, signal);
    if ((await contain(d, o, io, signal)).size > 0) o = await observe(d, io, signal);
    // Just before it is used: what the loop had judged may be something else by now.
    const refusal = d.refusal(await resolve(d, io, signal));
    if (refusal !== undefined) throw new Stalled('NotAllowed', refusal);
    writeFiles(d, o, io);
    await mendHalfMade(o.containers, io, signal);
    await unpauseAll(o.containers, io, signal);
    const { remove: unwanted, release } = leftovers(o.containers, o.override, o.base, goingOn(o));
    for (const container of unwanted) await remove(container, io, signal);
    const names = [...differing(d, o).map(([name]) => name), ...release];
    const counts = replicasOf(o.containers);
    const why =
      names.length === 0 ? undefined : await up(at, filesOf(o.placement), names, counts, io, signal);
    if (why !== undefined) throw upFailed(d, why);
    await restartStale(d, o, io, signal);
    refuse(await contain(d, o, io, signal));
    return memoryOf(d, o, io, signal);
  },

  contain: async (d, io, signal) => void (await contain(d, await observe(d, io, signal, true), io, signal)),

  assess,
  gate: () => ({ withinMs: WITHIN_MS, settleMs: SETTLE_MS }),
  undo,
  version: (d, io, signal) => versionOf(projectOf(d.spec), io, signal),

  watch(d, io, wake, signal) {
    const at = projectOf(d.spec);
    const names = new Set([
      ...pathsOf(d.spec),
      ...[...BASE_NAMES, ...OVERRIDE_NAMES].map((n) => inProject(at, n)),
    ]);
    const [first, ...rest] = names;
    return watchAll(io.clock, wake, signal, (w, s) => io.files.watch(first!, w, s), [
      ...rest.map((file) => (w: () => void, s: AbortSignal) => io.files.watch(file, w, s)),
      (w, s) => watchListed(at, names, io, w, s),
      (w, s) => watchContainers(at, io, w, s),
    ]);
  },
});

/** Files that COMPOSE_FILE names and that are none of the usual ones; which they are, .env may say anew. */
async function watchListed(
  at: Project,
  known: ReadonlySet<string>,
  io: Io,
  wake: () => void,
  signal: AbortSignal,
): Promise<void> {
  const listed = (): string[] =>
    surroundingsOf(at, io)
      .placement.base.map((name) => inProject(at, name))
      .filter((file) => !known.has(file));
  while (!signal.aborted) {
    const files = listed();
    const others = new AbortController();
    const either = AbortSignal.any([signal, others.signal]);
    const look = (): void => {
      try {
        if (listed().join() !== files.join()) others.abort();
      } catch {
        // Ours can't be placed at the moment, which the pass tells.
      }
    };
    const env = io.files.watch(inProject(at, '.env'), look, either);
    await Promise.all([env, ...files.map((file) => io.files.watch(file, wake, either))]);
  }
}

async function watchContainers(at: Project, io: Io, wake: () => void, signal: AbortSignal): Promise<void> {
  const { project } = await readBase(at, surroundingsOf(at, io).placement.base, io, signal);
  const label = [`com.docker.compose.project=${project}`];
  await io.docker.watch({ type: ['container'], label, event: EVENTS }, wake, signal);
}

/** Ends what has or sees more than is granted, as it is now. @returns why, by id */
async function contain(d: D, o: Observed, io: Io, signal: AbortSignal): Promise<Observed['notGranted']> {
  const at = projectOf(d.spec);
  const files = o.placement.base;
  const containers = await ourContainers(d, o, io, signal);
  const refused = await refusalsOf(
    d,
    containers,
    await basePermissions(d, at, files, io, signal),
    io,
    signal,
  );
  await end(refused, containers, at, files, io, signal);
  return refused;
}

/** @throws Stalled('Invalid') in compose's words. */
async function validate(d: D, o: Observed, io: Io, signal: AbortSignal): Promise<void> {
  const why = await refusedBeside(projectOf(d.spec), o.placement.base, o.override, io, signal);
  if (why !== undefined) throw new Stalled('Invalid', why);
}

/** @throws Waiting while one of our images is pulled, Stalled when it can’t be. */
async function requireImages(d: D, io: Io, signal: AbortSignal): Promise<void> {
  for (const { image } of Object.values(d.spec.services ?? {})) {
    // Compose's to fill in, and then its to pull.
    if (!image.includes('$')) await requireImage(io.docker, image, 'missing', signal);
  }
}

/** In an order in which a `docker compose up` of the user's works at every moment. */
function writeFiles(d: D, o: Observed, io: Io): void {
  for (const file of wantedFiles(d, o)) writeFile(io.files, file, !d.heal);
  writeDotenv(projectOf(d.spec), o, o.placement.dotenv, io);
  for (const file of staleFiles(d, o)) io.files.remove(file);
}

function upFailed(d: D, why: string): Error {
  // A compose that outlived a killed agent is still at it.
  const mayPass =
    /is already in use by container|No such container|removal of container .* is already in progress/;
  if (d.heal || mayPass.test(why)) return new Error(`docker compose up: ${why}`);
  return new Stalled('ComposeRefused', why);
}

/** What compose found right, and was started before what it reads. */
async function restartStale(d: D, o: Observed, io: Io, signal: AbortSignal): Promise<void> {
  const asleep = goingOn(o);
  const containers = await ourContainers(d, o, io, signal);
  const { stale } = startsOf(d, o.override, containers, io);
  const due = containers.filter(({ id, state, service }) => {
    return state === 'running' && stale.has(id) && !asleep.has(service);
  });
  for (const container of due) await restart(container, io, signal);
}

function ourContainers(d: D, o: Observed, io: Io, signal: AbortSignal) {
  const whose = { project: o.base.project, directory: d.spec.directory, document: d.key };
  return containersOf(whose, new Set(Object.keys(o.override.services)), io, signal);
}

async function memoryOf(d: D, o: Observed, io: Io, signal: AbortSignal): Promise<Memory> {
  const containers = await ourContainers(d, o, io, signal);
  const isAdded = (name: string) => d.spec.services?.[name] !== undefined;
  const hashes = await hashesOf(projectOf(d.spec), filesOf(o.placement), io, signal);
  return {
    digest: d.digest,
    hashes: Object.fromEntries(
      containers.filter(({ service }) => isAdded(service)).map((c) => [c.service, c.hash]),
    ),
    resolved: Object.fromEntries(Object.entries(hashes).filter(([name]) => isAdded(name))),
    dotenv: dotenvDigest(o.placement.dotenv),
    starts: startsOf(d, o.override, containers, io).starts,
  };
}

const words = (misfits: Observed['misfits']): string[] => misfits.map((misfit) => misfit.words);
