/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): how `alloy convert` reads and writes
 * values: Go's durations (`20h0m0s`), sizes with the largest binary unit that leaves nothing over, maps by key.
 */
import { parseDuration } from './duration.ts';
import { Failure } from './load.ts';

export interface Found {
  severity: 'Warning' | 'Error' | 'Critical';
  summary: string;
}

export type Mapping = Record<string, unknown>;

export type ValueKind = 'text' | 'number' | 'bool' | 'duration' | 'size' | 'list' | 'map';

/** @throws Failure for a value that is not of that kind. */
export function value(kind: ValueKind, given: unknown, name: string): string {
  switch (kind) {
    case 'number':
    case 'bool':
      return String(given);
    case 'duration':
      return text(duration(String(given), name));
    case 'size':
      return text(size(given, name));
    case 'list':
      return `[${(given as unknown[]).map(text).join(', ')}]`;
    case 'map':
      return map(given as Record<string, unknown>);
    case 'text':
      return text(given);
  }
}

export function text(given: unknown): string {
  return JSON.stringify(given === null ? '' : String(given));
}

/** One entry a line, sorted, as Go marshals a map; `{}` when there is none. */
export function map(given: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return '{}';
  const lines = entries.map(
    ([key, one]) => `${/^[A-Za-z_]\w*$/.test(key) ? key : text(key)} = ${text(one)},`,
  );
  return `{\n${lines.join('\n')}\n}`;
}

/** `name = value` lines of those that are given. @param fields `name kind` pairs; `promtail:alloy` renames. */
export function attributes(from: Readonly<Record<string, unknown>>, fields: string, where: string): string[] {
  return fields.split(', ').flatMap((field) => {
    const [names = '', kind = 'text'] = field.split(' ');
    const [theirs = '', ours = theirs] = names.split(':');
    const given = from[theirs];
    return given === undefined ? [] : [`${ours} = ${value(kind as ValueKind, given, `${where}.${theirs}`)}`];
  });
}

export function block(name: string, label: string | undefined, lines: readonly string[]): string {
  const head = label === undefined ? name : `${name} "${label}"`;
  return lines.length === 0 ? `${head} { }` : `${head} {\n${lines.join('\n')}\n}`;
}

function duration(given: string, name: string): string {
  const ms = parseDuration(given);
  if (ms === undefined) throw new Failure(`${name}: time: invalid duration "${given}"`);
  if (ms < 1000) return ms === 0 ? '0s' : `${ms}ms`;
  const seconds = (ms / 1000) % 60;
  const minutes = Math.floor(ms / 60_000) % 60;
  const hours = Math.floor(ms / 3_600_000);
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}

function size(given: unknown, name: string): string {
  const match = /^(\d+)\s*(k|m|g)?i?b?$/i.exec(String(given));
  if (match === null)
    throw new Failure(`${name}: a size is a number with KB, MB or GB, and not ${String(given)}`);
  let bytes = Number(match[1]) * 1024 ** ['', 'k', 'm', 'g'].indexOf((match[2] ?? '').toLowerCase());
  let unit = 0;
  for (; unit < 3 && bytes >= 1024 && bytes % 1024 === 0; unit++) bytes /= 1024;
  return `${bytes}${['B', 'KiB', 'MiB', 'GiB'][unit]}`;
}

/** @throws Failure at what the stand-in does not model. */
export function refuseOthers(mapping: Mapping, known: string, where: string): void {
  const others = Object.keys(mapping).filter((key) => !known.split(', ').includes(key));
  if (others.length === 0) return;
  throw new Failure(
    `homeostat's stand-in for Grafana Alloy can't convert ${others.join(', ')} of ${where}; that needs the real alloy`,
  );
}

export function list(value: unknown): Mapping[] {
  return Array.isArray(value) ? (value as Mapping[]) : [];
}
