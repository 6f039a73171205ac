// Preferences of tailscaled: which of them a document wants, and what those were before homeostat. Pure.
import * as z from 'zod';
import type { Change, Claim, Desired } from '../kind.ts';
import type { TailscaleClientSpec } from './schema.ts';

export const Prefs = z.record(z.string(), z.union([z.string(), z.boolean()]));
export type Prefs = z.infer<typeof Prefs>;
type Value = string | boolean;

/** What the preferences that homeostat changed were before it, by ipn.Prefs' names. */
export const Memory = z.object({ original: Prefs });
export type Memory = z.infer<typeof Memory>;

type D = Desired<TailscaleClientSpec, Memory>;

/** By ipn.Prefs' names: how people call it, and where a spec wants it. */
const KNOWN: readonly { pref: string; what: string; of: (spec: TailscaleClientSpec) => Value | undefined }[] =
  [
    { pref: 'RunWebClient', what: 'webclient', of: (spec) => spec.webclient },
    { pref: 'Hostname', what: 'hostname', of: (spec) => spec.prefs?.hostname },
    { pref: 'PostureChecking', what: 'reportPosture', of: (spec) => spec.prefs?.reportPosture },
  ];

export const claimOf = (pref: string): Claim => `tailscale:prefs/${pref}`;

/** The preferences that a spec names. */
export function namesOf(spec: TailscaleClientSpec): string[] {
  return KNOWN.filter(({ of }) => of(spec) !== undefined).map(({ pref }) => pref);
}

/** What the preferences should be: as the spec has them, and as they were for those that the document has dropped. */
export function wantedPrefs(d: D): Prefs {
  const wanted: Prefs = {};
  for (const { pref, of } of KNOWN) {
    const dropped = d.held.includes(claimOf(pref)) ? d.memory?.original[pref] : undefined;
    const value = of(d.spec) ?? dropped;
    if (value !== undefined) wanted[pref] = value;
  }
  return wanted;
}

export function prefChanges(wanted: Prefs, now: Readonly<Record<string, unknown>>): Change[] {
  return KNOWN.flatMap(({ pref, what }) => {
    const value = wanted[pref];
    if (value === undefined || current(now, pref, value) === value) return [];
    return [{ what, from: shown(current(now, pref, value)), to: shown(value) }];
  });
}

/** Those of the wanted that the changes are about. */
export function changedPrefs(changes: readonly Change[], wanted: Prefs): Prefs {
  const changed = KNOWN.filter(({ what }) => changes.some((change) => change.what === what));
  return pick(
    wanted,
    changed.map(({ pref }) => pref),
  );
}

/** As they are now, of the wanted ones. */
export function currentPrefs(wanted: Prefs, now: Readonly<Record<string, unknown>>): Prefs {
  return Object.fromEntries(Object.entries(wanted).map(([pref, value]) => [pref, current(now, pref, value)]));
}

/**
 * What is remembered after a change. Of preferences that were ours already it is known, or nobody knows it any more; one
 * that the document names for the first time had its value from before now.
 */
export function remember(d: D, before: Prefs): Memory {
  const original = d.memory?.original ?? {};
  const held = Object.keys(original).filter((pref) => d.held.includes(claimOf(pref)));
  return { original: { ...pick(original, held), ...pick(before, newNames(d)) } };
}

/** Whether the document names preferences that were not ours. */
export function namesMore(d: D): boolean {
  return newNames(d).length > 0;
}

function newNames(d: D): string[] {
  return namesOf(d.spec).filter((pref) => !d.held.includes(claimOf(pref)));
}

export function pick(prefs: Prefs, names: readonly string[]): Prefs {
  return Object.fromEntries(Object.entries(prefs).filter(([pref]) => names.includes(pref)));
}

/** A preference that tailscaled leaves out has its type's zero value. */
function current(prefs: Readonly<Record<string, unknown>>, pref: string, like: Value): Value {
  const value = prefs[pref];
  if (typeof like === 'string') return typeof value === 'string' ? value : '';
  return value === true;
}

function shown(value: Value): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : value === '' ? '""' : value;
}
