// One YAML document, checked as far as that goes without the others: the envelope, the kind, the spec. What
// comes out keeps the document's places, so that everything said about it later points at the right line.
import type * as z from 'zod';
import { type Diagnostic, didYouMean } from '../../api/diagnostics.ts';
import {
  API_VERSION,
  FleetDocument,
  HostDocument,
  type HostSelector,
  Name,
  ResourceDocument,
} from '../../api/documents.ts';
import { inWords } from '../../api/errors.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import { describeIssues, type Problem } from './describe-issue.ts';
import { isMapping, valueAt } from './document-values.ts';
import { isDynamic, isFleetwide } from './interpolate.ts';
import type { Place } from './lines.ts';
import { show } from './words.ts';
import type { Path, YamlDocument } from './yaml.ts';

export type Kinds = ReadonlyMap<string, AnyKind>;

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

interface Common {
  readonly file: string;
  readonly yaml: YamlDocument;
  readonly name: string;
  /** Whether its own schema has complaints; it then only stands in for its name. */
  readonly broken: boolean;
}
export interface ParsedHost extends Common {
  readonly type: 'host';
  readonly document: HostDocument;
}
export interface ParsedFleet extends Common {
  readonly type: 'fleet';
  readonly document: FleetDocument;
}
export interface ParsedResource extends Common {
  readonly type: 'resource';
  /** `Kind/name`. */
  readonly key: string;
  /** Undefined for an unknown kind. */
  readonly kind: AnyKind | undefined;
  readonly document: ResourceDocument;
  /** The hosts it names; undefined when it names none rightly. */
  readonly selector: HostSelector | undefined;
  readonly spec: Readonly<Record<string, unknown>>;
  /** Whether values of the host enter the spec itself. */
  readonly dynamic: boolean;
  /** Whether other hosts enter it. */
  readonly fleetwide: boolean;
}
export type Parsed = ParsedHost | ParsedFleet | ParsedResource;

export interface Checked {
  readonly parsed?: Parsed;
  readonly diagnostics: readonly Diagnostic[];
}

/** A diagnostic about a path of a document. */
export function diagnosticAt(
  document: { readonly file: string; readonly yaml: YamlDocument },
  path: Path,
  at: 'key' | 'value',
  message: string,
  severity: Diagnostic['severity'] = 'error',
): Diagnostic {
  return { file: document.file, ...document.yaml.locate(path)[at], severity, message };
}

/** `file:line`, as other diagnostics and the payload name a document. */
export function sourceOf(document: {
  readonly file: string;
  readonly yaml: { readonly place: Place };
}): string {
  return `${document.file}:${document.yaml.place.line}`;
}

export function checkDocument(file: string, yaml: YamlDocument, kinds: Kinds): Checked {
  return new Checker(file, yaml, kinds).check();
}

class Checker {
  readonly #file: string;
  readonly #yaml: YamlDocument;
  readonly #kinds: Kinds;
  readonly #diagnostics: Diagnostic[] = [];

  constructor(file: string, yaml: YamlDocument, kinds: Kinds) {
    this.#file = file;
    this.#yaml = yaml;
    this.#kinds = kinds;
  }

