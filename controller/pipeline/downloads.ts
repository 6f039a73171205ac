// Which downloads the documents of a commit name, and what came of them; what was fetched is kept from one
// compilation to the next.
import type { AnyKind, Download } from '../../kinds/kind.ts';
import type { Downloaded, Downloads, Wanted } from '../source/downloads.ts';
import { isMapping } from './document-values.ts';
import { interpolate, type Scope } from './interpolate.ts';
import type { ParsedResource } from './parsed.ts';

export function downloadKey({ url, sha256 }: Wanted): string {
  return `${sha256} ${url}`;
}

/** What a spec has downloaded; nothing for a spec that does not fit, which is told elsewhere. */
export function downloadsOf(kind: AnyKind, spec: unknown): readonly Download[] {
  if (kind.downloads === undefined) return [];
  const parsed = kind.spec.safeParse(spec);
  return parsed.success ? kind.downloads(parsed.data) : [];
}

/** Nothing for one that the kind can't read: rendering it says so, at its place. */
function wantedBy(kind: AnyKind, spec: unknown): readonly Download[] {
  try {
    return downloadsOf(kind, spec);
  } catch {
    return [];
  }
}

const NONE: ReadonlyMap<string, Downloaded> = new Map();

export class Fetched {
  readonly #downloads: Downloads | undefined;
  readonly #known: ReadonlyMap<string, Downloaded>;
  readonly #wanted = new Map<string, Wanted>();
  readonly #keys = new Map<ParsedResource, readonly string[]>();
  readonly #came = new Map<string, Downloaded>();

  constructor(downloads: Downloads | undefined, previous: Fetched | undefined) {
    this.#downloads = downloads;
    this.#known = previous === undefined ? NONE : previous.#came;
  }

  /** @param scopes of the hosts that the document goes to, whose values may enter what it names. */
  want(resource: ParsedResource, scopes: () => Iterable<Scope>): void {
    const { kind, spec, broken, dynamic } = resource;
    if (kind?.downloads === undefined || broken) return;
    // A variable may be meant as text or as the number that it is: whichever fits the schema counts.
    const specs = dynamic
      ? [...scopes()].flatMap((scope) => [filledIn(spec, scope, false), filledIn(spec, scope, true)])
      : [spec];
    const wanted = specs.flatMap((s) => wantedBy(kind, s));
    for (const download of wanted) this.#wanted.set(downloadKey(download), download);
    this.#keys.set(resource, wanted.map(downloadKey));
  }

  async load(): Promise<void> {
    const downloads = this.#downloads;
    if (downloads === undefined) return;
    await Promise.all(
      [...this.#wanted].map(async ([key, wanted]) => {
        const known = this.#known.get(key);
        const came = known !== undefined && 'text' in known ? known : await downloads.get(wanted);
        this.#came.set(key, came);
      }),
    );
  }

  of(resource: ParsedResource): ReadonlyMap<string, Downloaded> {
    const keys = this.#keys.get(resource);
    if (keys === undefined) return NONE;
    return new Map(keys.flatMap((key) => (this.#came.has(key) ? [[key, this.#came.get(key)!]] : [])));
  }

  /** Whether something failed that may come out better next time. */
  get mayPass(): boolean {
    return [...this.#came.values()].some((came) => 'problem' in came && came.passing);
  }
}

function filledIn(value: unknown, scope: Scope, typed: boolean): unknown {
  if (typeof value === 'string') {
    const name = typed ? /^\$\{vars\.([^${}]*)\}$/.exec(value)?.[1] : undefined;
    return (name === undefined ? undefined : scope.vars[name]) ?? interpolate(value, scope, () => {});
  }
  if (Array.isArray(value)) return value.map((item) => filledIn(item, scope, typed));
  if (!isMapping(value)) return value;
  const members = Object.entries(value).map(([key, item]) => [key, filledIn(item, scope, typed)]);
  return Object.fromEntries(members);
}
