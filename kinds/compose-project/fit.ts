// Whether what a document says fits the user's files as they are. Pure.
import { Waiting } from '../../api/errors.ts';
import { type Base, variablesOf } from './compose.ts';
import { secretsOf } from './render.ts';
import type { ComposeProjectSpec } from './schema.ts';

/** Mended by somebody who edits the files, which wakes; this is only for the rest. */
export const AGAIN_MS = 60_000;

/** Services of the document that the user's files leave no room for, in words. Our file does without them (onBase). */
export function misfitsOf(spec: ComposeProjectSpec, base: Base): string[] {
  const taken = Object.keys(spec.services ?? {}).filter((name) => base.services[name] !== undefined);
  const missing = Object.keys(spec.extend ?? {}).filter((name) => base.services[name] === undefined);
  const there = Object.keys(base.services).join(', ');
  return [
    ...taken.map(
      (name) =>
        `there is a service ${name} already, which is not ours: remove it there, or rename ours, or extend it`,
    ),
    ...missing.map((name) => `there is no service ${name} to extend: there are ${there}`),
  ];
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
