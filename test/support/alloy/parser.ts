/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): the grammar of its
 * configuration. It goes on after an error and, as Alloy does, keeps the first error of each line.
 */
import type { Block, Comment, Expr, Field, File, LiteralType, Statement } from './ast.ts';
import { startOf } from './ast.ts';
import type { Operator, Token, TokenType } from './lexer.ts';
import { isIdentifier, Lexer } from './lexer.ts';
import type { Diagnostic, Source } from './source.ts';
import { ConfigError } from './source.ts';

const PRECEDENCE: Partial<Record<TokenType, number>> = {
  '||': 1,
  '&&': 2,
  '==': 3,
  '!=': 3,
  '<': 3,
  '<=': 3,
  '>': 3,
  '>=': 3,
  '+': 4,
  '-': 4,
  '*': 5,
  '/': 5,
  '%': 5,
};

/** Parses one file; throws ConfigError with every error found. */
export function parse(source: Source): File {
  const parser = new Parser(source);
  const body = parser.body('EOF');
  if (parser.diagnostics.length > 0) throw new ConfigError(parser.diagnostics);
  return { source, body, comments: parser.comments };
}

class Parser {
  readonly diagnostics: Diagnostic[] = [];
  readonly comments: Comment[] = [];
  readonly #source: Source;
  readonly #lexer: Lexer;
  #token: Token;
  #lastErrorLine = 0;

  constructor(source: Source) {
    this.#source = source;
    this.#lexer = new Lexer(source, (start, message) => this.#report(message, start));
    this.#token = this.#lexer.next();
    this.#skipComments();
  }

  #report(message: string, start: number, end?: number): void {
    const range = end === undefined ? { start } : { start, end };
    this.diagnostics.push({ severity: 'Error', source: this.#source, message, ...range });
  }

  #error(message: string): void {
    const line = this.#source.line(this.#token.at);
    if (line === this.#lastErrorLine) return;
    this.#lastErrorLine = line;
    this.#report(message, this.#token.at);
  }

  #next(): Token {
    const token = this.#token;
    this.#token = this.#lexer.next();
    this.#skipComments();
    return token;
  }

