// Whether what a document says fits the user's files as they are, and what of ours does without where it does not: with
// ours beside them, `docker compose` of theirs does what it would do without.
import path from 'node:path';
import { Waiting } from '../../api/errors.ts';
import {
  activeServices,
  type Base,
  entrypointOf,
  type Io,
  type Project,
  refusal,
  variablesOf,
} from './compose.ts';
import {
  type Command,
  type Ground,
  type Override,
  onBase,
  saidOtherwise,
  secretsOf,
  textOf,
  withoutEnvFiles,
  wordsOf,
} from './render.ts';
import type { ComposeProjectSpec } from './schema.ts';

/** Mended by somebody who edits the files, which wakes; this is only for the rest. */
export const AGAIN_MS = 60_000;

/** A service of the document that the user's files leave no room for. */
export interface Misfit {
  readonly service: string;
  readonly words: string;
  /** Whether our file does without it. */
  readonly isLeftOut: boolean;
  /** Whether its container is left as it is. */
  readonly goesOn: boolean;
}

/** Pure. Our file does without them (onBase). */
export function misfitsOf(spec: ComposeProjectSpec, base: Base): Misfit[] {
  const taken = Object.keys(spec.services ?? {}).filter((name) => base.services[name] !== undefined);
  const missing = Object.keys(spec.extend ?? {}).filter((name) => base.services[name] === undefined);
  const there = Object.keys(base.services).join(', ');
  const of = (service: string, words: string) => ({ service, words, isLeftOut: true, goesOn: false });
  return [
    ...taken.map((name) =>
      of(
        name,
        `there is a service ${name} already, which is not ours: remove it there, or rename ours, or extend it`,
      ),
    ),
    ...missing.map((name) => of(name, `there is no service ${name} to extend: there are ${there}`)),
  ];
}

/** Programs that refuse a flag that is said twice (github.com/alecthomas/kingpin), but for these. */
const SAYS_ONCE = /(?:^|\/)(?:prometheus|alertmanager|pushgateway)$/;
const SAYS_OFTEN = /^--(?:enable-feature|cluster\.peer|web\.listen-address|storage\.remote\.[a-z.-]+)\b/;

/** Flags that theirs says already, with another value. Other programs may take both, which is tried. */
export async function flagMisfits(
  spec: ComposeProjectSpec,
  base: Base,
  commands: ReadonlyMap<string, Command>,
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<Misfit[]> {
  const misfits: Misfit[] = [];
  for (const [service, { appendCommand }] of Object.entries(spec.extend ?? {})) {
    const theirs = base.services[service];
    const words = wordsOf(commands.get(service) ?? []);
    const said = saidOtherwise(words, appendCommand ?? []);
    if (theirs === undefined || said === undefined || SAYS_OFTEN.test(said)) continue;
    const entrypoint = wordsOf(await entrypointOf(service, theirs, at, files, io, signal));
    if (![...entrypoint, ...words.slice(0, 1)].some((word) => SAYS_ONCE.test(word))) continue;
    misfits.push({
      service,
      words: `the command of ${service} has ${said} already, and its program takes a flag only once: change it there, or leave it out of appendCommand`,
      isLeftOut: true,
      goesOn: false,
    });
  }
  return misfits;
}

/** Services of theirs that a profile may switch off. */
export function optionalOf({ services }: Base): ReadonlySet<string> {
  const some = Object.entries(services).filter(([, { profiles }]) => (profiles ?? []).length > 0);
  return new Set(some.map(([name]) => name));
}

/** What a profile of theirs has switched off, and what of ours needs it. */
export async function asleepOf(
  spec: ComposeProjectSpec,
  base: Base,
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<Misfit[]> {
  const optional = optionalOf(base);
  if (optional.size === 0) return [];
  const active = await activeServices(at, files, io, signal);
  if (active === undefined) return [];
  const reason = (name: string) => {
    const profiles = base.services[name]!.profiles!;
    const which =
      profiles.length === 1 ? `the profile ${profiles[0]}` : `the profiles ${profiles.join(' and ')}`;
    const none = profiles.length === 1 ? 'which is not active' : 'none of which is active';
    return `${name} is in ${which}, ${none}: name one in COMPOSE_PROFILES in .env`;
  };
  const isOff = (name: string) => optional.has(name) && !active.has(name);
  const rest = { isLeftOut: false, goesOn: true };
  return [
    ...Object.keys(spec.extend ?? {})
      .filter(isOff)
      .map((service) => ({ service, words: reason(service), ...rest })),
    ...Object.entries(spec.services ?? {}).flatMap(([service, { depends_on = [] }]) => {
      const off = depends_on.find(isOff);
      return off === undefined
        ? []
        : [{ service, words: `${service} needs ${off}, and ${reason(off)}`, ...rest }];
    }),
  ];
}

/** Why compose refuses ours beside their files, wherever it is written by then; undefined when it does not. */
export function refusedBeside(
  at: Project,
  files: readonly string[],
  ours: Override,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  return refusal(at, files, io, signal, textOf(withoutEnvFiles(ours)));
}

/**
 * As much of ours as compose takes beside their files. Nothing is left out where it refuses theirs alone.
 * @returns with what is left out, in compose's words.
 */
export async function narrowed(
  wanted: Override,
  ground: Ground,
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<{ override: Override; misfits: Misfit[] }> {
  const override = onBase(wanted, ground);
  const refused = (names: ReadonlySet<string>) => {
    const services = Object.fromEntries(
      Object.entries(override.services).filter(([name]) => names.has(name)),
    );
    return refusedBeside(at, files, { ...override, services }, io, signal);
  };
  const taken = new Set<string>();
  if ((await refusal(at, files, io, signal)) !== undefined) return { override, misfits: [] };
  const left = new Map<string, string>(Object.keys(override.services).map((name) => [name, '']));
  for (let before = -1; before !== left.size; ) {
    before = left.size;
    for (const name of [...left.keys()]) {
      const why = await refused(new Set([...taken, name]));
      if (why === undefined) {
        taken.add(name);
        left.delete(name);
      } else left.set(name, why);
    }
  }
  const without = new Set([...(ground.without ?? []), ...left.keys()]);
  const misfits = [...left].map(([service, why]) => ({
    service,
    words: `docker compose refuses ${service} beside their files: ${why}`,
    isLeftOut: true,
    goesOn: true,
  }));
  return { override: onBase(wanted, { ...ground, without }), misfits };
}

/** What ours has to fit, of their files. */
export function groundOf(
  at: Project,
  files: readonly string[],
  base: Base,
  commands: ReadonlyMap<string, Command>,
): Ground {
  const way = path.relative(path.dirname(path.resolve(at.directory, files[0]!)), path.resolve(at.directory));
  return { commands, optional: optionalOf(base), way: way === '' ? '.' : way };
}

/** @throws Waiting where theirs would win over a secret of ours: the file is what would have to change, or will. */
export function requireVariables(spec: ComposeProjectSpec, base: Base): void {
  const wrong = Object.entries(spec.extend ?? {}).flatMap(([name, service]) => {
    const theirs = base.services[name];
    const own = theirs === undefined ? [] : variablesOf(theirs);
    const taken = secretsOf(service).filter(([variable]) => own.includes(variable));
    return taken.map(
      ([variable]) => `${name} sets ${variable} itself, which would win over ours: remove it there`,
    );
  });
  if (wrong.length > 0) throw baseDiffers(spec, wrong);
}

export function baseDiffers({ directory }: ComposeProjectSpec, wrong: readonly string[]): Waiting {
  return new Waiting('BaseDiffers', `${directory}: ${wrong.join('; ')}`, AGAIN_MS);
}
