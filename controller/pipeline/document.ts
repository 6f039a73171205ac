// One YAML document, checked as far as that goes without the others: the envelope, the kind, the spec. What
// comes out keeps the document's places, so that everything said about it later points at the right line.
import type * as z from 'zod';
import { type Diagnostic, didYouMean } from '../../api/diagnostics.ts';
import {
  API_VERSION,
  FleetDocument,
  HostDocument,
  Name,
  ProfileDocument,
  ResourceDocument,
} from '../../api/documents.ts';
import { inWords } from '../../api/errors.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import { Complaints } from './complaints.ts';
import { isMapping } from './document-values.ts';
import type { Parsed, ParsedResource } from './parsed.ts';
import { checkBody, isMisspelt, readingOf } from './resource.ts';
import { show } from './words.ts';
import type { YamlDocument } from './yaml.ts';

export type Kinds = ReadonlyMap<string, AnyKind>;

export interface Checked {
  readonly parsed?: Parsed;
  readonly diagnostics: readonly Diagnostic[];
}

/** Documents that no host gets. */
const OF_THE_CONTROLLER = new Map<string, { schema: z.ZodType; type: 'host' | 'fleet' | 'profile' }>([
  ['Fleet', { schema: FleetDocument, type: 'fleet' }],
  ['Host', { schema: HostDocument, type: 'host' }],
  ['Profile', { schema: ProfileDocument, type: 'profile' }],
]);

/** @param isFirst of its file: it says the apiVersion of those after it, too. */
export function checkDocument(file: string, yaml: YamlDocument, kinds: Kinds, isFirst: boolean): Checked {
  return new Checker(file, yaml, kinds, isFirst).check();
}

class Checker {
  readonly #file: string;
  readonly #yaml: YamlDocument;
  readonly #kinds: Kinds;
  readonly #isFirst: boolean;
  readonly #complaints: Complaints;

  constructor(file: string, yaml: YamlDocument, kinds: Kinds, isFirst: boolean) {
    this.#file = file;
    this.#yaml = yaml;
    this.#kinds = kinds;
    this.#isFirst = isFirst;
    this.#complaints = new Complaints({ file, yaml });
  }

  check(): Checked {
    const value = this.#yaml.value;
    const diagnostics = this.#complaints.list;
    if (!isMapping(value)) {
      const is = Array.isArray(value) ? 'a list' : 'plain text';
      this.#complaints.add(
        [],
        'value',
        `a document is a mapping with apiVersion, kind, metadata and spec, and this is ${is}`,
      );
      return { diagnostics };
    }
    let parsed: Parsed | undefined;
    try {
      parsed = this.#parse(value);
    } catch (error) {
      const kind = String(value['kind']).slice(0, 63);
      this.#complaints.add(
        [],
        'value',
        `this ${kind} can't be checked (${inWords(error)}): this is a defect of homeostat`,
      );
    }
    return parsed === undefined ? { diagnostics } : { parsed, diagnostics };
  }

  #parse(value: Record<string, unknown>): Parsed | undefined {
    if (value['apiVersion'] === undefined && value['kind'] === undefined) {
      this.#complaints.add(
        [],
        'value',
        `apiVersion and kind are missing: begin a document with "apiVersion: ${API_VERSION}"; a file that is only there for contentFrom must not end in .yaml or .yml`,
      );
      return undefined;
    }
    const kindName = value['kind'];
    if (typeof kindName !== 'string') {
      this.#complaints.add(
        ['kind'],
        'value',
        `"kind" ${kindName === undefined ? 'is missing' : 'must be text'}: it is one of ${this.#kindNames().join(', ')}`,
      );
      return undefined;
    }
    const own = OF_THE_CONTROLLER.get(kindName);
    if (own === undefined) return this.#resource(kindName, value);
    const broken = !this.#fits(own.schema, value, kindName);
    const name = nameOf(value);
    if (name === undefined) return undefined;
    const document: unknown = value;
    return { file: this.#file, yaml: this.#yaml, name, broken, type: own.type, document } as Parsed;
  }

  #resource(kindName: string, value: Record<string, unknown>): ParsedResource | undefined {
    const kind = this.#kinds.get(kindName);
    if (kind === undefined) {
      const near = didYouMean(kindName, this.#kindNames());
      const hint =
        near === undefined ? `this version knows ${this.#kindNames().join(', ')}` : `did you mean ${near}?`;
      this.#complaints.add(['kind'], 'value', `unknown kind ${show(kindName)}: ${hint}`);
    }
    // Whoever names a profile may have its spec from there.
    const whole = value['profile'] !== undefined && !('spec' in value) ? { ...value, spec: {} } : value;
    let broken = !this.#fits(ResourceDocument, whole, kindName) || kind === undefined;
    // With a profile, what the document is shows when all documents are there.
    if (kind !== undefined && value['profile'] === undefined && !checkBody(kind, value, this.#complaints))
      broken = true;
    const name = nameOf(value);
    if (name === undefined) return undefined;
    return {
      type: 'resource',
      file: this.#file,
      yaml: this.#yaml,
      name,
      key: `${kindName}/${name}`,
      kind,
      broken,
      document: value as unknown as ResourceDocument,
      inherited: undefined,
      ...readingOf(value, kind),
    };
  }

  /** The envelope, and for those of the controller all of it. */
  #fits(schema: z.ZodType, value: Record<string, unknown>, kind: string): boolean {
    const fits = this.#complaints.fits(schema, value, [], `a ${kind}`);
    if (!this.#isFirst || value['apiVersion'] !== undefined || isMisspelt(value, 'apiVersion')) return fits;
    this.#complaints.add(['apiVersion'], 'value', `"apiVersion" is missing: it must be "${API_VERSION}"`);
    return false;
  }

  #kindNames(): string[] {
    return [...this.#kinds.keys(), ...OF_THE_CONTROLLER.keys()].sort();
  }
}

function nameOf({ metadata }: Record<string, unknown>): string | undefined {
  const name = isMapping(metadata) ? metadata['name'] : undefined;
  return Name.safeParse(name).success ? (name as string) : undefined;
}
