// Debian versions: their order and their patterns (deb-version(7)). Pure.
import { fitsPattern } from '../shared/pattern.ts';

/** Words in place of a version: any that is installed, or the newest that apt knows. */
export const PRESENT = 'present';
export const LATEST = 'latest';

/** @returns below 0 when `a` is older than `b`, 0 when they are the same, above 0 when it is newer. */
export function compareVersions(a: string, b: string): number {
  const [one, two] = [split(a), split(b)];
  return (
    one.epoch - two.epoch ||
    comparePart(one.upstream, two.upstream) ||
    comparePart(one.revision, two.revision)
  );
}

/** Whether a version fits a pattern in which `*` stands for any characters: `1.8.*`. */
export function fits(version: string, pattern: string): boolean {
  return fitsPattern(version, pattern);
}

function split(version: string): { epoch: number; upstream: string; revision: string } {
  const [, epoch, rest] = /^(?:(\d+):)?(.*)$/s.exec(version)!;
  const dash = rest!.lastIndexOf('-');
  return {
    epoch: Number(epoch ?? 0),
    upstream: dash < 0 ? rest! : rest!.slice(0, dash),
    revision: dash < 0 ? '' : rest!.slice(dash + 1),
  };
}

/** Runs of other characters and of digits in turn: the first by character, the second by number. */
function comparePart(a: string, b: string): number {
  const [one, two] = [runs(a), runs(b)];
  for (let i = 0; i < Math.max(one.length, two.length); i++) {
    const [left, right] = [one[i] ?? '', two[i] ?? ''];
    const order = i % 2 === 0 ? compareText(left, right) : compareNumber(left, right);
    if (order !== 0) return order;
  }
  return 0;
}

/** Always beginning with a run of no digits, which may be empty. */
function runs(part: string): string[] {
  const found = part.match(/\d+|\D+/g) ?? [];
  return /^\d/.test(part) ? ['', ...found] : found;
}

function compareNumber(a: string, b: string): number {
  const [left, right] = [BigInt(a || 0), BigInt(b || 0)];
  return left < right ? -1 : left > right ? 1 : 0;
}

function compareText(a: string, b: string): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const order = rank(a[i]) - rank(b[i]);
    if (order !== 0) return order;
  }
  return 0;
}

/** "~" is before everything, even the end; letters are before what is no letter. */
function rank(character: string | undefined): number {
  if (character === undefined) return 0;
  if (character === '~') return -1;
  return /[A-Za-z]/.test(character) ? character.charCodeAt(0) : character.charCodeAt(0) + 256;
}
