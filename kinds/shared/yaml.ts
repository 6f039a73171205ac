// YAML as it is read, for texts of other people that are edited line by line: whether an edit changed what it was meant
// to change, and nothing else, is for a parser to say. It is loaded with the first text, since most agents need none.
import { isDeepStrictEqual } from 'node:util';

/** Every scalar is its text: `1.0` and `"1.0"` are equal, and nothing depends on a version of YAML. */
export type Yaml = string | readonly Yaml[] | { readonly [key: string]: Yaml };
export type YamlMapping = { readonly [key: string]: Yaml };

/** A text that is no YAML, or an edit that would not do what it is meant to. */
export class YamlError extends Error {
  override readonly name = 'YamlError';
  /** From 1; undefined where no line is to blame. */
  readonly line: number | undefined;
  constructor(message: string, line?: number) {
    super(line === undefined ? message : `line ${line}: ${message}`);
    this.line = line;
  }
}

/** The text's documents. @throws YamlError */
export async function parseYaml(text: string): Promise<readonly Yaml[]> {
  const { loadAll, FAILSAFE_SCHEMA, YAMLException, defineScalarTag } = await import('js-yaml');
  const anyTag = (prefix: string) =>
    defineScalarTag(prefix, { matchByTagPrefix: true, resolve: (source) => source, identify: () => false });
  const schema = FAILSAFE_SCHEMA.withTags(anyTag('tag:yaml.org,2002:'), anyTag('!'));
  for (let read = text, last = 0; ; ) {
    try {
      const documents = loadAll(read, { schema }) as Yaml[];
      requireSmall(documents);
      return documents;
    } catch (error) {
      if (!(error instanceof YAMLException)) throw error;
      const line = error.mark === undefined ? undefined : error.mark.line + 1;
      // Go's YAML, as libyaml, does not ask that a list in brackets is indented in each of its lines, and people close
      // theirs at the margin. There white space at the beginning of a line says nothing.
      const isOnlyStrict = error.reason === 'deficient indentation' && line !== undefined && line > last;
      if (!isOnlyStrict) throw new YamlError(error.reason, line);
      last = line;
      read = read
        .split('\n')
        .with(line - 1, WIDE + read.split('\n')[line - 1])
        .join('\n');
    }
  }
}

/** Far above a config's own; written out, a few lines of aliases of aliases are more than any memory holds. */
const MOST_VALUES = 200_000;

/** Whoever walks through a value meets what has an alias once for each. @throws YamlError */
function requireSmall(documents: readonly Yaml[]): void {
  const sizes = new Map<Yaml, number>();
  const sizeOf = (value: Yaml): number => {
    if (typeof value === 'string') return 1;
    const known = sizes.get(value);
    if (known !== undefined) return known;
    sizes.set(value, Number.POSITIVE_INFINITY); // one that is in itself
    const size = Object.values(value).reduce((sum, member) => sum + sizeOf(member), 1);
    sizes.set(value, size);
    return size;
  };
  if (documents.reduce((sum, document) => sum + sizeOf(document), 0) > MOST_VALUES) {
    throw new YamlError('with its aliases written out it is too large to be read');
  }
}

const WIDE = ' '.repeat(200);

export function isMapping(value: Yaml | undefined): value is YamlMapping {
  return typeof value === 'object' && !Array.isArray(value);
}

/** The list under a key; empty where there is none. */
export function listOf(document: Yaml | undefined, key: string): readonly Yaml[] {
  const value = isMapping(document) ? document[key] : undefined;
  return Array.isArray(value) ? value : [];
}

/** Items of lists, as text, by the top-level key whose list they stand in. */
export type Items = Readonly<Record<string, readonly string[]>>;

/** A text to which items of ours are added, or from which they are taken, line by line. */
export interface ListEdit {
  /** As it stands, with the items that it has of ours. */
  readonly now: string;
  readonly has: Items;
  /** The same without any of them. */
  readonly without: string;
  /** As it is to stand. */
  readonly edited: string;
  readonly wants: Items;
}

/**
 * What the edited text says is what the text without our items says, and our items; and the lines that were taken out
 * said nothing else. Only the first document counts: what stands behind it is not read by programs that want one.
 * @throws YamlError naming the line and what would be right.
 */
export async function requireOnlyOurs(edit: ListEdit): Promise<void> {
  const keys = [...new Set([...Object.keys(edit.has), ...Object.keys(edit.wants)])];
  const theirs = await parseYaml(edit.without);
  requireUnmerged(edit, theirs[0]);
  const expected = rest(theirs, keys, {});
  const edited = await parseYaml(edit.edited).catch(() => undefined);
  const left = edited && rest(edited, keys, await parsed(edit.wants));
  if (expected === undefined || left === undefined || !isDeepStrictEqual(left, expected)) {
    throw obstacle(edit.without, keys, theirs);
  }
  // A text that can't be read as it stands is mended by the edit, or is not; that is seen above.
  const now = await parseYaml(edit.now).catch(() => undefined);
  if (now === undefined) return;
  const seen = rest(now, keys, await parsed(edit.has).catch(() => ({})));
  const isKept =
    seen === undefined
      ? isDeepStrictEqual(withoutKeys(now, keys), withoutKeys(theirs, keys))
      : isDeepStrictEqual(seen, expected);
  if (!isKept) {
    throw new YamlError(
      'a block of ours stands inside a value of the text: remove it there, markers included',
    );
  }
}

