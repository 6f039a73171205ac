// A text that is too long, cut so that its beginning, its end and how much is missing can still be read.

/** Of one message, piece of evidence or event, in a status and in the journal; UTF-16 units. */
export const MAX_TEXT = 4096;

const CUT = /… \((\d+) characters left out\) …/;

/**
 * The beginning and the end of a text that is too long, and between them how much is missing. To be called on text
 * whose secrets are hidden already: half a secret is not recognised as one.
 * @param max of the result, UTF-16 units.
 */
export function clip(text: string, max: number = MAX_TEXT): string {
  if (text.length <= max) return text;
  // The count may say what an earlier cut took, too; a few digits more are kept free for that.
  const room = max - '… ( characters left out) …'.length - 16;
  if (room < 2) return max < 1 ? '' : `${text.slice(0, boundary(text, max - 1, -1))}…`;
  const end = boundary(text, Math.ceil(room / 2), -1);
  const start = boundary(text, text.length - Math.floor(room / 2), 1);
  const middle = text.slice(end, start);
  const earlier = CUT.exec(middle);
  const missing = middle.length + (earlier === null ? 0 : Number(earlier[1]) - earlier[0].length);
  return `${text.slice(0, end)}… (${missing} characters left out) …${text.slice(start)}`;
}

/** The same place or the one beside it, so that no pair of surrogates is split there. */
function boundary(text: string, at: number, direction: 1 | -1): number {
  const isInPair =
    at > 0 && /^[\uD800-\uDBFF]/.test(text.charAt(at - 1)) && /^[\uDC00-\uDFFF]/.test(text.charAt(at));
  return isInPair ? at + direction : at;
}
