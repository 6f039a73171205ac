/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): which components run, and
 * what a reload does to them. The trap that is recorded in bad-attr lies here: once a config parses and its
 * references hold, it *is* the pipeline. Components that it lacks stop, those that can't be evaluated are
 * unhealthy and go on with their old arguments, and the reload is answered with the error all the same.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Block, File } from './ast.ts';
import { blockId } from './ast.ts';
import { blocksOf } from './check.ts';
import type { Component, Surroundings } from './component.ts';
import { builders } from './components.ts';
import { type Args, decode } from './evaluate.ts';
import { EvaluationError, type Node, nodeOf, type References, scopeFor } from './nodes.ts';
import { checkScrape } from './prometheus.ts';
import { type Allowed, cycleDiagnostics, evaluationOrder, referencesOf, structureOf } from './references.ts';
import { components as schemas, services } from './schema.ts';
import { ConfigError, type Diagnostic } from './source.ts';

interface Running {
  component: Component;
  args: Args;
}

export class Controller {
  readonly #surroundings: Surroundings;
  readonly #allowed: Allowed;
  #nodes: Node[] = [];
  #running = new Map<string, Running>();
  /** The http block of the config that was loaded last. */
  http: Args | undefined;
  #loading: Promise<void> = Promise.resolve();

  constructor(surroundings: Surroundings, allowed: Allowed) {
    this.#surroundings = surroundings;
    this.#allowed = allowed;
  }

  /** The nodes, once no load is under way: Alloy's health and metrics wait for a reload too. */
  async nodes(): Promise<Node[]> {
    await this.#loading.catch(() => {});
    return this.#nodes;
  }

  /** @throws ConfigError with what is wrong; see above for what has changed then. */
  load(files: File[], first = false): Promise<void> {
    const load = this.#loading.catch(() => {}).then(() => this.#load(files, first));
    this.#loading = load;
    return load;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ component }) => component.stop()));
  }

  async #load(files: File[], first: boolean): Promise<void> {
    const blocks = blocksOf(files);
    const references = wire(blocks, this.#allowed);
    const { order } = evaluationOrder(blocks, references);
    const diagnostics: Diagnostic[] = [];
    const nodes: Node[] = [];
    const next = new Map<string, Running>();
    const started = new Set<Running>();
    this.http = undefined;
    for (const block of order) {
      const id = blockId(block);
      let refused: EvaluationError | undefined;
      try {
        await this.#evaluate(block, references, next, started);
      } catch (error) {
        if (!(error instanceof EvaluationError)) throw error;
        refused = error;
        diagnostics.push(...error.diagnostics(block));
        const old = this.#running.get(id);
        if (old) next.set(id, old);
      }
      if (!services.has(block.name)) nodes.push(nodeOf(block, references, refused));
    }
    if (first && diagnostics.length > 0) {
      for (const { component } of started) await component.stop();
      throw new ConfigError(diagnostics);
    }
    this.#retire(next);
    this.#nodes = nodes;
    this.#running = next;
    if (diagnostics.length > 0) throw new ConfigError(diagnostics);
  }

  /** Stops what the new config lacks, beside the load: a queue may take its time to become empty. */
  #retire(next: ReadonlyMap<string, Running>): void {
    for (const [id, { component }] of this.#running) {
      if (!next.has(id)) void component.stop();
    }
  }

  async #evaluate(
    block: Block,
    references: References,
    next: Map<string, Running>,
    started: Set<Running>,
  ): Promise<void> {
    const id = blockId(block);
    const schema = schemas.get(block.name) ?? services.get(block.name)!;
    const exportsOf = (other: string): Component['exports'] => next.get(other)?.component.exports ?? {};
    const scope = scopeFor(references.get(block) ?? [], exportsOf);
    const args = await during('decoding configuration', () => {
      const decoded = decode(block, schema, scope);
      if (block.name === 'prometheus.scrape') checkScrape(decoded);
      return decoded;
    });
    if (block.name === 'http') this.http = args;
    const build = builders[block.name];
    if (!build) return;
    const old = this.#running.get(id);
    if (!old) {
      const component = await during('building component', () => build(id, args, this.#surroundings));
      started.add({ component, args });
      next.set(id, { component, args });
      return;
    }
    if (!isDeepStrictEqual(old.args, args)) {
      await during('updating component', () => old.component.update(args));
    }
    next.set(id, { component: old.component, args });
  }
}

async function during<T>(step: string, act: () => T | Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw new EvaluationError(step, error as Error);
  }
}

/** References of all blocks; throws on whatever leaves the old pipeline as it was (recorded in bad-ref). */
function wire(blocks: Block[], allowed: Allowed): References {
  const diagnostics = [...structureOf(blocks, allowed).values()].flat();
  const ids = new Set(blocks.map(blockId));
  const references: References = new Map();
  for (const block of blocks) {
    const found = referencesOf(block, ids);
    references.set(block, found.references);
    diagnostics.push(...found.diagnostics.filter(({ severity }) => severity === 'Error'));
  }
  diagnostics.push(...cycleDiagnostics(evaluationOrder(blocks, references).circles));
  if (diagnostics.length > 0) throw new ConfigError(diagnostics);
  return references;
}
