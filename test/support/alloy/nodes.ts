/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): a component as Alloy's web
 * API shows it (recorded in every case's `components`), and what its expressions may refer to.
 */
import type { Block } from './ast.ts';
import { blockId, endOf, startOf } from './ast.ts';
import type { Scope, Value } from './evaluate.ts';
import type { Reference } from './references.ts';
import { components as schemas } from './schema.ts';
import { ConfigError, type Diagnostic } from './source.ts';
import { standardLibrary } from './stdlib.ts';

export type References = Map<Block, Reference[]>;

export interface Node {
  id: string;
  name: string;
  label: string;
  references: string[];
  referencedBy: string[];
  dataFlowEdgesTo: string[];
  health: { state: 'healthy' | 'unhealthy'; message: string; updatedTime: string };
  liveDebugging: boolean;
}

/** Why a component could not take its new arguments. */
export class EvaluationError extends Error {
  override readonly cause: Error;

  constructor(step: string, cause: Error) {
    super(`${step}: ${cause.message}`);
    this.cause = cause;
  }

  /** An error that names no place is put on the whole block. */
  diagnostics(block: Block): Diagnostic[] {
    if (this.cause instanceof ConfigError) return this.cause.diagnostics;
    const message = `Failed to build component: ${this.message}`;
    return [{ severity: 'Error', source: block.source, start: startOf(block), end: endOf(block), message }];
  }
}

/** The standard library and the exports of what a block refers to, nested by name. */
export function scopeFor(references: Reference[], exportsOf: (id: string) => Scope): Scope {
  const scope: Scope = { ...standardLibrary };
  for (const { target } of references) {
    // A component that could not be evaluated still has its exports, empty ones.
    const empty = Object.fromEntries(
      Object.keys(schemaOf(target)?.exports ?? {}).map((name) => [name, null]),
    );
    const names = target.split('.');
    let here = scope;
    for (const name of names.slice(0, -1)) {
      // Copied on the way down: a component may share its first name with the library's objects.
      const inner = { ...((here[name] ?? {}) as Scope) };
      here[name] = inner;
      here = inner;
    }
    here[names.at(-1)!] = { ...empty, ...exportsOf(target) } as Value;
  }
  return scope;
}

export function nodeOf(block: Block, all: References, refused: EvaluationError | undefined): Node {
  const id = blockId(block);
  const mine = all.get(block) ?? [];
  const users = [...all]
    .map(([user, references]) => ({
      id: blockId(user),
      references: references.filter(({ target }) => target === id),
    }))
    .filter(({ references }) => references.length > 0);
  // Samples and entries are pushed along a reference, targets are pulled against it.
  const pushed = mine.filter((reference) => direction(reference) === 'pushed').map(({ target }) => target);
  const pulled = users.filter(({ references }) => references.some((one) => direction(one) === 'pulled'));
  return {
    id,
    name: block.name,
    label: block.label,
    references: [...new Set(mine.map(({ target }) => target))],
    referencedBy: users.map((user) => user.id),
    dataFlowEdgesTo: [...new Set([...pushed, ...pulled.map((user) => user.id)])],
    health: {
      state: refused ? 'unhealthy' : 'healthy',
      message: refused ? `component evaluation failed: ${refused.message}` : 'component evaluated',
      updatedTime: new Date().toISOString(),
    },
    liveDebugging: schemas.get(block.name)?.liveDebugging ?? false,
  };
}

function schemaOf(id: string): ReturnType<typeof schemas.get> {
  return schemas.get(id.slice(0, id.lastIndexOf('.')));
}

function direction(reference: Reference): 'pushed' | 'pulled' | 'shared' | undefined {
  return schemaOf(reference.target)?.exports[reference.field];
}
