// What the HTTP server is given; nothing in here reaches for anything else.
import type { Logger } from 'pino';
import type { Clock } from '../../kinds/ports.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { SigningKeys } from '../fleet/keys.ts';
import type { ControllerMetrics } from '../metrics.ts';
import type { Whois } from '../source/whois.ts';
import type { AuditEntry, Store } from '../store/store.ts';
import type { Tokens } from '../store/tokens.ts';
import type { ConnectionLimits } from './connections.ts';
import type { ErrorCode } from './errors.ts';

export interface AppDeps {
  readonly fleet: Fleet;
  readonly store: Store;
  readonly tokens: Tokens;
  readonly keys: SigningKeys;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ControllerMetrics;
  readonly whois: Whois | undefined;
  readonly openReads: boolean;
  readonly names: readonly string[];
  /** With which a git host signs its hooks; without one there is no hook. */
  readonly hookSecret: string | undefined;
  /** With which Prometheus asks for its targets, where it has no identity of its own. */
  readonly sdToken: string | undefined;
  /** Has git looked at now. */
  readonly refresh: () => void;
  readonly audit: (entry: Omit<AuditEntry, 'at'>) => void;
  readonly onKeyChange: (host: string, keyId: string) => void;
  readonly connectionLimits?: ConnectionLimits;
  readonly onEnroll: (result: 'enrolled' | ErrorCode) => void;
}
