// What there is of a project: the user's files and ours, what compose makes of them, and the containers.
import path from 'node:path';
import { sha256 } from '../../api/json.ts';
import { backoffMs, logOf } from '../docker-verdict.ts';
import type { Change, Claim } from '../kind.ts';
import { fileChanges, type WantedFile } from '../managed-file.ts';
import type { FileState } from '../ports.ts';
import { requireTheirCommandLine } from './command-line.ts';
import { type Base, commandsOf, hashesOf, type Io, type Project, readBase, refusal } from './compose.ts';
import { type Container, containersOf, isHalfMade } from './containers.ts';
import {
  asleepOf,
  flagMisfits,
  groundOf,
  type Misfit,
  misfitsOf,
  narrowed,
  refusedBeside,
  requireVariables,
} from './fit.ts';
import { LISTED, OVERRIDE } from './placement.ts';
import { basePermissions } from './powers.ts';
import {
  envFileName,
  envFileText,
  groups,
  isEnvFileName,
  LABEL,
  labelsOf,
  type Override,
  onBase,
  overrideOf,
  parseOverride,
  says,
  secretsOf,
  textOf,
} from './render.ts';
import type { ComposeProjectSpec, D } from './schema.ts';
import { refusalsOf } from './seen.ts';
import { type Starts, startsOf } from './starts.ts';
import { filesOf, inProject, projectOf, type Surroundings, surroundingsOf } from './surroundings.ts';

export interface Observed extends Surroundings {
  readonly base: Base;
  /** What our file should be, on this base. */
  readonly override: Override;
  /** By path; the wanted ones, and those that our file as it is refers to. */
  readonly envFiles: ReadonlyMap<string, FileState>;
  readonly containers: readonly Container[];
  /** Containers that have or see what is not granted, with what that is, by id. */
  readonly notGranted: ReadonlyMap<string, string>;
  /** What those that are not well wrote, by id. */
  readonly logs: ReadonlyMap<string, string>;
  readonly nowMs: number;
  /** What the user's files leave no room for. */
  readonly misfits: readonly Misfit[];
  /** Why compose refuses the project with our file as it should be and is; undefined when it does not. */
  readonly refused: string | undefined;
  /** Compose's hash of each service, as files and .env are; none but where .env has changed. */
  readonly resolved: Readonly<Record<string, string>>;
  readonly starts: Starts;
}

/** @param isLenient whether it is only looked for what must not be, whatever the owner's command line said. */
export async function observe(d: D, io: Io, signal: AbortSignal, isLenient = false): Promise<Observed> {
  const at = projectOf(d.spec);
  const around = surroundingsOf(at, io);
  const base = await readBase(at, around.placement.base, io, signal);
  requireVariables(d.spec, base);
  const wanted = overrideOf(d.key, d.spec);
  const appendedTo = new Set(Object.keys(wanted['x-homeostat'].append));
  const commands = await commandsOf(base, at, around.placement.base, appendedTo, io, signal);
  const names = new Set(Object.keys(wanted.services));
  if (!isLenient) await requireTheirCommandLine(d, at, base.project, around.placement, io, signal);
  const envFiles = new Set([...names].filter((name) => hasSecrets(d.spec, name)).map(envFileName));
  for (const state of Object.values(around.own)) {
    for (const name of envFilesIn(state)) envFiles.add(name);
  }
  for (const file of envFilesOf(at, d.held)) envFiles.add(path.basename(file));
  const whose = { project: base.project, directory: at.directory, document: d.key };
  const containers = await containersOf(whose, names, io, signal);
  const nowMs = io.clock.now();
  const logs = new Map<string, string>();
  for (const { id, service, engine } of containers) {
    const secrets = secretVariables(d, service).map(([, value]) => value);
    const seen = { name: service, container: engine, nowMs };
    logs.set(id, await logOf(seen, io.docker, secrets, signal));
  }
  const known = await basePermissions(d, at, around.placement.base, io, signal);
  const fitted = await fit(d, wanted, base, commands, around, io, signal);
  const asleep = await asleepOf(d.spec, base, at, around.placement.base, io, signal);
  return {
    ...around,
    base,
    ...fitted,
    misfits: [...fitted.misfits, ...asleep],
    starts: startsOf(d, fitted.override, containers, io),
    envFiles: new Map([...envFiles].map((name) => [inProject(at, name), io.files.read(inProject(at, name))])),
    containers,
    notGranted: await refusalsOf(d, containers, known, io, signal),
    logs,
    nowMs,
  };
}