  check(): Checked {
    const value = this.#yaml.value;
    if (!isMapping(value)) {
      const is = Array.isArray(value) ? 'a list' : 'plain text';
      this.#report(
        [],
        'value',
        `a document is a mapping with apiVersion, kind, metadata and spec, and this is ${is}`,
      );
      return { diagnostics: this.#diagnostics };
    }
    let parsed: Parsed | undefined;
    try {
      parsed = this.#parse(value);
    } catch (error) {
      const kind = String(value['kind']).slice(0, 63);
      this.#report(
        [],
        'value',
        `this ${kind} can't be checked (${inWords(error)}): this is a defect of homeostat`,
      );
    }
    return parsed === undefined
      ? { diagnostics: this.#diagnostics }
      : { parsed, diagnostics: this.#diagnostics };
  }

  #parse(value: Record<string, unknown>): Parsed | undefined {
    if (value['apiVersion'] === undefined && value['kind'] === undefined) {
      this.#report(
        [],
        'value',
        `apiVersion and kind are missing: begin a document with "apiVersion: ${API_VERSION}"; a file that is only there for contentFrom must not end in .yaml or .yml`,
      );
      return undefined;
    }
    const kindName = value['kind'];
    if (typeof kindName !== 'string') {
      this.#report(
        ['kind'],
        'value',
        `"kind" ${kindName === undefined ? 'is missing' : 'must be text'}: it is one of ${this.#kindNames().join(', ')}`,
      );
      return undefined;
    }
    if (kindName === 'Host' || kindName === 'Fleet') {
      const schema: z.ZodType = kindName === 'Host' ? HostDocument : FleetDocument;
      const broken = !this.#fits(schema, value, [], `a ${kindName}`);
      const name = this.#name(value);
      if (name === undefined) return undefined;
      const common = { file: this.#file, yaml: this.#yaml, name, broken };
      return kindName === 'Host'
        ? { ...common, type: 'host', document: value as unknown as HostDocument }
        : { ...common, type: 'fleet', document: value as unknown as FleetDocument };
    }
    return this.#resource(kindName, value);
  }

  #resource(kindName: string, value: Record<string, unknown>): ParsedResource | undefined {
    const kind = this.#kinds.get(kindName);
    if (kind === undefined) {
      const near = didYouMean(kindName, this.#kindNames());
      const hint =
        near === undefined ? `this version knows ${this.#kindNames().join(', ')}` : `did you mean ${near}?`;
      this.#report(['kind'], 'value', `unknown kind ${show(kindName)}: ${hint}`);
    }
    let broken = !this.#fits(ResourceDocument, value, [], `a ${kindName}`) || kind === undefined;
    const spec = value['spec'];
    if (kind !== undefined && spec !== undefined) {
      if (!isMapping(spec)) {
        this.#report(
          ['spec'],
          'value',
          `"spec" must be a mapping, and is ${Array.isArray(spec) ? 'a list' : show(spec)}`,
        );
        broken = true;
      } else if (!this.#fits(kind.spec, spec, ['spec'], `the spec of a ${kindName}`)) broken = true;
      if (!this.#placement(kind, value)) broken = true;
      if (!this.#removal(kind, value)) broken = true;
    }
    const name = this.#name(value);
    if (name === undefined) return undefined;
    const selector = HostSelectorOf(value, kind);
    return {
      type: 'resource',
      file: this.#file,
      yaml: this.#yaml,
      name,
      key: `${kindName}/${name}`,
      kind,
      broken,
      document: value as unknown as ResourceDocument,
      selector,
      spec: isMapping(spec) ? spec : {},
      dynamic: someText(spec, isDynamic),
      fleetwide: someText(spec, isFleetwide),
    };
  }

  /** `hosts` for kinds of scope host, `runOn` for those of scope fleet, one of them for those of either. */
  #placement(kind: AnyKind, value: Record<string, unknown>): boolean {
    const { wanted, refused, how } = PLACEMENTS[kind.scope];
    const given = PLACES.filter((place) => value[place] !== undefined);
    const misspelt = Object.keys(value)
      .slice(0, MAX_KEYS)
      .some((key) => !ENVELOPE.includes(key) && wanted.some((place) => didYouMean(key, ENVELOPE) === place));
    const wrong = given.find((place) => place === refused) ?? (given.length > 1 ? 'runOn' : undefined);
    if (wrong !== undefined)
      this.#report([wrong], 'key', `"${wrong}" doesn't belong here: a ${kind.kind} ${how}`);
    else if (given.length > 0) return true;
    else if (!misspelt) {
      const names = wanted.map((place) => `"${place}"`).join(' or ');
      this.#report([], 'value', `${names} is missing: a ${kind.kind} ${how}`);
    }
    return false;
  }

  #removal({ kind, orphanOnly }: AnyKind, { prune }: Record<string, unknown>): boolean {
    if (orphanOnly !== true || prune === undefined || prune === 'orphan') return true;
    const message = `a ${kind} stays as it is when its document goes: leave prune out, or write prune: orphan`;
    this.#report(['prune'], 'value', message);
    return false;
  }

  #fits(schema: z.ZodType, value: unknown, prefix: Path, what: string): boolean {
    const result = schema.safeParse(value);
    if (result.success) return true;
    const raw = (path: Path): string => this.#yaml.locate([...prefix, ...path]).raw;
    // A text that a host's values enter is judged when they are in it.
    const isOpen = ({ path, aboutText }: Problem): boolean => {
      const text = valueAt(value, path);
      return aboutText && typeof text === 'string' && isDynamic(text);
    };
    const problems = describeIssues(result.error, schema, value, raw, what, isOpen);
    for (const { path, at, message } of problems) this.#report([...prefix, ...path], at, message);
    return problems.length === 0;
  }

  #name(value: Record<string, unknown>): string | undefined {
    const metadata = value['metadata'];
    const name = isMapping(metadata) ? metadata['name'] : undefined;
    return Name.safeParse(name).success ? (name as string) : undefined;
  }

  #kindNames(): string[] {
    return [...this.#kinds.keys(), 'Fleet', 'Host'].sort();
  }

  #report(path: Path, at: 'key' | 'value', message: string): void {
    this.#diagnostics.push(diagnosticAt({ file: this.#file, yaml: this.#yaml }, path, at, message));
  }
}

function HostSelectorOf(value: Record<string, unknown>, kind: AnyKind | undefined): HostSelector | undefined {
  if (kind?.scope === 'fleet' || (kind?.scope === 'either' && value['hosts'] === undefined)) {
    const runOn = value['runOn'];
    return typeof runOn === 'string' ? { names: [runOn] } : undefined;
  }
  const parsed = ResourceDocument.shape.hosts.safeParse(value['hosts']);
  return parsed.success ? parsed.data : undefined;
}

function someText(value: unknown, test: (text: string) => boolean): boolean {
  if (typeof value === 'string') return test(value);
  if (Array.isArray(value)) return value.some((item) => someText(item, test));
  return isMapping(value) && Object.values(value).some((item) => someText(item, test));
}