/**
 * What a merge key brings along gives way to a key of the same name (yaml.org/type/merge.html): a list that is made for
 * our items would hide theirs.
 */
function requireUnmerged({ without, wants }: ListEdit, first: Yaml | undefined): void {
  const hidden = Object.keys(wants).find(
    (key) => wants[key]!.length > 0 && mergedInto(first, key) !== undefined,
  );
  if (hidden === undefined) return;
  const line = without.split('\n').findIndex((l) => /^\uFEFF?(["']?)<<\1\s*:/.test(l)) + 1;
  const message = `"<<" brings ${hidden} along, and a list of our items would hide it: write it out below ${hidden}`;
  throw new YamlError(message, Math.max(line, 1));
}

/** What a mapping has under a key by its merge keys alone. */
export function mergedInto(value: Yaml | undefined, key: string): Yaml | undefined {
  const merged = isMapping(value) ? value['<<'] : undefined;
  const all = Array.isArray(merged) ? merged : [merged];
  for (const each of all) {
    const found = isMapping(each) ? (each[key] ?? mergedInto(each, key)) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

async function parsed(items: Items): Promise<Record<string, readonly Yaml[]>> {
  const lists: Record<string, readonly Yaml[]> = {};
  for (const [key, texts] of Object.entries(items)) {
    const all = await Promise.all(texts.map(async (text) => (await parseYaml(text))[0] ?? []));
    lists[key] = all.flatMap((list) => (Array.isArray(list) ? list : [list]));
  }
  return lists;
}

/** The documents without these items, an empty list as none; undefined where one of them is missing. */
function rest(
  documents: readonly Yaml[],
  keys: readonly string[],
  ours: Readonly<Record<string, readonly Yaml[]>>,
): unknown {
  const [first = {}, ...behind] = documents;
  if (!isMapping(first) && first !== '') return undefined;
  const others = Object.entries(first === '' ? {} : first).filter(([key]) => !keys.includes(key));
  const lists: [string, readonly Yaml[]][] = [];
  for (const key of keys) {
    const value = isMapping(first) ? (first[key] ?? '') : '';
    if (!Array.isArray(value) && !NOTHING.has(value as string)) return undefined;
    const list = [...listOf(first, key)];
    for (const item of ours[key] ?? []) {
      const at = list.findIndex((other) => isDeepStrictEqual(other, item));
      if (at < 0) return undefined;
      list.splice(at, 1);
    }
    lists.push([key, list]);
  }
  return [Object.fromEntries(others), Object.fromEntries(lists), behind];
}

/** How nothing is written: YAML 1.2, 10.2.1.1. */
const NOTHING: ReadonlySet<string> = new Set(['', '~', 'null', 'Null', 'NULL']);

function withoutKeys([first, ...behind]: readonly Yaml[], keys: readonly string[]): unknown {
  const entries = isMapping(first) ? Object.entries(first) : [];
  return [Object.fromEntries(entries.filter(([key]) => !keys.includes(key))), behind];
}

/** Why items can't be added line by line, as far as the text's form shows it. */
function obstacle(text: string, keys: readonly string[], documents: readonly Yaml[]): YamlError {
  const lines = text.split(/\r?\n/);
  const first = lines.findIndex((line) => !/^\uFEFF?\s*(?:#.*|%.*|---\s*(?:#.*)?)?$/.test(line));
  const lineOf = (pattern: RegExp) => lines.findIndex((line) => pattern.test(line)) + 1;
  if (/^(?:---)?\s*[{[]/.test(lines[first] ?? '')) {
    const message =
      'the whole is written in braces, as JSON is: write each top-level key in a line of its own';
    return new YamlError(message, first + 1);
  }
  const key = keys
    .map((name) => lineOf(new RegExp(`^[ \\t]*(["']?)${name}\\1\\s*:`)))
    .find((line) => line > 0);
  if (/^\s/.test(lines[first] ?? '')) {
    return new YamlError('the top-level keys are indented: begin them at the margin', key ?? first + 1);
  }
  if (documents.length > 1) {
    const line = lines.findIndex((l, i) => i > first && /^(?:---|\.\.\.)(?:\s|$)/.test(l)) + 1;
    return new YamlError('a second document begins here, which is not read: remove it', line);
  }
  const [value = {}] = documents;
  if (!isMapping(value) && value !== '') {
    return new YamlError('a list or a word stands here: the whole begins with keys, as "global:"', first + 1);
  }
  const odd = keys.find((name) => isMapping(value) && value[name] !== undefined);
  if (key === undefined && odd !== undefined) {
    const message = `${odd} is there, and its name is written in an unusual way: write it as "${odd}:" at the margin`;
    return new YamlError(message, Math.max(lineOf(/^(?:[?!&]|"[^"]*\\)/), 1));
  }
  const message = key === undefined ? 'no list can be added' : 'nothing can be added to this list';
  return new YamlError(
    `${message}: write its items in lines below it, each with a dash`,
    key ?? lines.length,
  );
}
