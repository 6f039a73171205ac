/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): the values of expressions,
 * and a block decoded against its schema. A decode stops at its first error, as Alloy's does when it loads
 * (the recorded body of bad-attr's reload names one error where `validate` names two).
 */
import type { Block, Expr } from './ast.ts';
import { endOf, startOf } from './ast.ts';
import { misplaced, missing, whole } from './check.ts';
import { parseDuration } from './duration.ts';
import type { Body, ValueType } from './schema.ts';
import { ConfigError } from './source.ts';

/** Something only components understand: a receiver, a set of rules. */
export class Capsule<T> {
  readonly value: T;
  constructor(value: T) {
    this.value = value;
  }
}

export type Call = (...args: Value[]) => Value;
export type Value =
  | string
  | number
  | boolean
  | null
  | Value[]
  | Capsule<unknown>
  | Call
  | { [name: string]: Value };
export type Scope = Record<string, Value>;

/** A decoded block: what was written, evaluated; absent attributes are undefined. */
export interface Args {
  name: string;
  values: Record<string, Value>;
  blocks: Args[];
}

/** Decodes a block; throws ConfigError where Alloy knows the place, Error where it names none. */
export function decode(block: Block, schema: Body, scope: Scope): Args {
  const args: Args = { name: block.name, values: {}, blocks: [] };
  const seen = new Set<string>();
  for (const statement of block.body) {
    const wrong = misplaced(statement, schema, seen, block);
    if (wrong) throw new ConfigError([wrong]);
    if (statement.kind === 'block') {
      const inner = schema.blocks.get(statement.name);
      args.blocks.push(inner ? decode(statement, inner.body, scope) : decodeAnything(statement, scope));
      continue;
    }
    const { type } = schema.attributes.get(statement.name.name)!;
    const value = evaluate(statement.value, scope, block);
    args.values[statement.name.name] = fit(value, type, statement.value, block);
  }
  const lacks = missing(block, schema)[0];
  if (lacks) throw new Error(lacks);
  return args;
}

/** A block without a schema (a stage of loki.process). */
function decodeAnything(block: Block, scope: Scope): Args {
  const args: Args = { name: block.name, values: {}, blocks: [] };
  for (const statement of block.body) {
    if (statement.kind === 'block') args.blocks.push(decodeAnything(statement, scope));
    else args.values[statement.name.name] = evaluate(statement.value, scope, block);
  }
  return args;
}

function typeOf(value: Value): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (value instanceof Capsule) return 'capsule';
  if (typeof value === 'boolean') return 'bool';
  return typeof value === 'object' ? 'object' : typeof value;
}

const WANTED: Record<ValueType, string> = {
  string: 'string',
  number: 'number',
  bool: 'bool',
  duration: 'string',
  strings: 'array',
  targets: 'array',
  receivers: 'array',
  map: 'object',
  rules: 'capsule',
  any: 'any',
};

/** The value as its attribute wants it: strings and numbers convert into each other, durations into ms. */
function fit(value: Value, type: ValueType, expr: Expr, block: Block): Value {
  if (value === null || type === 'any') return value;
  const fail = (message: string): never => {
    throw new ConfigError([whole(block, expr, message)]);
  };
  const wanted = WANTED[type];
  const got = typeOf(value);
  if (type === 'duration') {
    const duration = typeof value === 'string' ? parseDuration(value) : undefined;
    return duration ?? fail(`time: invalid duration ${JSON.stringify(value)}`);
  }
  if (wanted === 'string' && got === 'number') return String(value);
  if (wanted === 'number' && got === 'string' && Number.isFinite(Number(value))) return Number(value);
  if (wanted === got) return value;
  const text = block.source.text.slice(startOf(expr), endOf(expr) + 1);
  return fail(`${text} should be ${wanted}, got ${got}`);
}

