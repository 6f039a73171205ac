// Where our file goes among the user's, so that a plain `docker compose up` takes it too. Pure.
//
// Compose reads COMPOSE_FILE of the project's .env, or else the first of its own names and the first override beside
// it (compose-go v2, cli/options.go). Where the user has neither override nor COMPOSE_FILE, ours is the override;
// otherwise ours is another file, named last in COMPOSE_FILE.

/** In compose's order of preference. */
export const BASE_NAMES = ['compose.yaml', 'compose.yml', 'docker-compose.yml', 'docker-compose.yaml'];
export const OVERRIDE_NAMES = [
  'compose.override.yml',
  'compose.override.yaml',
  'docker-compose.override.yml',
  'docker-compose.override.yaml',
];
export const OVERRIDE = 'compose.override.yaml';
export const LISTED = 'compose.homeostat.yaml';

const MARKER = '# homeostat: the next line names the files that docker compose reads, ours last';

export interface Placement {
  /** The user's files, in order, as they name them. */
  readonly base: readonly string[];
  /** Ours. */
  readonly own: typeof OVERRIDE | typeof LISTED;
  /** What .env should be; undefined for no file. */
  readonly dotenv: string | undefined;
}

/** The user's files are in a form that ours can't be placed beside; the message says what would be right. */
export class PlacementError extends Error {
  override readonly name = 'PlacementError';
}

interface Line {
  /** From 0. */
  readonly index: number;
  /** Where the value begins and ends in the line, without quotes. */
  readonly start: number;
  readonly end: number;
}

/**
 * @param theirs names of compose files in the directory that are not ours.
 * @param dotenv text of .env; undefined when there is none.
 * @throws PlacementError
 */
export function place(theirs: ReadonlySet<string>, dotenv: string | undefined): Placement {
  const stripped = dotenv === undefined ? undefined : withoutOurs(dotenv);
  // What held nothing but our line was ours.
  const rest = stripped === '' && dotenv !== '' ? undefined : stripped;
  const listed = listedIn(rest);
  if (listed !== undefined) {
    const own = `${listed.text.slice(0, listed.line.end)}${listed.separator}${LISTED}${listed.text.slice(listed.line.end)}`;
    return { base: listed.files, own: LISTED, dotenv: replaceLine(rest!, listed.line.index, own) };
  }
  const base = BASE_NAMES.find((name) => theirs.has(name));
  if (base === undefined) {
    throw new PlacementError(`there is no ${BASE_NAMES[0]}, and no ${BASE_NAMES[2]} either`);
  }
  const override = OVERRIDE_NAMES.find((name) => theirs.has(name));
  if (override === undefined) return { base: [base], own: OVERRIDE, dotenv: rest };
  // At the top, so that nothing of theirs is touched, an unended last line included.
  const block = `${MARKER}\nCOMPOSE_FILE=${[base, override, LISTED].join(separatorIn(rest))}\n`;
  const text = rest ?? '';
  const bom = text.startsWith('\uFEFF') ? '\uFEFF' : '';
  return { base: [base, override], own: LISTED, dotenv: `${bom}${block}${text.slice(bom.length)}` };
}

/** .env as it would be without us. */
export function withoutOurs(dotenv: string): string {
  let lines = linesOf(dotenv);
  const marker = lines.findIndex((line) => line.replace(/^\uFEFF/, '').trim() === MARKER);
  if (marker >= 0) {
    const bom = lines[marker]!.startsWith('\uFEFF') ? '\uFEFF' : '';
    const value = fileListIn(lines[marker + 1] ?? '');
    // Somebody who added a file of their own to our line means it: then the line is theirs.
    const files = value === undefined ? [] : value.text.split(separatorIn(dotenv));
    const isOurs = files.every(
      (file) => file === LISTED || BASE_NAMES.includes(file) || OVERRIDE_NAMES.includes(file),
    );
    lines.splice(marker, value !== undefined && isOurs ? 2 : 1);
    if (bom !== '') lines = [`${bom}${lines[0] ?? ''}`, ...lines.slice(1)];
  }
  const separator = separatorIn(dotenv);
  const kept = lines.map((line) => {
    const value = fileListIn(line);
    if (value === undefined) return line;
    const files = value.text.split(separator);
    if (!files.includes(LISTED)) return line;
    const without = files.filter((file) => file !== LISTED).join(separator);
    return line.slice(0, value.start) + without + line.slice(value.end);
  });
  return kept.join('');
}

function listedIn(
  dotenv: string | undefined,
): { line: Line; text: string; files: string[]; separator: string } | undefined {
  const lines = linesOf(dotenv ?? '');
  const index = lines.findLastIndex((line) => /^\uFEFF?\s*(?:export\s+)?COMPOSE_FILE\s*[=:]/.test(line));
  if (index < 0) return undefined;
  const at = `line ${index + 1} of .env`;
  const value = fileListIn(lines[index]!);
  if (value === undefined)
    throw new PlacementError(`${at}: COMPOSE_FILE is not a value in one line: write it so`);
  if (value.text === '') throw new PlacementError(`${at}: COMPOSE_FILE is empty: remove the line`);
  if (value.text.includes('$')) {
    throw new PlacementError(`${at}: COMPOSE_FILE holds a variable: write the names of the files`);
  }
  const separator = separatorIn(dotenv);
  const line = { index, start: value.start, end: value.end };
  return { line, text: lines[index]!, files: value.text.split(separator), separator };
}

function separatorIn(dotenv: string | undefined): string {
  const line = linesOf(dotenv ?? '').findLast((l) => /^\s*(?:export\s+)?COMPOSE_PATH_SEPARATOR\s*=/.test(l));
  const value = line?.slice(line.indexOf('=') + 1).trim();
  return value?.replace(/^(['"])(.*)\1$/, '$2') || ':';
}

/** The value of a COMPOSE_FILE line; undefined for other lines and for values of several lines. */
function fileListIn(line: string): { text: string; start: number; end: number } | undefined {
  const key = /^\uFEFF?\s*(?:export\s+)?COMPOSE_FILE\s*[=:][ \t]*/.exec(line)?.[0];
  if (key === undefined) return undefined;
  const rest = line.slice(key.length).replace(/\r?\n$/, '');
  const quote = rest[0];
  if (quote === '"' || quote === "'") {
    const close = rest.indexOf(quote, 1);
    if (close < 0) return undefined;
    return { text: rest.slice(1, close), start: key.length + 1, end: key.length + close };
  }
  const text = rest.replace(/ #.*$/, '').trimEnd();
  return { text, start: key.length, end: key.length + text.length };
}

/** Lines with their line ends, so that joining them gives the text back. */
function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function replaceLine(text: string, index: number, line: string): string {
  const lines = linesOf(text);
  lines[index] = line;
  return lines.join('');
}
