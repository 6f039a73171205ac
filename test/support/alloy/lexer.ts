/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): the tokens of its
 * configuration syntax. A line's end ends a statement, so the lexer inserts TERMINATOR where a line ends
 * after a value or a closing bracket; the recorded `expected ], got EOF` (bad-syntax) relies on it.
 */
import type { Source } from './source.ts';

export type TokenType =
  | 'EOF'
  | 'TERMINATOR'
  | 'COMMENT'
  | 'ILLEGAL'
  | 'IDENT'
  | 'NUMBER'
  | 'FLOAT'
  | 'STRING'
  | 'BOOL'
  | 'NULL'
  | Operator;

export type Operator =
  | (typeof OPERATORS_2)[number]
  | (typeof OPERATORS_1)[number]
  | '{'
  | '}'
  | '('
  | ')'
  | '['
  | ']'
  | ','
  | '.';

export interface Token {
  type: TokenType;
  text: string;
  at: number;
}

const OPERATORS_2 = ['||', '&&', '!=', '==', '<=', '>='] as const;
const OPERATORS_1 = ['!', '=', '<', '>', '+', '-', '*', '/', '%', '^'] as const;
const ENDS_A_STATEMENT = new Set<TokenType>([
  'IDENT',
  'NUMBER',
  'FLOAT',
  'STRING',
  'BOOL',
  'NULL',
  'ILLEGAL',
  '}',
  ')',
  ']',
]);

const IDENTIFIER = /[\p{L}_][\p{L}_\p{Nd}]*/uy;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d*)?/y;
const ESCAPE = /\\(?:[abfnrtv\\"]|[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})/y;

export function isIdentifier(text: string): boolean {
  return /^[\p{L}_][\p{L}_\p{Nd}]*$/u.test(text);
}

export class Lexer {
  readonly #source: Source;
  readonly #onError: (at: number, message: string) => void;
  #at = 0;
  #mayEnd = false;

  constructor(source: Source, onError: (at: number, message: string) => void) {
    this.#source = source;
    this.#onError = onError;
    if (source.text.startsWith('\uFEFF')) this.#at = 1;
  }

  next(): Token {
    const text = this.#source.text;
    while (/[ \t\r]/.test(text[this.#at] ?? '') || (text[this.#at] === '\n' && !this.#mayEnd)) this.#at += 1;
    const at = this.#at;
    if (at >= text.length) {
      if (this.#mayEnd) return this.#terminator(at);
      return { type: 'EOF', text: '', at };
    }
    if (text[at] === '\n') {
      this.#at += 1;
      return this.#terminator(at);
    }
    if (text.startsWith('//', at) || text.startsWith('/*', at)) {
      // The statement ends before its trailing comment, which is a token of its own.
      if (this.#mayEnd && this.#commentsReachLineEnd(at)) return this.#terminator(at);
      this.#mayEnd = false;
      return { type: 'COMMENT', text: this.#comment(at), at };
    }
    const token = this.#token(at);
    if (token.type !== 'ILLEGAL' || token.text.startsWith("'")) {
      this.#mayEnd = ENDS_A_STATEMENT.has(token.type);
    }
    return token;
  }

  #terminator(at: number): Token {
    this.#mayEnd = false;
    return { type: 'TERMINATOR', text: '\n', at };
  }

  #token(at: number): Token {
    const text = this.#source.text;
    const take = (type: TokenType, length: number): Token => {
      this.#at = at + length;
      return { type, text: text.slice(at, at + length), at };
    };
    const word = match(IDENTIFIER, text, at);
    if (word) {
      const keyword = word === 'true' || word === 'false' ? 'BOOL' : word === 'null' ? 'NULL' : 'IDENT';
      return take(keyword, word.length);
    }
    const number = match(NUMBER, text, at);
    if (number) {
      if (/[eE][+-]?$/.test(number)) this.#onError(at, 'exponent has no digits');
      return take(/[.eE]/.test(number) ? 'FLOAT' : 'NUMBER', number.length);
    }
    const ch = text[at]!;
    if (ch === '"' || ch === '`') return take('STRING', this.#string(at, ch).length);
    if (ch === "'") {
      this.#onError(at, 'illegal single-quoted string; use double quotes');
      return take('ILLEGAL', this.#string(at, ch).length);
    }
    const two = OPERATORS_2.find((operator) => text.startsWith(operator, at));
    if (two) return take(two, 2);
    if (ch === '|' || ch === '&') {
      this.#onError(at + 1, `missing second ${ch} in ${ch}${ch}`);
      return { ...take(ch === '|' ? '||' : '&&', 1) };
    }
    if ('{}()[],.'.includes(ch) || (OPERATORS_1 as readonly string[]).includes(ch))
      return take(ch as Operator, 1);
    const point = text.codePointAt(at)!;
    const code = point.toString(16).toUpperCase().padStart(4, '0');
    this.#onError(at, `illegal character U+${code} '${String.fromCodePoint(point)}'`);
    return take('ILLEGAL', String.fromCodePoint(point).length);
  }

  /** The string's text with its quotes; raw ones (backticks) may span lines and have no escapes. */
  #string(at: number, quote: string): string {
    const text = this.#source.text;
    let end = at + 1;
    for (;;) {
      const ch = text[end];
      if (ch === undefined || (ch === '\n' && quote !== '`')) {
        this.#onError(at, 'string literal not terminated');
        return text.slice(at, end);
      }
      if (ch === quote) return text.slice(at, end + 1);
      if (ch !== '\\' || quote === '`') end += 1;
      else {
        const sequence = match(ESCAPE, text, end);
        if (!sequence) this.#onError(end + 1, 'unknown escape sequence');
        end += sequence?.length ?? 1;
      }
    }
  }

  #comment(at: number): string {
    const text = this.#source.text;
    if (text[at + 1] === '/') {
      const newline = text.indexOf('\n', at);
      this.#at = newline < 0 ? text.length : newline;
      return text.slice(at, this.#at).replace(/\r$/, '');
    }
    const close = text.indexOf('*/', at + 2);
    if (close < 0) this.#onError(at, 'block comment not terminated');
    this.#at = close < 0 ? text.length : close + 2;
    return text.slice(at, this.#at);
  }

  /** Whether nothing but comments stands between here and the end of the line. */
  #commentsReachLineEnd(at: number): boolean {
    const text = this.#source.text;
    let here = at;
    while (text.startsWith('/*', here)) {
      const close = text.indexOf('*/', here + 2);
      if (close < 0 || text.slice(here, close).includes('\n')) return true;
      here = close + 2;
      while (/[ \t\r]/.test(text[here] ?? '')) here += 1;
    }
    return here >= text.length || text[here] === '\n' || text.startsWith('//', here);
  }
}

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}
