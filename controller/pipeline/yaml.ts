// Reads one YAML file as documents that know where everything in them stands. A file is cut at its `---` and `...` lines
// first (YAML 1.2, section 9.1.2: such a line ends a document wherever it stands), so that one broken document
// doesn't hide what is wrong with the others, and no text is parsed for another one's sake. Values come from js-yaml; positions are worked out from its event
// stream when somebody asks, which is nearly never.
import { CORE_SCHEMA, constructFromEvents, EVENT_ID, type Event, parseEvents } from 'js-yaml';
import type { Diagnostic } from '../../api/diagnostics.ts';
import { countLineBreaks, Lines, type Place } from './lines.ts';
import { buildTree, type Node } from './positions.ts';
import { explainYamlError } from './yaml-errors.ts';

/** Nodes of one document with its aliases written out; a real manifest has some hundreds. */
const MAX_NODES = 100_000;
const MAX_DEPTH = 64;

export type Path = readonly PropertyKey[];

/** Where something stands: its key (for an item of a list, the item), and its value. */
export interface Located {
  readonly key: Place;
  readonly value: Place;
  /** A scalar's text as it is written, with its quotes; '' for lists and mappings. */
  readonly raw: string;
  /** The place of a character of `raw`. */
  at(offset: number): Place;
  /** How many steps of the path exist. */
  readonly depth: number;
}

export interface YamlFile {
  readonly documents: readonly YamlDocument[];
  readonly diagnostics: readonly Diagnostic[];
}

/** @param file named in the diagnostics. */
export function readYaml(file: string, text: string): YamlFile {
  const documents: YamlDocument[] = [];
  const diagnostics: Diagnostic[] = [];
  let line = 1;
  for (const chunk of cut(text)) {
    readChunk(file, chunk, line, documents, diagnostics);
    line += countLineBreaks(chunk);
  }
  return { documents, diagnostics };
}

/** A line that begins a document, or all of one that ends it. */
const MARK = /(?<![^\n\r])(?:---(?=[ \t\r\n]|$)|\.\.\.(?:[ \t][^\n\r]*)?(?:\r\n?|\n|$))/g;

/** The texts of the documents. What has only comments and directives belongs to the document after it. */
function cut(text: string): string[] {
  const chunks: string[] = [];
  let start = 0;
  for (const match of text.matchAll(MARK)) {
    const isEnd = match[0].startsWith('.');
    const at = isEnd ? match.index + match[0].length : match.index;
    if (at === start || (!isEnd && onlyDirectives(text.slice(start, at)))) continue;
    chunks.push(text.slice(start, at));
    start = at;
  }
  chunks.push(text.slice(start));
  return chunks;
}

function onlyDirectives(text: string): boolean {
  return text.split(/[\r\n]/).every((line) => /^\uFEFF?\s*(?:[%#].*)?$/.test(line));
}

/** Nothing but comments and the mark of an end. */
function isBare(chunk: string): boolean {
  return chunk.split(/[\r\n]/).every((line) => /^\uFEFF?(?:\.\.\.(?:\s.*)?|\s*(?:#.*)?)$/.test(line));
}

function readChunk(
  file: string,
  chunk: string,
  line: number,
  documents: YamlDocument[],
  diagnostics: Diagnostic[],
): void {
  if (isBare(chunk)) return;
  const lines = new Lines(chunk, line);
  const report = (offset: number, message: string): void => {
    diagnostics.push({ file, ...lines.placeOf(offset), severity: 'error', message });
  };
  let events: Event[] = [];
  try {
    events = parseEvents(chunk, { maxDepth: MAX_DEPTH });
    const end = endOf(events);
    if (end < events.length) {
      report(startOf(events[end]), 'a second document begins here: write "---" before it');
      return;
    }
    // The walk is needed only where an alias could repeat something, or for a key that would be dangerous.
    const odd = chunk.includes('__proto__') || events.some(({ type }) => type === EVENT_ID.ALIAS);
    const faults = odd ? buildTree(events, chunk, MAX_NODES).faults : [];
    for (const fault of faults) report(fault.offset, fault.message);
    if (faults.length > 0) return;
    const value = constructFromEvents(events, { source: chunk, schema: CORE_SCHEMA })[0];
    if (value === null || value === undefined) return;
    documents.push(new YamlDocument(chunk, line, startOf(events[1]), value));
  } catch (error) {
    const faults = events.length === 0 ? [] : buildTree(events, chunk, MAX_NODES).faults;
    for (const fault of faults) report(fault.offset, fault.message);
    if (faults.length > 0) return;
    const { offset, message } = explainYamlError(error, chunk);
    report(offset, message);
  }
}

function startOf(event: Event | undefined): number {
  if (event === undefined) return 0;
  return 'start' in event ? event.start : 'valueStart' in event ? Math.max(0, event.valueStart) : 0;
}

/** Index behind the POP that closes the first document. */
function endOf(events: readonly Event[]): number {
  let depth = 0;
  for (let i = 0; i < events.length; i++) {
    const { type } = events[i]!;
    if (type === EVENT_ID.POP) depth--;
    else if (type === EVENT_ID.DOCUMENT || type === EVENT_ID.SEQUENCE || type === EVENT_ID.MAPPING) depth++;
    if (depth === 0) return i + 1;
  }
  return events.length;
}

export class YamlDocument {
  readonly value: unknown;
  /** Where its first key stands. */
  readonly place: Place;
  readonly #chunk: string;
  readonly #line: number;
  #read: { readonly root: Node; readonly lines: Lines } | undefined;

  constructor(chunk: string, line: number, start: number, value: unknown) {
    this.value = value;
    this.place = new Lines(chunk.slice(0, start + 1), line).placeOf(start);
    this.#chunk = chunk;
    this.#line = line;
  }

  /** What stands at a path, or at the nearest place above it that exists. */
  locate(path: Path): Located {
    const { root, lines } = this.#tree();
    let node = root;
    let keyStart = node.start;
    let depth = 0;
    for (const step of path) {
      const entry = node.entries?.get(String(step));
      const next = entry?.node ?? (typeof step === 'number' ? node.items?.[step] : undefined);
      if (next === undefined) break;
      keyStart = entry?.keyStart ?? next.start;
      node = next;
      depth++;
    }
    const scalar = node.entries === undefined && node.items === undefined;
    return {
      key: lines.placeOf(keyStart),
      value: lines.placeOf(node.header ?? node.start),
      raw: scalar ? this.#chunk.slice(node.start, node.end) : '',
      at: (offset) => lines.placeOf(node.start + offset),
      depth,
    };
  }

  /** Parsed again when it is first asked for: 10,000 documents are held, and few are ever asked about. */
  #tree(): { readonly root: Node; readonly lines: Lines } {
    this.#read ??= {
      root: buildTree(parseEvents(this.#chunk, { maxDepth: MAX_DEPTH }), this.#chunk, MAX_NODES).root,
      lines: new Lines(this.#chunk, this.#line),
    };
    return this.#read;
  }
}
