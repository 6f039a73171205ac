// What is known of a supervised unit: how it is defined, what runs, and how the last run ended.
import * as z from 'zod';
import type { Clock, UnitState } from '../../kinds/ports.ts';
import type { Seal } from '../secrets/seal.ts';

/** As it stands on disk, sealed. */
export const Definition = z.object({
  command: z.array(z.string()).readonly(),
  env: z.record(z.string(), z.string()).readonly(),
  enabled: z.boolean(),
  masked: z.boolean(),
});
export type Definition = z.infer<typeof Definition>;

export interface UnitEnvironment {
  readonly stateDir: string;
  readonly seal: Seal;
  readonly clock: Clock;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
  /** How long a process may take to end before it is killed. */
  readonly stopTimeoutMs?: number;
}

/** As it stands on disk. */
export const Running = z.object({
  /** Also its process group; 0 while it is being started. */
  pid: z.int(),
  startTime: z.string(),
  invocationID: z.string(),
  startedAtMs: z.number(),
});
export type Running = z.infer<typeof Running>;

export type State = Pick<UnitState, 'activeState' | 'subState' | 'result'>;
export const DEAD: State = { activeState: 'inactive', subState: 'dead', result: 'success' };
export const RUNNING: State = { activeState: 'active', subState: 'running', result: 'success' };

/** Of this agent's time: what ended while none ran left nothing behind. */
export type Facts = Pick<UnitState, 'restarts' | 'inactiveSinceMs' | 'livedMs' | 'endedItself'>;
export const NEVER_RAN: Facts = { restarts: 0, inactiveSinceMs: 0, livedMs: undefined, endedItself: false };
