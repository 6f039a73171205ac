/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): who refers to whom.
 * A dangling reference is found here, at the first name of the reference and over its whole length
 * (recorded in bad-ref).
 */
import type { Block, Expr, Ident, Statement } from './ast.ts';
import { blockId } from './ast.ts';
import { components, notModelled, services } from './schema.ts';
import type { Diagnostic } from './source.ts';

/** First names that belong to the standard library, not to a component. */
const STANDARD_LIBRARY = new Set([
  'constants',
  'coalesce',
  'json_path',
  'sys',
  'convert',
  'array',
  'encoding',
  'string',
  'file',
  'module_path',
]);
const DEPRECATED = new Set(
  'env nonsensitive concat json_decode yaml_decode base64_decode format join replace split to_lower to_upper trim trim_prefix trim_suffix trim_space'.split(
    ' ',
  ),
);

export interface Reference {
  /** Identifier of the block that is referred to. */
  target: string;
  /** What is taken from it: `receiver`, `targets`; empty for the whole. */
  field: string;
}

/** Uninterrupted chains of names (`a.b.c`) in the order of their appearance. */
function chains(statements: Statement[]): Ident[][] {
  const found: Ident[][] = [];
  const visit = (expr: Expr): Ident[] | undefined => {
    switch (expr.kind) {
      case 'literal':
        return undefined;
      case 'ident': {
        const chain = [expr.name];
        found.push(chain);
        return chain;
      }
      case 'access': {
        const chain = visit(expr.value);
        chain?.push(expr.name);
        return chain;
      }
      case 'index':
        visit(expr.value);
        visit(expr.index);
        return undefined;
      case 'call':
        visit(expr.value);
        for (const arg of expr.args) visit(arg);
        return undefined;
      case 'array':
        for (const item of expr.items) visit(item);
        return undefined;
      case 'object':
        for (const field of expr.fields) visit(field.value);
        return undefined;
      case 'unary':
        visit(expr.value);
        return undefined;
      case 'binary':
        visit(expr.left);
        visit(expr.right);
        return undefined;
      case 'paren':
        visit(expr.inner);
        return undefined;
    }
  };
  for (const statement of statements) {
    if (statement.kind === 'attribute') visit(statement.value);
    else found.push(...chains(statement.body));
  }
  return found;
}

/** The references of one block, and what is wrong with them. `ids` are the blocks that exist. */
export function referencesOf(
  block: Block,
  ids: ReadonlySet<string>,
): { references: Reference[]; diagnostics: Diagnostic[] } {
  const references: Reference[] = [];
  const diagnostics: Diagnostic[] = [];
  for (const chain of chains(block.body)) {
    const names = chain.map((ident) => ident.name);
    const first = chain[0]!;
    const last = chain.at(-1)!;
    const length = names.findIndex((_, index) => ids.has(names.slice(0, index + 1).join('.'))) + 1;
    const range = { source: block.source, start: first.at, end: last.at + last.name.length - 1 };
    if (length > 0) references.push({ target: names.slice(0, length).join('.'), field: names[length] ?? '' });
    else if (DEPRECATED.has(first.name)) {
      const message =
        'this stdlib function is deprecated; please refer to the documentation for updated usage and alternatives';
      diagnostics.push({ severity: 'Warning', message, ...range });
    } else if (!STANDARD_LIBRARY.has(first.name)) {
      const message = `component "${names.join('.')}" does not exist or is out of scope`;
      diagnostics.push({ severity: 'Error', message, ...range });
    }
  }
  return { references, diagnostics };
}

/** What the command line allows (internal/component/registry.go); levels of stability are not modelled. */
export interface Allowed {
  readonly community: boolean;
}

export function allowedBy(flags: ReadonlyMap<string, string>): Allowed {
  return { community: flags.get('--feature.community-components.enabled') === 'true' };
}

/** Duplicates, components without a label, and names that are no component: found before anything runs. */
export function structureOf(blocks: Block[], { community }: Allowed): Map<Block, Diagnostic[]> {
  const seen = new Map<string, Block>();
  const result = new Map<Block, Diagnostic[]>();
  for (const block of blocks) {
    const diagnostics: Diagnostic[] = [];
    const add = (message: string, length: number): void => {
      const range = { start: block.at, end: block.at + length - 1 };
      diagnostics.push({ severity: 'Error', source: block.source, message, ...range });
    };
    const id = blockId(block);
    const original = seen.get(id);
    const isService = services.has(block.name);
    if (notModelled.has(block.name)) {
      add(`homeostat's stand-in for Alloy does not model ${block.name} blocks`, block.name.length);
    } else {
      if (!isService && block.label === '') {
        add(`component "${block.name}" must have a label`, block.name.length);
      }
      if (original) {
        add(`block ${id} already declared at ${original.source.where(original.at)}`, id.length);
      } else seen.set(id, block);
      if (!isService && !components.has(block.name)) {
        add(`cannot find the definition of component name "${block.name}"`, block.name.length);
      } else if (components.get(block.name)?.community === true && !community) {
        add(
          `the component "${block.name}" is a community component. Use the --feature.community-components.enabled command-line flag to enable community components`,
          block.name.length,
        );
      }
    }
    result.set(block, diagnostics);
  }
  return result;
}

/** Attributes outside any block stop a config before its blocks are looked at. */
export function strayAttribute(statements: Statement[], source: Block['source']): Diagnostic | undefined {
  const stray = statements.find((statement) => statement.kind === 'attribute');
  if (stray?.kind !== 'attribute') return undefined;
  const { name } = stray;
  return {
    severity: 'Error',
    source,
    start: name.at,
    end: name.at + name.name.length - 1,
    message: `unrecognized attribute ${name.name}`,
  };
}

/** An order in which every block follows the blocks it refers to; and the circles that make it impossible. */
export function evaluationOrder(
  blocks: Block[],
  references: ReadonlyMap<Block, Reference[]>,
): { order: Block[]; circles: Block[][] } {
  const byId = new Map(blocks.map((block) => [blockId(block), block]));
  const state = new Map<Block, 'open' | 'done'>();
  const order: Block[] = [];
  let circles: Block[][] = [];
  const visit = (block: Block, path: Block[]): void => {
    if (state.get(block) === 'done') return;
    if (state.get(block) === 'open') {
      const circle = path.slice(path.indexOf(block));
      const meets = (other: Block[]): boolean => other.some((member) => circle.includes(member));
      const joined = new Set([...circles.filter(meets).flat(), ...circle]);
      circles = [...circles.filter((other) => !meets(other)), [...joined]];
      return;
    }
    state.set(block, 'open');
    for (const { target } of references.get(block) ?? []) {
      const next = byId.get(target);
      if (next) visit(next, [...path, block]);
    }
    state.set(block, 'done');
    order.push(block);
  };
  for (const block of blocks) visit(block, []);
  return { order, circles };
}

export function cycleDiagnostics(circles: Block[][]): Diagnostic[] {
  return circles.flatMap((circle) => {
    const names = circle.map(blockId).sort().join(', ');
    const message = circle.length > 1 ? `cycle detected: ${names}` : 'cannot reference self';
    return circle.map((block): Diagnostic => {
      return { severity: 'Error', source: block.source, start: block.at, end: block.open, message };
    });
  });
}