/** Ours on their files as they are. Where it is to be written for the first time, prepare says what is wrong with it. */
async function fit(
  d: D,
  wanted: Override,
  base: Base,
  commands: Awaited<ReturnType<typeof commandsOf>>,
  { placement, own, dotenv }: Surroundings,
  io: Io,
  signal: AbortSignal,
): Promise<Pick<Observed, 'override' | 'misfits' | 'refused' | 'resolved'>> {
  const at = projectOf(d.spec);
  const files = placement.base;
  const flags = await flagMisfits(d.spec, base, commands, at, files, io, signal);
  const misfits = [...misfitsOf(d.spec, base), ...flags];
  const without = new Set(flags.map(({ service }) => service));
  const ground = { ...groundOf(at, files, base, commands), without };
  const override = onBase(wanted, ground);
  const file = own[placement.own];
  // Theirs may have changed since ours was judged.
  const isWritten = file.type === 'file' && file.content.toString() === textOf(override);
  // What is new, and not written yet, prepare judges.
  const refused = isWritten
    ? await refusal(at, filesOf(placement), io, signal)
    : d.heal
      ? await refusedBeside(at, files, override, io, signal)
      : undefined;
  if (refused === undefined || !d.heal) {
    const isAsked = isWritten && d.memory?.dotenv !== undefined && d.memory.dotenv !== dotenvDigest(dotenv);
    const resolved = isAsked ? await hashesOf(at, filesOf(placement), io, signal) : {};
    return { override, misfits, refused, resolved };
  }
  const less = await narrowed(wanted, ground, at, files, io, signal);
  if (less.misfits.length === 0) return { override, misfits, refused, resolved: {} };
  return {
    override: less.override,
    misfits: [...misfits, ...less.misfits],
    refused: undefined,
    resolved: {},
  };
}

/** What compose fills variables from; '' and no file are the same to it. */
export const dotenvDigest = (text: string | undefined): string => sha256(Buffer.from(text ?? ''));

function hasSecrets(spec: ComposeProjectSpec, name: string): boolean {
  const service = spec.services?.[name] ?? spec.extend?.[name];
  return service !== undefined && secretsOf(service).length > 0;
}

/** Names of the env files that our file as it is refers to. */
export function envFilesIn(state: FileState): string[] {
  const override = state.type === 'file' ? parseOverride(state.content.toString()) : undefined;
  return Object.entries(override?.services ?? {})
    .filter(([, service]) => service['env_file'] !== undefined)
    .map(([name]) => envFileName(name));
}

/** Paths of our env files among the claims, in the project's directory; a record that was handed over may claim more. */
export function envFilesOf(at: Project, claims: readonly Claim[]): string[] {
  return claims
    .map((claim) => claim.replace(/^file:/, ''))
    .filter(
      (file) => path.dirname(file) === path.normalize(at.directory) && isEnvFileName(path.basename(file)),
    );
}

/** A secret variable with its value, as the container should have it. */
function secretVariables(d: D, name: string): [string, string][] {
  const service = d.spec.services?.[name] ?? d.spec.extend?.[name];
  return secretsOf(service ?? {}).map(([variable, ref]) => [variable, d.content(ref).bytes.toString()]);
}

/** Ours that are wanted: env files first, since our compose file refers to them. */
export function wantedFiles(d: D, o: Observed): WantedFile[] {
  const at = projectOf(d.spec);
  const secret = Object.keys(o.override.services).filter((name) => hasSecrets(d.spec, name));
  return [
    ...secret.map((name) => ({
      path: inProject(at, envFileName(name)),
      bytes: Buffer.from(envFileText(secretVariables(d, name))),
      secret: true,
      mode: 0o600,
      ...o.owner,
    })),
    {
      path: inProject(at, o.placement.own),
      bytes: Buffer.from(textOf(o.override)),
      secret: false,
      mode: 0o644,
      ...o.owner,
    },
  ];
}

/** Files of ours that are not wanted any more, by path. */
export function staleFiles(d: D, o: Observed): string[] {
  const at = projectOf(d.spec);
  const wanted = new Set(wantedFiles(d, o).map((file) => file.path));
  const env = [...o.envFiles].filter(([file, state]) => state.type !== 'absent' && !wanted.has(file));
  const other = o.placement.own === OVERRIDE ? LISTED : OVERRIDE;
  const isThere = o.own[other].type !== 'absent';
  return [...env.map(([file]) => file), ...(isThere ? [inProject(at, other)] : [])];
}

