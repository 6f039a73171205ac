// Reads one YAML file as documents that know where everything in them stands. A file is cut at its `---` lines
// first (YAML 1.2, section 9.1.2: such a line ends a document wherever it stands), so that one broken document
// doesn't hide what is wrong with the others. Values come from js-yaml; positions are worked out from its event
// stream when somebody asks, which is nearly never.
import { CORE_SCHEMA, constructFromEvents, EVENT_ID, type Event, parseEvents } from 'js-yaml';
import type { Diagnostic } from '../../api/diagnostics.ts';
import { buildTree, type Node } from './positions.ts';
import { explainYamlError } from './yaml-errors.ts';

/** Nodes of one document with its aliases written out; a real manifest has some hundreds. */
const MAX_NODES = 100_000;
const MAX_DEPTH = 64;

export type Path = readonly PropertyKey[];

/** 1-based; columns in UTF-16 code units. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

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
    line += countLineBreaks(chunk, chunk.length);
  }
  return { documents, diagnostics };
}

/** The texts that begin at `---` lines. What has only comments and directives belongs to the document after it. */
function cut(text: string): string[] {
  const chunks: string[] = [];
  let start = 0;
  for (const match of text.matchAll(/(?:^|[\n\r])---(?=[ \t\r\n]|$)/g)) {
    const at = match.index + match[0].length - 3;
    if (at === start || (start === 0 && onlyDirectives(text.slice(0, at)))) continue;
    chunks.push(text.slice(start, at));
    start = at;
  }
  chunks.push(text.slice(start));
  return chunks;
}

function onlyDirectives(text: string): boolean {
  return text.split(/[\r\n]/).every((line) => /^\uFEFF?\s*(?:[%#].*)?$/.test(line));
}

function readChunk(
  file: string,
  chunk: string,
  line: number,
  documents: YamlDocument[],
  diagnostics: Diagnostic[],
): void {
  const report = (offset: number, message: string): void => {
    diagnostics.push({ file, ...placeOf(chunk, offset, line), severity: 'error', message });
  };
  let events: Event[];
  try {
    events = parseEvents(chunk, { maxDepth: MAX_DEPTH });
  } catch (error) {
    const { offset, message } = explainYamlError(error, chunk);
    report(offset, message);
    return;
  }
  for (let start = 0, index = 0; start < events.length; index++) {
    const end = endOf(events, start);
    const slice = start === 0 && end === events.length ? events : events.slice(start, end);
    start = end;
    try {
      // The walk is needed only where an alias could repeat something, or for a key that would be dangerous.
      const odd = chunk.includes('__proto__') || slice.some(({ type }) => type === EVENT_ID.ALIAS);
      const faults = odd ? buildTree(slice, chunk, MAX_NODES).faults : [];
      for (const fault of faults) report(fault.offset, fault.message);
      if (faults.length > 0) continue;
      const value = constructFromEvents(slice, { source: chunk, schema: CORE_SCHEMA })[0];
      if (value === null || value === undefined) continue;
      documents.push(new YamlDocument(chunk, line, index, startOf(slice[1]), value));
    } catch (error) {
      const { faults } = buildTree(slice, chunk, MAX_NODES);
      if (faults.length > 0) for (const fault of faults) report(fault.offset, fault.message);
      else {
        const { offset, message } = explainYamlError(error, chunk);
        report(offset, message);
      }
    }
  }
}

function startOf(event: Event | undefined): number {
  if (event === undefined) return 0;
  return 'start' in event ? event.start : 'valueStart' in event ? Math.max(0, event.valueStart) : 0;
}

/** Index behind the POP that closes the document which begins at `start`. */
function endOf(events: readonly Event[], start: number): number {
  let depth = 0;
  for (let i = start; i < events.length; i++) {
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
  /** Which of the chunk's documents it is; there are several where `...` divides them. */
  readonly #index: number;
  #root: Node | undefined;

  constructor(chunk: string, line: number, index: number, start: number, value: unknown) {
    this.value = value;
    this.place = placeOf(chunk, start, line);
    this.#chunk = chunk;
    this.#line = line;
    this.#index = index;
  }

  /** What stands at a path, or at the nearest place above it that exists. */
  locate(path: Path): Located {
    let node = this.#tree();
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
      key: this.#placeOf(keyStart),
      value: this.#placeOf(node.header ?? node.start),
      raw: scalar ? this.#chunk.slice(node.start, node.end) : '',
      at: (offset) => this.#placeOf(node.start + offset),
      depth,
    };
  }

  /** Parsed again when it is first asked for: 10,000 documents are held, and few are ever asked about. */
  #tree(): Node {
    if (this.#root === undefined) {
      const events = parseEvents(this.#chunk, { maxDepth: MAX_DEPTH });
      let start = 0;
      for (let i = 0; i < this.#index; i++) start = endOf(events, start);
      this.#root = buildTree(events.slice(start, endOf(events, start)), this.#chunk, MAX_NODES).root;
    }
    return this.#root;
  }

  #placeOf(offset: number): Place {
    return placeOf(this.#chunk, offset, this.#line);
  }
}

/** @param line that the text begins at. Breaks are LF, CRLF and CR (YAML 1.2, section 5.4). */
function placeOf(text: string, offset: number, line: number): Place {
  const at = Math.min(offset, text.length);
  const lineStart = Math.max(text.lastIndexOf('\n', at - 1), text.lastIndexOf('\r', at - 1)) + 1;
  return { line: line + countLineBreaks(text, at), column: at - (at === 0 ? 0 : lineStart) + 1 };
}

function countLineBreaks(text: string, end: number): number {
  let count = 0;
  for (let i = 0; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === 10 || (code === 13 && text.charCodeAt(i + 1) !== 10)) count++;
  }
  return count;
}