function evaluate(expr: Expr, scope: Scope, block: Block): Value {
  const inner = (other: Expr): Value => evaluate(other, scope, block);
  const fail = (message: string): never => {
    throw new ConfigError([whole(block, expr, message)]);
  };
  switch (expr.kind) {
    case 'literal':
      return literal(expr.type, expr.text);
    case 'array':
      return expr.items.map(inner);
    case 'object':
      return Object.fromEntries(expr.fields.map((field) => [field.name.name, inner(field.value)]));
    case 'ident':
      return scope[expr.name.name] ?? fail(`identifier "${expr.name.name}" does not exist`);
    case 'access': {
      const value = inner(expr.value);
      if (value === null) return null;
      if (typeOf(value) !== 'object') fail(`cannot access field "${expr.name.name}" on ${typeOf(value)}`);
      return (
        (value as Scope)[expr.name.name] ??
        (expr.name.name in (value as Scope) ? null : fail(`field "${expr.name.name}" does not exist`))
      );
    }
    case 'index': {
      const value = inner(expr.value);
      const index = inner(expr.index);
      if (Array.isArray(value) && typeof index === 'number') {
        return value[index] ?? fail(`index ${index} is out of range of array with length ${value.length}`);
      }
      if (typeOf(value) === 'object' && typeof index === 'string') {
        return (value as Scope)[index] ?? fail(`field "${index}" does not exist`);
      }
      return fail(`expected object or array, got ${typeOf(value)}`);
    }
    case 'call': {
      const value = inner(expr.value);
      if (typeof value !== 'function') return fail(`expected function, got ${typeOf(value)}`);
      const args = expr.args.map(inner);
      try {
        return value(...args);
      } catch (error) {
        return fail((error as Error).message);
      }
    }
    case 'unary': {
      const value = inner(expr.value);
      if (expr.operator === '!' && typeof value === 'boolean') return !value;
      if (expr.operator === '-' && typeof value === 'number') return -value;
      return fail(`invalid operation ${expr.operator} on ${typeOf(value)}`);
    }
    case 'binary':
      return (
        binary(expr.operator, inner(expr.left), inner(expr.right)) ?? fail('operands do not fit the operator')
      );
    case 'paren':
      return inner(expr.inner);
  }
}

function literal(type: string, text: string): Value {
  if (type === 'NULL') return null;
  if (type === 'BOOL') return text === 'true';
  if (type !== 'STRING') return Number(text);
  return text.startsWith('`') ? text.slice(1, -1) : unquote(text.slice(1, -1));
}

const SIMPLE: Record<string, string> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

function unquote(text: string): string {
  return text.replace(
    /\\(?:x(..)|u(.{4})|U(.{8})|([0-7]{3})|(.))/gs,
    (_, x?: string, u?: string, long?: string, octal?: string, one?: string) => {
      const hex = x ?? u ?? long;
      if (hex) return String.fromCodePoint(Number.parseInt(hex, 16));
      if (octal) return String.fromCodePoint(Number.parseInt(octal, 8));
      return SIMPLE[one!] ?? one!;
    },
  );
}

function binary(operator: string, left: Value, right: Value): Value | undefined {
  if (operator === '==' || operator === '!=') {
    return (JSON.stringify(left) === JSON.stringify(right)) === (operator === '==');
  }
  if (typeof left === 'boolean' && typeof right === 'boolean') {
    return operator === '&&' ? left && right : operator === '||' ? left || right : undefined;
  }
  if (typeof left === 'string' && typeof right === 'string' && operator === '+') return left + right;
  const comparable = typeof left === typeof right && (typeof left === 'string' || typeof left === 'number');
  if (comparable && operator in COMPARE) return COMPARE[operator]!(left as number, right as number);
  if (typeof left !== 'number' || typeof right !== 'number') return undefined;
  return ARITHMETIC[operator]?.(left, right);
}

const COMPARE: Record<string, (left: number, right: number) => boolean> = {
  '<': (left, right) => left < right,
  '<=': (left, right) => left <= right,
  '>': (left, right) => left > right,
  '>=': (left, right) => left >= right,
};
const ARITHMETIC: Record<string, (left: number, right: number) => number> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => left / right,
  '%': (left, right) => left % right,
  '^': (left, right) => left ** right,
};
