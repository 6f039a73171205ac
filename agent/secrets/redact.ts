// The second line of defence: what a program says when it fails may quote the secret that it was given. Whatever
// leaves the agent as words (conditions, events, log, plan) is freed of every value that was resolved here.
import type { Change } from '../../kinds/kind.ts';

/** Shorter values would be found in every other sentence; they are no secrets anyway. */
const SHORTEST = 6;
const SHORTEST_LINE = 12;
const MOST_LINES = 500;
/** Values remembered, the latest; older ones may be replaced secrets that a host still shows. */
const MOST_VALUES = 1000;

export class Redactor {
  readonly #values = new Map<string, Buffer>();
  #forms: readonly string[] | undefined = [];

  /** @param id names the value without telling it (its HMAC). */
  add(id: string, value: Buffer): void {
    if (this.#values.has(id)) return;
    this.#values.set(id, value);
    if (this.#values.size > MOST_VALUES) this.#values.delete(this.#values.keys().next().value!);
    this.#forms = undefined;
  }

  hide(text: string): string {
    this.#forms ??= [...new Set([...this.#values.values()].flatMap(formsOf))].sort(
      (a, b) => b.length - a.length,
    );
    let hidden = text;
    for (const form of this.#forms) {
      if (hidden.includes(form)) hidden = hidden.replaceAll(form, '[secret]');
    }
    return hidden;
  }
}

/** How a value may stand in a text: as it is, escaped, encoded, by its lines. */
function formsOf(value: Buffer): string[] {
  const text = value.toString().trim();
  if (text.length < SHORTEST) return [];
  const lines = text.split(/\r?\n/, MOST_LINES).map((line) => line.trim());
  return [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
    value.toString('hex'),
    ...[0, 1, 2].flatMap((offset) => base64At(value, offset)),
    ...(lines.length > 1 ? lines.filter((line) => line.length >= SHORTEST_LINE) : []),
  ];
}

/** Base64 of a value that begins at this offset of three inside a longer text, as in `user:password`. */
function base64At(value: Buffer, offset: number): string[] {
  const whole = Buffer.concat([Buffer.alloc(offset), value]);
  const text = whole.toString('base64').replace(/=+$/, '');
  // Characters that other bytes have a part in are left out.
  const inner = text.slice(Math.ceil((offset * 8) / 6), Math.floor((whole.length * 8) / 6));
  return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
}

/** A change as it may be shown: of secret texts only where they differ. */
export function presentable(change: Change, isSecret: boolean, hide: (text: string) => string): Change {
  const { text } = change;
  const shown = { ...change, from: hide(change.from), to: hide(change.to) };
  if (text === undefined) return shown;
  if (isSecret || text.secret) return { ...shown, text: placesOnly(text) };
  return { ...shown, text: { ...text, before: hide(text.before), after: hide(text.after) } };
}

/** Before and after with each line as a number: a diff of them has the same places, and says nothing else. */
function placesOnly(text: NonNullable<Change['text']>): NonNullable<Change['text']> {
  const numbers = new Map<string, number>();
  const numbered = (whole: string): string =>
    whole
      .split('\n')
      .map((line) => {
        if (line === '') return '';
        if (!numbers.has(line)) numbers.set(line, numbers.size + 1);
        return String(numbers.get(line));
      })
      .join('\n');
  return { before: numbered(text.before), after: numbered(text.after), secret: true };
}
