// Where everything in one YAML document stands, from js-yaml's event stream (offsets into the text), and what is
// wrong with it that its constructor would not say, or only about the first: keys given twice, aliases that
// contain themselves, aliases that blow up.
import { EVENT_ID, type Event, getScalarValue, SCALAR_STYLE } from 'js-yaml';

export interface Node {
  /** Offsets; `end` of lists and mappings is their start. */
  readonly start: number;
  readonly end: number;
  /** Of the `|` or `>` of a block scalar, whose text begins a line later. */
  readonly header?: number;
  readonly entries?: ReadonlyMap<string, { readonly keyStart: number; readonly node: Node }>;
  readonly items?: readonly Node[];
  /** Nodes below and with this one, aliases written out. */
  readonly size: number;
}

interface Fault {
  readonly offset: number;
  readonly message: string;
}

export interface Tree {
  readonly root: Node;
  readonly faults: readonly Fault[];
}

/**
 * @param events of one document, from its DOCUMENT event to the POP that closes it.
 * @param maxNodes how many nodes it may have with its aliases written out ("billion laughs").
 */
export function buildTree(events: readonly Event[], source: string, maxNodes: number): Tree {
  return new Builder(events, source, maxNodes).tree();
}

class Builder {
  readonly #events: readonly Event[];
  readonly #source: string;
  readonly #maxNodes: number;
  readonly #anchors = new Map<string, Node | 'open'>();
  readonly #faults: Fault[] = [];
  #next = 1;
  #exploded = false;

  constructor(events: readonly Event[], source: string, maxNodes: number) {
    this.#events = events;
    this.#source = source;
    this.#maxNodes = maxNodes;
  }

  tree(): Tree {
    const root = this.#node(0);
    return { root, faults: this.#faults };
  }

  /** @param fallback where an empty value is said to stand: at its key. */
  #node(fallback: number): Node {
    const event = this.#events[this.#next++]!;
    if (event.type === EVENT_ID.ALIAS) return this.#alias(event.anchorStart, event.anchorEnd);
    const anchor =
      'anchorStart' in event && event.anchorStart >= 0
        ? this.#source.slice(event.anchorStart, event.anchorEnd)
        : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, 'open');
    const node = this.#content(event, fallback);
    if (anchor !== undefined) this.#anchors.set(anchor, node);
    return node;
  }

  #content(event: Event, fallback: number): Node {
    if (event.type === EVENT_ID.SCALAR) {
      if (event.valueStart < 0) return { start: fallback, end: fallback, size: 1 };
      if (event.style === SCALAR_STYLE.LITERAL_BLOCK || event.style === SCALAR_STYLE.FOLDED_BLOCK) {
        const header = /[|>][0-9+-]*[ \t]*(?:#[^\n\r]*)?(?:\r\n?|\n)?$/.exec(
          this.#lineBefore(event.valueStart),
        );
        const start = event.valueStart;
        return { start, end: event.valueEnd, header: start - (header?.[0].length ?? 0), size: 1 };
      }
      const quoted = event.style !== SCALAR_STYLE.PLAIN;
      // A quoted scalar begins at its quote, for people.
      return { start: event.valueStart - (quoted ? 1 : 0), end: event.valueEnd + (quoted ? 1 : 0), size: 1 };
    }
    if (event.type === EVENT_ID.SEQUENCE) {
      const items: Node[] = [];
      while (this.#events[this.#next]!.type !== EVENT_ID.POP) items.push(this.#node(event.start));
      this.#next++;
      return { start: event.start, end: event.start, items, size: this.#sum(event.start, items) };
    }
    if (event.type !== EVENT_ID.MAPPING)
      throw new Error(`YAML event ${event.type} where a node was expected`);
    const entries = new Map<string, { keyStart: number; node: Node }>();
    const parts: Node[] = [];
    while (this.#events[this.#next]!.type !== EVENT_ID.POP) {
      const keyEvent = this.#events[this.#next]!;
      const key = this.#node(event.start);
      const name = keyEvent.type === EVENT_ID.SCALAR ? getScalarValue(this.#source, keyEvent) : undefined;
      const node = this.#node(key.start);
      parts.push(key, node);
      if (name === undefined) continue; // js-yaml says what is wrong with such a key
      if (name === '__proto__')
        this.#fault(key.start, 'a key can\'t be named "__proto__": choose another name');
      else if (entries.has(name)) {
        this.#fault(key.start, `the key "${name}" is given twice in one mapping: keep one of them`);
      } else entries.set(name, { keyStart: key.start, node });
    }
    this.#next++;
    return { start: event.start, end: event.start, entries, size: this.#sum(event.start, parts) };
  }

  #alias(nameStart: number, nameEnd: number): Node {
    const name = this.#source.slice(nameStart, nameEnd);
    const place = { start: nameStart - 1, end: nameEnd };
    const target = this.#anchors.get(name);
    if (target === undefined) {
      this.#fault(place.start, `*${name} refers to nothing: write &${name} before a value above it`);
    } else if (target === 'open') {
      this.#fault(place.start, `*${name} stands inside the value that it refers to: write the value out`);
    } else return { ...target, ...place };
    return { ...place, size: 1 };
  }

  /** Reported once a document, at the innermost value that is too large. */
  #sum(offset: number, parts: readonly Node[]): number {
    const size = parts.reduce((sum, part) => sum + part.size, 1);
    if (size > this.#maxNodes && !this.#exploded) {
      this.#exploded = true;
      this.#fault(
        offset,
        `this value has more than ${this.#maxNodes} parts when its aliases are written out: use fewer aliases of aliases`,
      );
    }
    return size;
  }

  #lineBefore(offset: number): string {
    return this.#source.slice(this.#source.lastIndexOf('\n', offset - 2) + 1, offset);
  }

  #fault(offset: number, message: string): void {
    this.#faults.push({ offset, message });
  }
}
