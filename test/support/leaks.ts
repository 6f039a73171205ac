// Looks for secrets where none may be: in every form in which a program might have written one down.
import fs from 'node:fs';
import path from 'node:path';

export interface Hit {
  readonly secret: string;
  readonly form: string;
  readonly place: string;
}

/** Byte strings that give a value away. Written without the agent's own filter, so that they don't share a mistake. */
function formsOf(value: string): Record<string, string> {
  const bytes = Buffer.from(value);
  const forms: Record<string, string> = {
    'as it is': value,
    'JSON text': JSON.stringify(value).slice(1, -1),
    hex: bytes.toString('hex'),
    'hex in capitals': bytes.toString('hex').toUpperCase(),
    'URL encoding': encodeURIComponent(value),
  };
  // Inside a longer text base64 has three forms, by where the value begins; what its neighbours change is cut off.
  for (const before of ['', 'x', 'xx']) {
    const text = Buffer.from(`${before}${value}`).toString('base64').replace(/=*$/, '');
    const middle = text.slice(before === '' ? 0 : 4, text.length - 4);
    forms[`base64 at ${before.length}`] = middle;
    forms[`base64url at ${before.length}`] = middle.replaceAll('+', '-').replaceAll('/', '_');
  }
  return forms;
}

/** @param secrets by name; @param places by name, as text or bytes. */
export function findLeaks(
  secrets: Readonly<Record<string, string>>,
  places: ReadonlyMap<string, string | Buffer>,
): Hit[] {
  const hits: Hit[] = [];
  for (const [place, content] of places) {
    const bytes = Buffer.from(content as string);
    for (const [secret, value] of Object.entries(secrets)) {
      const found = Object.entries(formsOf(value)).find(([, form]) => bytes.includes(form));
      if (found !== undefined) hits.push({ secret, form: found[0], place });
    }
  }
  return hits;
}

/** Every file below a directory, by its path from there. Files that go away meanwhile are left out. */
export function filesBelow(directory: string, name: string): Map<string, Buffer> {
  const places = new Map<string, Buffer>();
  for (const entry of fs.readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    try {
      places.set(`${name}/${entry}`, fs.readFileSync(path.join(directory, entry)));
    } catch {}
  }
  return places;
}
