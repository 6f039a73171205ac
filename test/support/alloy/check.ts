/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): what `alloy validate`
 * finds without running anything. It reports everything (bad-attr: the unknown attribute, then the missing
 * one), while a load stops at a component's first error: evaluate.ts.
 */
import type { Block, Expr, File, Statement } from './ast.ts';
import { blockId, endOf, startOf } from './ast.ts';
import { parseDuration } from './duration.ts';
import {
  type Allowed,
  cycleDiagnostics,
  evaluationOrder,
  type Reference,
  referencesOf,
  strayAttribute,
  structureOf,
} from './references.ts';
import { type Body, components, services, type ValueType } from './schema.ts';
import { ConfigError, type Diagnostic, type Source } from './source.ts';

/** The top-level blocks of all files; throws on a stray attribute. */
export function blocksOf(files: File[]): Block[] {
  return files.flatMap((file) => {
    const stray = strayAttribute(file.body, file.source);
    if (stray) throw new ConfigError([stray]);
    return file.body.filter((statement): statement is Block => statement.kind === 'block');
  });
}

/** Alloy's order: its own settings (logging, tracing), then components, then services. */
export function validate(files: File[], allowed: Allowed = { community: false }): Diagnostic[] {
  const all = blocksOf(files);
  const settings = all.filter((block) => block.name === 'logging' || block.name === 'tracing');
  const servants = all.filter((block) => services.has(block.name) && !settings.includes(block));
  const blocks = [...settings, ...all.filter((block) => !services.has(block.name)), ...servants];

  const ids = new Set(blocks.map(blockId));
  const structure = structureOf(blocks, allowed);
  const references = new Map<Block, Reference[]>();
  const diagnostics: Diagnostic[] = [];
  for (const block of blocks) {
    diagnostics.push(...(structure.get(block) ?? []));
    const schema = components.get(block.name) ?? services.get(block.name);
    if (schema) diagnostics.push(...checkBody(block, schema));
    const found = referencesOf(block, ids);
    references.set(block, found.references);
    diagnostics.push(...found.diagnostics);
  }
  return [...diagnostics, ...cycleDiagnostics(evaluationOrder(blocks, references).circles)];
}

function checkBody(block: Block, schema: Body): Diagnostic[] {
  const seen = new Set<string>();
  const diagnostics = block.body.flatMap((statement) => {
    const wrong = misplaced(statement, schema, seen, block);
    if (wrong) return [wrong];
    if (statement.kind === 'attribute') {
      const { type } = schema.attributes.get(statement.name.name)!;
      return checkLiteral(statement.value, type, block.source);
    }
    const inner = schema.blocks.get(statement.name);
    return inner ? checkBody(statement, inner.body) : [];
  });
  return [...diagnostics, ...missing(block, schema).map((message) => whole(block, block, message))];
}

/** Why a statement may not stand where it stands, if it may not. Shared with evaluate.ts. */
export function misplaced(
  statement: Statement,
  schema: Body,
  seen: Set<string>,
  block: Block,
): Diagnostic | undefined {
  const name = statement.kind === 'attribute' ? statement.name.name : statement.name;
  const attribute = schema.attributes.get(name);
  const inner = schema.blocks.get(name);
  if (statement.kind === 'attribute') {
    if (!attribute && !inner) return whole(block, statement, `unrecognized attribute name "${name}"`);
    if (!attribute) return whole(block, statement, `"${name}" must be a block, but is used as an attribute`);
    if (seen.has(name)) return whole(block, statement, `attribute "${name}" may only be provided once`);
    seen.add(name);
    return undefined;
  }
  if (attribute) return whole(block, statement, `"${name}" must be an attribute, but is used as a block`);
  if (inner) {
    const count = block.body.filter((other) => other.kind === 'block' && other.name === name).length;
    if (!inner.many && count > 1)
      return whole(block, statement, `block "${name}" may only be specified once`);
    return undefined;
  }
  const { anyBlock } = schema;
  if (anyBlock !== undefined && (anyBlock === '' || name === anyBlock || name.startsWith(`${anyBlock}.`))) {
    return undefined;
  }
  return whole(block, statement, `unrecognized block name "${name}"`);
}

/** What a body lacks: one message each. */
export function missing(block: Block, schema: Body): string[] {
  const has = (kind: Statement['kind'], name: string): boolean =>
    block.body.some(
      (one) => one.kind === kind && (one.kind === 'attribute' ? one.name.name : one.name) === name,
    );
  const attributes = [...schema.attributes]
    .filter(([name, { required }]) => required && !has('attribute', name))
    .map(([name]) => `missing required attribute "${name}"`);
  const blocks = [...schema.blocks]
    .filter(([name, { required }]) => required && !has('block', name))
    .map(([name]) => `missing required block "${name}"`);
  return [...attributes, ...blocks];
}

export function whole(block: Block, node: Expr | Statement, message: string): Diagnostic {
  return { severity: 'Error', source: block.source, start: startOf(node), end: endOf(node), message };
}

const WANTED: Partial<Record<ValueType, string>> = {
  strings: 'array',
  targets: 'array',
  receivers: 'array',
  map: 'object',
  rules: 'capsule',
  duration: 'string',
};
const LITERALS = { STRING: 'string', NUMBER: 'number', FLOAT: 'number', BOOL: 'bool', NULL: 'null' } as const;

/** Only what is written out is checked; references and calls are known when they are evaluated. */
function checkLiteral(expr: Expr, type: ValueType, source: Source): Diagnostic[] {
  const wrong = (message: string): Diagnostic[] => [
    { severity: 'Error', source, start: startOf(expr), end: endOf(expr), message },
  ];
  const wanted = WANTED[type] ?? type;
  if (type === 'any') return [];
  switch (expr.kind) {
    case 'array': {
      if (wanted !== 'array') return wrong(`expected ${wanted}, got array`);
      return type === 'strings' ? expr.items.flatMap((item) => checkLiteral(item, 'string', source)) : [];
    }
    case 'object':
      return wanted === 'object' ? [] : wrong(`expected ${wanted}, got object`);
    case 'literal': {
      const got = LITERALS[expr.type];
      if (got === 'null') return [];
      if (type === 'duration' && got === 'string') {
        const text = expr.text.slice(1, -1);
        return parseDuration(text) === undefined ? wrong(`time: invalid duration "${text}"`) : [];
      }
      const numeric = got === 'string' && Number.isFinite(Number(expr.text.slice(1, -1)));
      const converts = (wanted === 'string' && got === 'number') || (wanted === 'number' && numeric);
      return wanted === got || converts ? [] : wrong(`expected ${wanted}, got ${got}`);
    }
    default:
      return [];
  }
}
