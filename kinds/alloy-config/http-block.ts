// The http block of a config, as far as its text says how Alloy's API is asked once it is loaded. Pure. What is only
// known when it is evaluated (a variable, another component's export) is not guessed.
import { API_PATHS } from './alloy-api.ts';

/** Alloy's syntax: comments, strings, raw strings, names, what stands alone, and the ends of lines. */
const TOKEN = /\/\/.*|\/\*[\s\S]*?\*\/|`[^`]*`|"(?:\\.|[^"\\\n])*"|[A-Za-z_][\w.]*|[^\S\n]+|[\s\S]/g;

interface Token {
  readonly text: string;
  readonly at: number;
}

interface Block {
  readonly name: string;
  readonly at: number;
  readonly attributes: ReadonlyMap<string, readonly Token[]>;
  readonly blocks: readonly Block[];
}

/** How the document says that the API is asked; a password that is not known here is undefined. */
export interface Credentials {
  readonly basicAuth: { readonly username: string; readonly password: string | undefined } | undefined;
  readonly tls: boolean;
}

export interface Lockout {
  /** 1-based, of the block. */
  readonly line: number;
  readonly column: number;
  /** For people: what closes the API, and what would be right. */
  readonly message: string;
}

/** Whether a config speaks TLS once it is loaded. */
export function speaksTls(text: string): boolean {
  return httpBlocks(text).some(({ blocks }) => blocks.some(({ name }) => name === 'tls'));
}

/** The blocks with which Alloy's API is closed to whoever asks it like this. */
export function lockouts(text: string, credentials: Credentials): Lockout[] {
  return httpBlocks(text).flatMap(({ blocks }) =>
    blocks.flatMap((block) => {
      const why = block.name === 'auth' ? whyAuth(block, credentials) : whyTls(block, credentials);
      return why === undefined ? [] : [{ ...placeOf(text, block.at), message: why }];
    }),
  );
}

const LEAVE_OPEN = `leave them open: filter { paths = ["/-/", "/metrics", "/api/v0/web/components"], authenticate_matching_paths = false }`;

function whyAuth({ blocks }: Block, { basicAuth }: Credentials): string | undefined {
  const basic = blocks.find(({ name }) => name === 'basic');
  const closed = basic === undefined ? [] : closedPaths(blocks.find(({ name }) => name === 'filter'));
  if (basic === undefined || closed.length === 0) return undefined;
  const what = `http { auth } wants a password for ${closed.join(', ')}`;
  if (basicAuth === undefined) {
    return `${what}, and homeostat, which asks them, has none: give it one in spec.http.basicAuth, or ${LEAVE_OPEN}`;
  }
  const other = (['username', 'password'] as const).find((name) => {
    const [wanted, given] = [textOf(basic.attributes.get(name)), basicAuth[name]];
    return wanted !== undefined && given !== undefined && wanted !== given;
  });
  return other === undefined
    ? undefined
    : `${what}, with another ${other} than spec.http.basicAuth has: let both be the same`;
}

/** internal/service/http/auth.go: without a filter block every path is closed, and with an empty one none. */
function closedPaths(filter: Block | undefined): string[] {
  const given = filter?.attributes.get('paths');
  const paths = given === undefined ? [] : textsOf(given);
  const matching = filter?.attributes.get('authenticate_matching_paths');
  const isMatching = matching === undefined ? filter !== undefined : boolOf(matching);
  // Not known before it is evaluated: then it is tried, and rolled back if need be.
  if (paths === undefined || isMatching === undefined) return [];
  return API_PATHS.filter((path) => paths.some((prefix) => path.startsWith(prefix)) === isMatching);
}

function whyTls({ name, attributes }: Block, { tls }: Credentials): string | undefined {
  if (name !== 'tls') return undefined;
  if (!tls) {
    return 'http { tls } has Alloy’s API speak TLS, and homeostat asks it in plain HTTP: say so in spec.http.tls, with the ca that signed its certificate';
  }
  const type = textOf(attributes.get('client_auth_type')) ?? '';
  return /^Require/.test(type)
    ? `http { tls } wants a certificate of whoever asks (client_auth_type = "${type}"), and homeostat has none`
    : undefined;
}

function httpBlocks(text: string): Block[] {
  if (!/\bhttp\b/.test(text)) return [];
  return blocksOf(new Reader(text)).blocks.filter(({ name }) => name === 'http');
}

class Reader {
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(text: string) {
    this.#tokens = [...text.matchAll(TOKEN)]
      .map((match) => ({ text: match[0], at: match.index }))
      .filter((token) => token.text === '\n' || !/^(?:\s|\/\/|\/\*)/.test(token.text));
  }

  take(): Token | undefined {
    return this.#tokens[this.#next++];
  }

  peek(ahead = 0): string | undefined {
    return this.#tokens[this.#next + ahead]?.text;
  }
}

/** To the brace that closes it, or the end. What is no Alloy syntax is skipped: Alloy itself says what is wrong with it. */
function blocksOf(reader: Reader): Pick<Block, 'attributes' | 'blocks'> {
  const attributes = new Map<string, readonly Token[]>();
  const blocks: Block[] = [];
  for (let token = reader.take(); token !== undefined && token.text !== '}'; token = reader.take()) {
    if (!/^[A-Za-z_]/.test(token.text)) {
      if (token.text === '{') blocksOf(reader);
      continue;
    }
    const isLabelled = reader.peek()?.startsWith('"') === true && reader.peek(1) === '{';
    if (reader.peek() === '=') {
      reader.take();
      attributes.set(token.text, expression(reader));
    } else if (isLabelled || reader.peek() === '{') {
      if (isLabelled) reader.take();
      reader.take();
      blocks.push({ name: token.text, at: token.at, ...blocksOf(reader) });
    }
  }
  return { attributes, blocks };
}

/** To the end of its line, but that of an open bracket goes on. */
function expression(reader: Reader): Token[] {
  const tokens: Token[] = [];
  let depth = 0;
  for (let next = reader.peek(); next !== undefined; next = reader.peek()) {
    if (depth === 0 && (next === '\n' || next === '}')) break;
    if (/^[[({]$/.test(next)) depth += 1;
    if (/^[\])}]$/.test(next)) depth -= 1;
    const token = reader.take()!;
    if (token.text !== '\n') tokens.push(token);
  }
  return tokens;
}

/** A text that is written out; undefined for anything that has to be evaluated. */
function textOf(tokens: readonly Token[] | undefined): string | undefined {
  const [token, ...more] = tokens ?? [];
  if (token === undefined || more.length > 0) return undefined;
  if (token.text.startsWith('`')) return token.text.slice(1, -1);
  if (!token.text.startsWith('"')) return undefined;
  try {
    return JSON.parse(token.text) as string;
  } catch {
    return undefined; // an escape that JSON does not know
  }
}

function textsOf([open, ...rest]: readonly Token[]): string[] | undefined {
  if (open?.text !== '[' || rest.pop()?.text !== ']') return undefined;
  const texts = rest.filter(({ text }) => text !== ',').map((token) => textOf([token]));
  return texts.every((text) => text !== undefined) ? texts : undefined;
}

function boolOf([token, ...more]: readonly Token[]): boolean | undefined {
  if (more.length > 0 || (token?.text !== 'true' && token?.text !== 'false')) return undefined;
  return token.text === 'true';
}

function placeOf(text: string, at: number): { line: number; column: number } {
  const before = text.slice(0, at);
  return { line: before.split('\n').length, column: at - before.lastIndexOf('\n') };
}
