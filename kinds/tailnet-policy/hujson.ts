// HuJSON, as Tailscale's policy files are written: JSON with comments and trailing commas
// (https://github.com/tailscale/hujson). Read here by hand: `check` and `diff` can't wait for a library to load, and the
// agent can't have one in its memory all the time (docs/decisions/0014). The server keeps comments, and lays a policy
// out anew when it takes it; so two texts are the same when they differ in white space and trailing commas only.

type TokenType = '{' | '}' | '[' | ']' | ':' | ',' | 'string' | 'scalar' | 'comment';

interface Token {
  readonly type: TokenType;
  /** What makes two tokens the same: a string without its escapes, a comment without its indentation. */
  readonly value: string;
  readonly offset: number;
}

/** @property line and column are 1-based; columns in UTF-16 code units. */
export class HujsonError extends Error {
  override readonly name = 'HujsonError';
  readonly line: number;
  readonly column: number;
  constructor(message: string, text: string, offset: number) {
    super(message);
    const before = text.slice(0, offset);
    this.line = before.split('\n').length;
    this.column = offset - before.lastIndexOf('\n');
  }
}

const TOKEN =
  /(?<space>[ \t\r\n]+)|(?<comment>\/\/[^\n]*(?=\n)|\/\*[\s\S]*?\*\/)|(?<string>"(?:[^"\\\n]|\\[^\n])*")|(?<punctuation>[{}[\]:,])|(?<scalar>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)\b)/y;

function scan(text: string): Token[] {
  const tokens: Token[] = [];
  let offset = 0;
  while (offset < text.length) {
    TOKEN.lastIndex = offset;
    const groups = TOKEN.exec(text)?.groups;
    if (groups === undefined) throw new HujsonError(explain(text, offset), text, offset);
    const { space, comment, string, punctuation, scalar } = groups;
    if (comment !== undefined) tokens.push({ type: 'comment', value: commentText(comment), offset });
    else if (string !== undefined)
      tokens.push({ type: 'string', value: stringValue(string, text, offset), offset });
    else if (punctuation !== undefined)
      tokens.push({ type: punctuation as TokenType, value: punctuation, offset });
    else if (scalar !== undefined) tokens.push({ type: 'scalar', value: scalar, offset });
    offset += (space ?? comment ?? string ?? punctuation ?? scalar)!.length;
  }
  return tokens;
}

function commentText(raw: string): string {
  return raw
    .split('\n')
    .map((line) => line.trim())
    .join('\n');
}

function stringValue(raw: string, text: string, offset: number): string {
  try {
    return JSON.parse(raw) as string;
  } catch {
    throw new HujsonError(
      'this text has an escape or a control character that JSON does not know',
      text,
      offset,
    );
  }
}

