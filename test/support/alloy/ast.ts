/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): the syntax tree of a
 * configuration, and where each node starts and ends (offsets, the end inclusive): diagnostics underline it.
 */
import type { Operator } from './lexer.ts';
import type { Source } from './source.ts';

export interface Ident {
  name: string;
  at: number;
}

export interface Field {
  name: Ident;
  quoted: boolean;
  value: Expr;
}

export type LiteralType = 'STRING' | 'NUMBER' | 'FLOAT' | 'BOOL' | 'NULL';

export type Expr =
  | { kind: 'literal'; type: LiteralType; text: string; at: number }
  | { kind: 'array'; open: number; items: Expr[]; close: number }
  | { kind: 'object'; open: number; fields: Field[]; close: number }
  | { kind: 'ident'; name: Ident }
  | { kind: 'access'; value: Expr; name: Ident }
  | { kind: 'index'; value: Expr; open: number; index: Expr; close: number }
  | { kind: 'call'; value: Expr; open: number; args: Expr[]; close: number }
  | { kind: 'unary'; operator: Operator; at: number; value: Expr }
  | { kind: 'binary'; operator: Operator; at: number; left: Expr; right: Expr }
  | { kind: 'paren'; open: number; inner: Expr; close: number };

interface Attribute {
  kind: 'attribute';
  name: Ident;
  value: Expr;
}

export interface Block {
  kind: 'block';
  source: Source;
  /** Fragments joined with dots: `prometheus.scrape`. */
  name: string;
  at: number;
  label: string;
  labelAt: number;
  open: number;
  close: number;
  body: Statement[];
}

export type Statement = Attribute | Block;

export interface Comment {
  at: number;
  text: string;
}

export interface File {
  source: Source;
  body: Statement[];
  comments: Comment[];
}

/** The name by which other blocks refer to this one: `prometheus.scrape.host_metrics`. */
export function blockId(block: Block): string {
  return block.label === '' ? block.name : `${block.name}.${block.label}`;
}

export function startOf(node: Expr | Statement): number {
  switch (node.kind) {
    case 'literal':
    case 'unary':
    case 'block':
      return node.at;
    case 'ident':
      return node.name.at;
    case 'attribute':
      return node.name.at;
    case 'array':
    case 'object':
    case 'paren':
      return node.open;
    case 'access':
    case 'index':
    case 'call':
      return startOf(node.value);
    case 'binary':
      return startOf(node.left);
  }
}

export function endOf(node: Expr | Statement): number {
  switch (node.kind) {
    case 'literal':
      return node.at + node.text.length - 1;
    case 'ident':
    case 'access':
      return node.name.at + node.name.name.length - 1;
    case 'attribute':
    case 'unary':
      return endOf(node.value);
    case 'binary':
      return endOf(node.right);
    default:
      return node.close;
  }
}
