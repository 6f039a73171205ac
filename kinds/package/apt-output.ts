// What apt prints, read. Pure. Formats: apt-cache(8) policy, apt-get(8) --simulate; LC_ALL=C is set by the port.
import { compareVersions, fits, LATEST, PRESENT } from './version.ts';

export interface Policy {
  /** What apt would install; undefined when there is nothing. */
  readonly candidate: string | undefined;
  /** All that can be had, newest first; the installed one only when a repository still has it. */
  readonly versions: readonly string[];
  /** Of each, apt's priority; below zero it is never to be installed (apt_preferences(5)). */
  readonly priorities: Readonly<Record<string, number>>;
}

export function readPolicy(text: string): Policy {
  const candidate = /^ {2}Candidate: (\S+)$/m.exec(text)?.[1];
  const versions: string[] = [];
  const priorities: Record<string, number> = {};
  let version: string | undefined;
  let priority = 0;
  for (const line of text
    .slice(Math.max(0, text.indexOf('Version table:')))
    .split('\n')
    .slice(1)) {
    const heads = /^ (?:\*\*\*| {3}) (\S+) (-?\d+)/.exec(line);
    if (heads !== null) [version, priority] = [heads[1], Number(heads[2])];
    const origin = /^ {8,} *-?\d+ (\S+)/.exec(line)?.[1];
    if (version === undefined || origin === undefined || origin.endsWith('/dpkg/status')) continue;
    if (!versions.includes(version)) versions.push(version);
    priorities[version] = priority;
  }
  versions.sort((a, b) => compareVersions(b, a));
  return { candidate: candidate === '(none)' ? undefined : candidate, versions, priorities };
}

/**
 * The version to install for what a manifest asks, or undefined when there is none. What the host's owner pinned below
 * zero is none; of several that fit, the one that apt prefers.
 */
export function choose({ candidate, versions, priorities }: Policy, wanted: string): string | undefined {
  if (wanted === PRESENT || wanted === LATEST) return candidate;
  if (candidate !== undefined && versions.includes(candidate) && fits(candidate, wanted)) return candidate;
  const of = (version: string): number => priorities[version] ?? 0;
  return versions
    .filter((version) => of(version) >= 0 && fits(version, wanted))
    .sort((a, b) => of(b) - of(a) || compareVersions(b, a))[0];
}

/** Versions that fit, and that the host's owner has pinned away, for people. */
export function pinnedAway({ versions, priorities }: Policy, wanted: string): string[] {
  return versions
    .filter((version) => (priorities[version] ?? 0) < 0)
    .filter((version) => wanted === PRESENT || wanted === LATEST || fits(version, wanted))
    .map((version) => `${version} (priority ${priorities[version]})`);
}

export interface Simulation {
  readonly removed: readonly string[];
  /** Packages that would become older, with both versions. */
  readonly downgraded: readonly { readonly name: string; readonly from: string; readonly to: string }[];
}

export function readSimulation(text: string): Simulation {
  const removed = [...text.matchAll(/^(?:Remv|Purg) (\S+)/gm)].map((m) => m[1]!);
  const installed = [...text.matchAll(/^Inst (\S+) \[([^\]]+)\] \((\S+)/gm)];
  return {
    removed: [...new Set(removed)],
    downgraded: installed
      .map((m) => ({ name: m[1]!, from: m[2]!, to: m[3]! }))
      .filter(({ from, to }) => compareVersions(to, from) < 0),
  };
}
