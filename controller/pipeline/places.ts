// Where in a file something stands, worked out once, however many hosts it is reported for.
import type { Content } from './content.ts';
import { Lines, type Place } from './lines.ts';
import { originOf, type ParsedResource } from './parsed.ts';
import type { Path } from './yaml.ts';

const places = new WeakMap<ParsedResource, Map<string, Place>>();

/** Where a reference in a text of the spec stands in the file; the same for all hosts. */
export function placeInSpec(resource: ParsedResource, path: Path, text: string, offset: number): Place {
  const known = places.get(resource) ?? new Map<string, Place>();
  places.set(resource, known);
  const id = `${path.join('\n')}\n${offset}`;
  let place = known.get(id);
  if (place === undefined) {
    const origin = originOf(resource, path);
    const located = origin.yaml.locate(origin.path);
    // The text as written may have other escapes than the value; the reference itself has none.
    const reference = text.slice(offset, text.indexOf('}', offset) + 1);
    const nth = text.slice(0, offset).split(reference).length - 1;
    let at = -1;
    for (let i = 0; i <= nth; i++) at = located.raw.indexOf(reference, at + 1);
    place = at < 0 ? located.value : located.at(at);
    known.set(id, place);
  }
  return place;
}

const textLines = new WeakMap<Content, Lines>();

export function linesOf(content: Content): Lines {
  const lines = textLines.get(content) ?? new Lines(content.text);
  textLines.set(content, lines);
  return lines;
}
