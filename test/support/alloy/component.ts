/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): what a running component
 * is to the controller, and what surrounds it.
 */
import type { Args, Scope } from './evaluate.ts';
import type { Reading } from './host.ts';
import type { Metrics, Scoped } from './metrics.ts';

export interface Surroundings {
  /** `--storage.path`; components keep positions below it. */
  storagePath: string;
  /** How long a replaced queue may try to empty itself, in ms; 60 000 in real Alloy. */
  flushMs: number;
  /** The program that loki.source.journal follows. */
  journalctl: string;
  metrics: Metrics;
  /** Series of the whole process. */
  process: Scoped;
  /** Collectors that are scraped in memory, by the path of their address. */
  inMemory: Map<string, () => Reading[]>;
  log(level: 'info' | 'warn' | 'error', message: string, details?: Record<string, string | number>): void;
}

export interface Component {
  readonly exports: Scope;
  /** New arguments; resolves when they are in force. @throws Error when they can't be */
  update(args: Args): Promise<void>;
  stop(): Promise<void>;
}

/** Builds a component with its first arguments. @throws Error when they are refused */
export type Build = (id: string, args: Args, surroundings: Surroundings) => Component;

/** The scope in which a component's series live. */
export function scopeOf(id: string, surroundings: Surroundings): Scoped {
  return surroundings.metrics.scope({ component_id: id, component_path: '/' });
}

/** The host that Alloy names in `alloy.internal` addresses. */
export const IN_MEMORY = 'alloy.internal:12345';