export function diffFiles(d: D, o: Observed): Change[] {
  const changes = wantedFiles(d, o).flatMap((wanted) => {
    const state = o.envFiles.get(wanted.path) ?? o.own[o.placement.own];
    return fileChanges(path.basename(wanted.path), state, wanted);
  });
  if (o.dotenv !== o.placement.dotenv) {
    const to = o.placement.own === LISTED ? `it names ${LISTED}` : 'without us';
    changes.push({ what: 'COMPOSE_FILE in .env', from: 'not so', to });
  }
  for (const file of staleFiles(d, o))
    changes.push({ what: path.basename(file), from: 'ours', to: 'absent' });
  return changes;
}

/** What is wrong with a service, in words; undefined when it runs from what is wanted. */
function trouble(d: D, o: Observed, name: string): string | undefined {
  const containers = o.containers.filter((c) => c.service === name);
  if (containers.length === 0) return 'absent';
  const wanted = o.override.services[name]!;
  const made = d.memory?.digest === d.digest ? d.memory.hashes[name] : undefined;
  const append = d.spec.extend?.[name]?.appendCommand ?? [];
  // What has a variable in it is compose's to fill in.
  const flags = groups(append).filter((group) => !group.some((word) => word.includes('$')));
  if (containers.some(isHalfMade)) return 'left half-made by docker compose';
  for (const { id, labels, state, env, command, hash, engine } of containers) {
    const refusal = o.notGranted.get(id);
    if (refusal !== undefined) return `has more than is granted: ${refusal}`;
    if (labels[LABEL.document] === undefined) return 'without our part';
    if (labels[LABEL.digest] !== labelsOf(wanted)[LABEL.digest]) return 'made from another configuration';
    if (made !== undefined && made !== hash) return 'made from another configuration';
    if (flags.some((group) => !says(command, group))) return 'without our arguments';
    const resolved = d.memory?.digest === d.digest ? d.memory.resolved?.[name] : undefined;
    if (resolved !== undefined && o.resolved[name] !== undefined && resolved !== o.resolved[name])
      return 'made with other values of its variables';
    const stale = secretVariables(d, name).find(([k, v]) => !env.includes(`${k}=${v}`));
    if (stale !== undefined) return `with another value of ${stale[0]}`;
    // What the engine is about to start again, and what has just ended by itself, is to be judged, not to be started.
    if (!['running', 'restarting'].includes(state) && backoffMs(engine, o.nowMs) === 0) return state;
    const newer = o.starts.stale.get(id);
    if (state === 'running' && newer !== undefined) return `started before ${newer}`;
  }
  return undefined;
}

/** The services that are to be brought up, with what is wrong with each. */
export function differing(d: D, o: Observed): [name: string, trouble: string][] {
  const asleep = goingOn(o);
  return Object.keys(o.override.services).flatMap((name) => {
    if (asleep.has(name)) return [];
    const wrong = trouble(d, o, name);
    return wrong === undefined ? [] : [[name, wrong] as [string, string]];
  });
}

/** Services whose containers are left as they are. */
export const goingOn = ({ misfits }: Pick<Observed, 'misfits'>): ReadonlySet<string> =>
  new Set(misfits.flatMap(({ service, goesOn }) => (goesOn ? [service] : [])));

/** How many there are of each service, running or not, where its owner has it more than once. */
export function replicasOf(containers: readonly Container[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const container of containers)
    if (!isHalfMade(container)) counts.set(container.service, (counts.get(container.service) ?? 0) + 1);
  return counts;
}

/** Containers of the document whose services it names no more: to be removed, or to go back to the user's files. */
export function leftovers(
  containers: readonly Container[],
  override: Pick<Override, 'services'>,
  base: Base,
  asleep: ReadonlySet<string>,
): { readonly remove: readonly Container[]; readonly release: readonly string[] } {
  const left = containers.filter((c) => override.services[c.service] === undefined && !asleep.has(c.service));
  const isTheirs = (c: Container) => c.labels[LABEL.part] === 'extended';
  return {
    remove: left.filter((c) => !isTheirs(c) && base.services[c.service] === undefined),
    // Also one that we added and they have meanwhile.
    release: [...new Set(left.filter((c) => base.services[c.service] !== undefined).map((c) => c.service))],
  };
}
