// What apt prints, read. Pure. Formats: apt-cache(8) policy, apt-get(8) --simulate; LC_ALL=C is set by the port.
import { compareVersions, fits, LATEST, PRESENT } from './version.ts';

export interface Policy {
  /** What apt would install; undefined when there is nothing. */
  readonly candidate: string | undefined;
  /** All that can be had, newest first; the installed one only when a repository still has it. */
  readonly versions: readonly string[];
}

export function readPolicy(text: string): Policy {
  const candidate = /^ {2}Candidate: (\S+)$/m.exec(text)?.[1];
  const versions: string[] = [];
  let version: string | undefined;
  for (const line of text
    .slice(Math.max(0, text.indexOf('Version table:')))
    .split('\n')
    .slice(1)) {
    version = /^ (?:\*\*\*| {3}) (\S+) -?\d+/.exec(line)?.[1] ?? version;
    const origin = /^ {8,} *-?\d+ (\S+)/.exec(line)?.[1];
    if (version === undefined || origin === undefined || origin.endsWith('/dpkg/status')) continue;
    if (!versions.includes(version)) versions.push(version);
  }
  versions.sort((a, b) => compareVersions(b, a));
  return { candidate: candidate === '(none)' ? undefined : candidate, versions };
}

/** The version to install for what a manifest asks, or undefined when there is none. */
export function choose({ candidate, versions }: Policy, wanted: string): string | undefined {
  if (wanted === PRESENT || wanted === LATEST) return candidate;
  if (candidate !== undefined && versions.includes(candidate) && fits(candidate, wanted)) return candidate;
  return versions.find((version) => fits(version, wanted));
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