  #skipComments(): void {
    while (this.#token.type === 'COMMENT') {
      this.comments.push({ at: this.#token.at, text: this.#token.text });
      this.#token = this.#lexer.next();
    }
  }

  #is(...types: TokenType[]): boolean {
    return types.includes(this.#token.type);
  }

  #expect(type: TokenType): Token {
    if (!this.#is(type)) this.#error(`expected ${type}, got ${this.#token.type}`);
    return this.#next();
  }

  #skipTo(...types: TokenType[]): void {
    while (!this.#is('EOF', ...types)) this.#next();
  }

  /** Skips the rest of a statement with whatever brackets it opens. */
  #skipStatement(): void {
    let depth = 0;
    while (!this.#is('EOF')) {
      if (this.#is('{', '[', '(')) depth += 1;
      if (this.#is('}', ']', ')')) depth -= 1;
      if (this.#is('TERMINATOR') && depth <= 0) return;
      this.#next();
    }
  }

  body(until: TokenType): Statement[] {
    const statements: Statement[] = [];
    while (!this.#is(until, 'EOF')) {
      const statement = this.#statement();
      if (statement) statements.push(statement);
      if (this.#is(until)) break;
      if (!this.#is('TERMINATOR')) {
        this.#error(`expected TERMINATOR, got ${this.#token.type}`);
        this.#skipStatement();
      }
      this.#next();
    }
    return statements;
  }

  #statement(): Statement | undefined {
    if (!this.#is('IDENT')) {
      this.#error(`expected identifier, got ${this.#token.type}`);
      this.#skipTo('IDENT');
      return undefined;
    }
    const first = this.#next();
    const names = [first.text];
    while (this.#is('.')) {
      this.#next();
      if (!this.#is('IDENT')) this.#error(`expected identifier, got ${this.#token.type}`);
      names.push(this.#next().text);
    }
    const name = names.join('.');
    const label = this.#label();
    if (this.#is('=')) {
      this.#next();
      if (names.length > 1) {
        const end = first.at + name.length - 1;
        this.#report('attribute names may only consist of a single identifier with no "."', first.at, end);
      } else if (label) {
        this.#report('attribute names may not have labels', label.at, label.at + label.text.length + 1);
      }
      return { kind: 'attribute', name: { name: first.text, at: first.at }, value: this.#expression() };
    }
    if (!this.#is('{')) {
      const wanted = names.length === 1 && !label?.text ? 'attribute assignment or block body' : 'block body';
      this.#error(`expected ${wanted}, got ${this.#token.type}`);
      this.#skipTo('IDENT');
      return undefined;
    }
    const open = this.#next().at;
    const body = this.body('}');
    const close = this.#expect('}').at;
    const block: Block = {
      kind: 'block',
      source: this.#source,
      name,
      at: first.at,
      label: label?.text ?? '',
      labelAt: label?.at ?? -1,
      open,
      close,
      body,
    };
    return block;
  }

  #label(): { text: string; at: number } | undefined {
    if (this.#is('=', '{')) return undefined;
    if (!this.#is('STRING')) {
      this.#error(`expected block label, got ${this.#token.type}`);
      this.#next();
      return undefined;
    }
    const { text, at } = this.#token;
    if (!text.startsWith('"')) {
      this.#error(`expected block label to be a double quoted string, but got ${JSON.stringify(text)}`);
    }
    const label = text.slice(1, -1);
    if (label !== '' && !isIdentifier(label)) {
      this.#error(`expected block label to be a valid identifier, but got ${JSON.stringify(label)}`);
    }
    this.#next();
    return { text: label, at };
  }

  #expression(precedence = 1): Expr {
    let left = this.#power();
    for (;;) {
      const { type, at } = this.#token;
      const mine = PRECEDENCE[type] ?? 0;
      if (mine < precedence) return left;
      this.#next();
      left = { kind: 'binary', operator: type as Operator, at, left, right: this.#expression(mine + 1) };
    }
  }

  #power(): Expr {
    const left = this.#unary();
    if (!this.#is('^')) return left;
    const { at } = this.#next();
    return { kind: 'binary', operator: '^', at, left, right: this.#power() };
  }

  #unary(): Expr {
    if (this.#is('!', '-')) {
      const { type, at } = this.#next();
      return { kind: 'unary', operator: type as Operator, at, value: this.#unary() };
    }
    let value = this.#primary();
    for (;;) {
      if (this.#is('.')) {
        this.#next();
        const name = this.#expect('IDENT');
        value = { kind: 'access', value, name: { name: name.text, at: name.at } };
      } else if (this.#is('[')) {
        const open = this.#next().at;
        const index = this.#expression();
        value = { kind: 'index', value, open, index, close: this.#expect(']').at };
      } else if (this.#is('(')) {
        const open = this.#next().at;
        const args = this.#is(')') ? [] : this.#list(')');
        value = { kind: 'call', value, open, args, close: this.#expect(')').at };
      } else if (this.#is('STRING', '{')) {
        if (!this.#blockAsExpression(value)) return value;
      } else return value;
    }
  }

  /** `attribute = some.block "label" { … }`: read over, and said to be wrong. */
  #blockAsExpression(value: Expr): boolean {
    if (this.#is('STRING')) this.#next();
    if (this.#expect('{').type === '{') {
      this.body('}');
      const close = this.#expect('}');
      if (close.type === '}') {
        this.#report('cannot use a block as an expression', startOf(value), close.at);
        return true;
      }
    }
    this.#skipStatement();
    return false;
  }

  #primary(): Expr {
    const { type, text, at } = this.#token;
    switch (type) {
      case 'IDENT':
        this.#next();
        return { kind: 'ident', name: { name: text, at } };
      case 'STRING':
      case 'NUMBER':
      case 'FLOAT':
      case 'BOOL':
      case 'NULL':
        this.#next();
        return { kind: 'literal', type: type as LiteralType, text, at };
      case '(': {
        this.#next();
        const inner = this.#expression();
        return { kind: 'paren', open: at, inner, close: this.#expect(')').at };
      }
      case '[': {
        this.#next();
        const items = this.#is(']') ? [] : this.#list(']');
        return { kind: 'array', open: at, items, close: this.#expect(']').at };
      }
      case '{': {
        this.#next();
        const fields = this.#fields();
        return { kind: 'object', open: at, fields, close: this.#expect('}').at };
      }
      default:
        this.#error(`expected expression, got ${type}`);
        this.#skipTo('TERMINATOR', ')', '}', ']', ',');
        return { kind: 'literal', type: 'NULL', text: 'null', at };
    }
  }

  #list(until: TokenType): Expr[] {
    const items: Expr[] = [];
    while (!this.#is(until, 'EOF')) {
      items.push(this.#expression());
      if (this.#is(until)) break;
      if (!this.#is(',')) this.#error("missing ',' in expression list");
      this.#next();
    }
    return items;
  }

  #fields(): Field[] {
    const fields: Field[] = [];
    while (!this.#is('}', 'EOF')) {
      const { type, text, at } = this.#token;
      const quoted = type === 'STRING' && text.length > 2;
      if (this.#is('STRING', 'IDENT')) this.#next();
      else {
        this.#error(`expected field name (string or identifier), got ${type}`);
        this.#skipTo('=');
      }
      this.#expect('=');
      fields.push({
        name: { name: quoted ? text.slice(1, -1) : text, at },
        quoted,
        value: this.#expression(),
      });
      if (this.#is('}')) break;
      if (!this.#is(',')) this.#error("missing ',' in field list");
      this.#next();
    }
    return fields;
  }
}
