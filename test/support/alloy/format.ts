/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): `alloy fmt`'s canonical
 * form: tabs, a blank line between blocks, aligned `=`, lists left on the lines that their author chose.
 * Held to the recorded output of `alloy convert` (convert-promtail), which the same printer wrote.
 */
import type { Block, Expr, Field, File, Statement } from './ast.ts';
import { endOf, startOf } from './ast.ts';
import { Layout } from './layout.ts';
import type { Source } from './source.ts';

export function format(file: File): string {
  const layout = new Layout(file.source, file.comments);
  new Walker(layout, file.source).statements(file.body);
  return layout.end();
}

class Walker {
  readonly #out: Layout;
  readonly #source: Source;

  constructor(out: Layout, source: Source) {
    this.#out = out;
    this.#source = source;
  }

  #apart(one: number, other: number): boolean {
    return this.#source.line(one) !== this.#source.line(other);
  }

  statements(statements: Statement[]): void {
    let previous: Statement | undefined;
    for (const statement of statements) {
      const gap = previous ? this.#source.line(startOf(statement)) - this.#source.line(endOf(previous)) : 0;
      if (previous && (statement.kind === 'block' || gap > 1)) this.#out.blank('break');
      if (statement.kind === 'block') this.#block(statement);
      else {
        this.#out.text(statement.name.name, statement.name.at);
        this.#assign(statement.value);
      }
      this.#out.blank(this.#apart(startOf(statement), endOf(statement)) ? 'break' : 'line');
      previous = statement;
    }
  }

  #assign(value: Expr): void {
    this.#out.blank('cell');
    this.#out.text('=');
    this.#out.blank('space');
    this.#expression(value);
  }

  #block(block: Block): void {
    this.#out.text(block.name, block.at);
    if (block.label !== '') {
      this.#out.blank('space');
      this.#out.text(`"${block.label}"`, block.labelAt);
    }
    this.#out.blank('space');
    this.#out.text('{', block.open);
    this.#out.blank('in');
    if (block.body.length > 0) {
      this.#out.blank('break');
      this.statements(block.body);
    } else this.#out.blank('space');
    this.#out.blank('out');
    this.#out.text('}', block.close);
  }

  #expression(expr: Expr): void {
    const out = this.#out;
    switch (expr.kind) {
      case 'literal':
        out.text(expr.text, expr.at);
        break;
      case 'ident':
        out.text(expr.name.name, expr.name.at);
        break;
      case 'array':
        this.#array(expr.items, expr.open, expr.close);
        break;
      case 'object':
        this.#object(expr.fields, expr.open, expr.close);
        break;
      case 'access':
        this.#expression(expr.value);
        out.text('.');
        out.text(expr.name.name);
        break;
      case 'index':
        this.#expression(expr.value);
        out.text('[', expr.open);
        this.#expression(expr.index);
        out.text(']', expr.close);
        break;
      case 'call':
        this.#call(expr.value, expr.args, expr.open, expr.close);
        break;
      case 'unary':
        out.text(expr.operator, expr.at);
        this.#expression(expr.value);
        break;
      case 'binary':
        this.#expression(expr.left);
        out.blank('space');
        out.text(expr.operator, expr.at);
        out.blank('space');
        this.#expression(expr.right);
        break;
      case 'paren':
        out.text('(');
        this.#expression(expr.inner);
        out.text(')');
    }
  }

  #array(items: Expr[], open: number, close: number): void {
    this.#out.text('[', open);
    let previous = open;
    for (const [index, item] of items.entries()) {
      const newLine = this.#apart(previous, startOf(item));
      if (newLine) this.#out.blank('in', 'break');
      else if (index > 0) this.#out.blank('space');
      previous = endOf(item);
      this.#expression(item);
      if (index + 1 < items.length) this.#out.text(',');
      if (newLine) this.#out.blank('out');
    }
    if (items.length > 0 && this.#apart(previous, close)) {
      this.#out.text(',');
      this.#out.blank('in', 'break', 'out');
    }
    this.#out.text(']', close);
  }

  #object(fields: Field[], open: number, close: number): void {
    this.#out.text('{', open);
    this.#out.blank('in');
    let previous = open;
    for (const [index, field] of fields.entries()) {
      const before = fields[index - 1]?.value;
      if (this.#apart(previous, field.name.at)) {
        // Only after a field of one line do the equal signs stay aligned.
        const aligned = before && !this.#apart(startOf(before), endOf(before));
        this.#out.blank(aligned ? 'line' : 'break');
      } else if (index > 0) this.#out.blank('space');
      previous = field.name.at;
      this.#out.text(field.quoted ? `"${field.name.name}"` : field.name.name, field.name.at);
      this.#assign(field.value);
      if (index + 1 < fields.length) this.#out.text(',');
    }
    if (fields.length > 0 && this.#apart(previous, close)) {
      this.#out.text(',');
      this.#out.blank('break');
    }
    this.#out.blank('out');
    this.#out.text('}', close);
  }

  #call(value: Expr, args: Expr[], open: number, close: number): void {
    this.#expression(value);
    this.#out.text('(');
    let previous = open;
    for (const [index, arg] of args.entries()) {
      const newLine = this.#apart(previous, startOf(arg));
      if (newLine) this.#out.blank('break', 'in');
      this.#expression(arg);
      previous = endOf(arg);
      if (index + 1 < args.length) {
        this.#out.text(',');
        this.#out.blank('space');
      }
      if (newLine) this.#out.blank('out');
    }
    if (this.#apart(previous, close)) {
      this.#out.text(',');
      this.#out.blank('break');
    }
    this.#out.text(')');
  }
}
