// One document that becomes a resource, with everything of its profile in it: where it goes, what its removal does, and
// whether its spec is one of its kind.
import { didYouMean } from '../../api/diagnostics.ts';
import { type HostSelector, ResourceDocument } from '../../api/documents.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import type { Complaints } from './complaints.ts';
import { isMapping } from './document-values.ts';
import { isDynamic, isFleetwide } from './interpolate.ts';
import type { DependsOn, ParsedResource } from './parsed.ts';
import { show } from './words.ts';

const ENVELOPE = Object.keys(ResourceDocument.shape);

/** Of a document's keys, those that are looked at for typos. */
const MAX_KEYS = 50;

const PLACES = ['hosts', 'runOn'] as const;
type PlaceField = (typeof PLACES)[number];
const PLACEMENTS: Record<
  AnyKind['scope'],
  { wanted: readonly PlaceField[]; refused?: PlaceField; how: string }
> = {
  host: {
    wanted: ['hosts'],
    refused: 'runOn',
    how: 'goes to hosts: give it hosts, with matchLabels, names or all: true',
  },
  fleet: {
    wanted: ['runOn'],
    refused: 'hosts',
    how: 'is there once for the fleet: give it runOn with the name of the one host that works on it',
  },
  either: {
    wanted: ['hosts', 'runOn'],
    how: 'goes to hosts, or is there once for the fleet: give it hosts (matchLabels, names or all: true) or runOn with the name of one host',
  },
};

type Value = Readonly<Record<string, unknown>>;

/** What follows from a document's value, right or wrong. */
export function readingOf(
  value: Value,
  kind: AnyKind | undefined,
): Pick<ParsedResource, 'selector' | 'dependsOn' | 'spec' | 'dynamic' | 'fleetwide'> {
  const spec = value['spec'];
  return {
    selector: selectorOf(value, kind),
    dependsOn: dependenciesOf(value['dependsOn']),
    spec: isMapping(spec) ? spec : {},
    dynamic: someText(spec, isDynamic),
    fleetwide: someText(spec, isFleetwide),
  };
}

/** @returns whether nothing is wrong. */
export function checkBody(kind: AnyKind, value: Value, complaints: Complaints): boolean {
  const spec = value['spec'];
  if (spec === undefined) return true; // the document's own schema wants one
  return [
    checkSpec(kind, spec, complaints),
    checkPlacement(kind, value, complaints),
    checkRemoval(kind, value, complaints),
  ].every((right) => right);
}

function checkSpec(kind: AnyKind, spec: unknown, complaints: Complaints): boolean {
  if (isMapping(spec)) return complaints.fits(kind.spec, spec, ['spec'], `the spec of a ${kind.kind}`);
  const is = Array.isArray(spec) ? 'a list' : show(spec);
  complaints.add(['spec'], 'value', `"spec" must be a mapping, and is ${is}`);
  return false;
}

/** `hosts` for kinds of scope host, `runOn` for those of scope fleet, one of them for those of either. */
function checkPlacement(kind: AnyKind, value: Value, complaints: Complaints): boolean {
  const { wanted, refused, how } = PLACEMENTS[kind.scope];
  const given = PLACES.filter((place) => value[place] !== undefined);
  const wrong = given.find((place) => place === refused) ?? (given.length > 1 ? 'runOn' : undefined);
  if (wrong !== undefined)
    complaints.add([wrong], 'key', `"${wrong}" doesn't belong here: a ${kind.kind} ${how}`);
  else if (given.length > 0) return true;
  else if (![...wanted, 'profile'].some((field) => isMisspelt(value, field))) {
    const names = wanted.map((place) => `"${place}"`).join(' or ');
    complaints.add([], 'value', `${names} is missing: a ${kind.kind} ${how}`);
  }
  return false;
}

function checkRemoval({ kind, orphanOnly }: AnyKind, { prune }: Value, complaints: Complaints): boolean {
  if (orphanOnly !== true || prune === undefined || prune === 'orphan') return true;
  const message = `a ${kind} stays as it is when its document goes: leave prune out, or write prune: orphan`;
  complaints.add(['prune'], 'value', message);
  return false;
}

/** Whether a field was written with a typo, which is reported as such. */
export function isMisspelt(value: Value, field: string, fields: readonly string[] = ENVELOPE): boolean {
  return Object.keys(value)
    .slice(0, MAX_KEYS)
    .some((key) => !fields.includes(key) && didYouMean(key, fields) === field);
}

function selectorOf(value: Value, kind: AnyKind | undefined): HostSelector | undefined {
  if (kind?.scope === 'fleet' || (kind?.scope === 'either' && value['hosts'] === undefined)) {
    const runOn = value['runOn'];
    return typeof runOn === 'string' ? { names: [runOn] } : undefined;
  }
  const parsed = ResourceDocument.shape.hosts.safeParse(value['hosts']);
  return parsed.success ? parsed.data : undefined;
}

/** Of a broken document, those that can be read. */
function dependenciesOf(value: unknown): DependsOn[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: unknown, i): DependsOn[] => {
    if (typeof item === 'string') return [{ ref: item, until: 'Ready', path: ['dependsOn', i] }];
    const ref = isMapping(item) ? item['ref'] : undefined;
    if (!isMapping(item) || typeof ref !== 'string') return [];
    const until = item['until'] === 'Applied' ? 'Applied' : 'Ready';
    return [{ ref, until, path: ['dependsOn', i, 'ref'] }];
  });
}

function someText(value: unknown, test: (text: string) => boolean): boolean {
  if (typeof value === 'string') return test(value);
  if (Array.isArray(value)) return value.some((item) => someText(item, test));
  return isMapping(value) && Object.values(value).some((item) => someText(item, test));
}
