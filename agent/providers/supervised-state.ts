// What is known of a supervised unit: how it is defined, what runs, and how the last run ended.
import type { Clock, UnitState } from '../../kinds/ports.ts';
import type { Seal } from '../secrets/seal.ts';

export interface Definition {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly enabled: boolean;
  readonly masked: boolean;
}

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

export interface Running {
  /** Also its process group; 0 while it is being started. */
  readonly pid: number;
  readonly startTime: string;
  readonly invocationID: string;
  readonly startedAtMs: number;
}

export type State = Pick<UnitState, 'activeState' | 'subState' | 'result'>;
export const DEAD: State = { activeState: 'inactive', subState: 'dead', result: 'success' };
export const RUNNING: State = { activeState: 'active', subState: 'running', result: 'success' };

/** Of this agent's time: what ended while none ran left nothing behind. */
export type Facts = Pick<UnitState, 'restarts' | 'inactiveSinceMs' | 'livedMs' | 'endedItself'>;
export const NEVER_RAN: Facts = { restarts: 0, inactiveSinceMs: 0, livedMs: undefined, endedItself: false };