function explain(text: string, offset: number): string {
  if (text.startsWith('//', offset)) return 'the file ends in a comment: end its line';
  if (text[offset] === '\uFEFF')
    return 'the file begins with a byte order mark: save it as UTF-8 without one';
  if (text.startsWith('/*', offset)) return 'a comment is not closed: end it with */';
  if (text[offset] === '"') return 'a quote is not closed before the end of the line: close it';
  if (text[offset] === "'") return 'text stands in double quotes';
  if (text[offset] === '=') return '"=" is Terraform’s: between a name and its value stands ":"';
  if (text[offset] === '#') return 'a comment begins with //';
  const word = /^[^\s{}[\]:,"]{1,40}/.exec(text.slice(offset, offset + 40))?.[0] ?? text[offset];
  return `${word} is no JSON: text stands in double quotes, other values are numbers, true, false and null`;
}

/** What can be said of a policy file without the server. */
export interface Hujson {
  /** Members of the outermost object, by name; of two with one name the last. */
  readonly sections: ReadonlyMap<string, unknown>;
  readonly tokens: readonly Token[];
  /** Names that stand twice in one object. */
  readonly duplicates: readonly { readonly name: string; readonly line: number; readonly column: number }[];
}

/** @throws HujsonError at the first place that is no HuJSON, or when the whole is no object. */
export function readHujson(text: string): Hujson {
  return new Reader(text).read();
}

const MAX_DEPTH = 64;

class Reader {
  readonly #text: string;
  readonly #all: readonly Token[];
  readonly #tokens: readonly Token[];
  readonly #duplicates: { name: string; line: number; column: number }[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.#all = scan(text);
    this.#tokens = this.#all.filter(({ type }) => type !== 'comment');
  }

  read(): Hujson {
    const first = this.#tokens[0];
    if (first === undefined) this.#fail('this is empty: a policy file is an object, { … }');
    if (first!.type !== '{') this.#fail('a policy file is an object: it begins with {');
    const sections = this.#object(1, (name) => name.toLowerCase());
    if (this.#peek() !== undefined) this.#fail('the policy ended above: nothing but comments may follow');
    return { sections, tokens: this.#all, duplicates: this.#duplicates };
  }

  #value(depth: number): unknown {
    const token = this.#peek();
    if (depth > MAX_DEPTH) this.#fail(`this is nested deeper than ${MAX_DEPTH} levels`);
    switch (token?.type) {
      case '{':
        return Object.fromEntries(this.#object(depth));
      case '[':
        return this.#array(depth);
      case 'string':
        this.#at++;
        return token.value;
      case 'scalar':
        this.#at++;
        return JSON.parse(token.value);
      default:
        return this.#fail(`a value is expected here, and ${found(token)}`);
    }
  }

  /** @param same what makes two names one: of the sections, as Go reads them, their letters in any case. */
  #object(depth: number, same = (name: string): string => name): Map<string, unknown> {
    const members = new Map<string, unknown>();
    const seen = new Set<string>();
    this.#list('}', () => {
      const name = this.#peek();
      if (name?.type !== 'string') this.#fail(`a name in double quotes is expected here, and ${found(name)}`);
      const isSecond = seen.has(same(name!.value));
      seen.add(same(name!.value));
      if (isSecond) {
        const { line, column } = new HujsonError('', this.#text, name!.offset);
        this.#duplicates.push({ name: name!.value, line, column });
      }
      this.#at++;
      if (this.#peek()?.type !== ':')
        this.#fail(`":" is expected after "${name!.value}", and ${found(this.#peek())}`);
      this.#at++;
      members.set(name!.value, this.#value(depth + 1));
    });
    return members;
  }

  #array(depth: number): unknown[] {
    const items: unknown[] = [];
    this.#list(']', () => items.push(this.#value(depth + 1)));
    return items;
  }

  /** From the opening bracket to the closing one, with commas between and perhaps one behind the last. */
  #list(close: '}' | ']', item: () => void): void {
    this.#at++;
    while (this.#peek()?.type !== close) {
      item();
      const next = this.#peek();
      if (next?.type === ',') this.#at++;
      else if (next?.type !== close) this.#fail(`"," or "${close}" is expected here, and ${found(next)}`);
    }
    this.#at++;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #fail(message: string): never {
    throw new HujsonError(message, this.#text, this.#peek()?.offset ?? this.#text.trimEnd().length);
  }
}

function found(token: Token | undefined): string {
  if (token === undefined) return 'the file ends';
  return token.type === 'string' ? `"${token.value}" was found` : `${token.value} was found`;
}

/** Without commas that only trail. */
function essential({ tokens }: Hujson): Token[] {
  let next: TokenType | undefined;
  return tokens
    .toReversed()
    .filter(({ type }) => {
      const trails = type === ',' && (next === '}' || next === ']');
      if (type !== 'comment') next = type;
      return !trails;
    })
    .reverse();
}

/** Whether two policies differ in white space and trailing commas only. Comments count: people wrote them. */
export function sameHujson(a: Hujson, b: Hujson): boolean {
  const [left, right] = [essential(a), essential(b)];
  return (
    left.length === right.length &&
    left.every(({ type, value }, i) => type === right[i]!.type && value === right[i]!.value)
  );
}

/** The same layout for every policy, so that a diff of two shows what differs and nothing else. */
export function layOut(policy: Hujson): string {
  const tokens = essential(policy);
  let text = '';
  let depth = 0;
  const line = (): void => {
    text = `${text.trimEnd()}\n${'  '.repeat(depth)}`;
  };
  tokens.forEach(({ type, value }, i) => {
    const next = tokens[i + 1]?.type;
    if (type === '}' || type === ']') {
      depth--;
      if (tokens[i - 1]?.type !== (type === '}' ? '{' : '[')) line();
    }
    text += type === 'string' ? JSON.stringify(value) : value;
    if (type === ':') text += ' ';
    else if (type === '{' || type === '[') {
      depth++;
      if (next !== '}' && next !== ']') line();
    } else if (type === ',' || type === 'comment') line();
    else if (next === 'comment') line();
  });
  return `${text.trimEnd()}\n`;
}
