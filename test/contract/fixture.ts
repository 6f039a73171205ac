// What the contract suite needs to know of a kind: some specs, ports that stand for a host, and ways to break it.
import type { TestContext } from 'node:test';
import type { AnyKind } from '../../kinds/kind.ts';
import type { Ports } from '../../kinds/ports.ts';
import type { Capability } from '../support/capabilities.ts';

export interface Fixture {
  readonly kind: AnyKind;
  /** What the machine must have for it. */
  readonly requires?: readonly Capability[];
  /** Ports on a fresh, small host; everything is gone after the test. */
  open(t: TestContext): Promise<Opened> | Opened;
}

export interface Opened {
  readonly ports: Partial<Ports>;
  /** Two desired states that differ. */
  readonly specs: readonly [Record<string, unknown>, Record<string, unknown>];
  /** What another one does to the host behind homeostat's back, by name. */
  readonly breakages: Readonly<Record<string, () => void | Promise<void>>>;
  /** Those of them that no event tells: a resync finds them. */
  readonly silent?: readonly string[];
  /**
   * For a kind that only reports: what is broken becomes right again, by others. The suite then wants that each
   * breakage is told and no longer told after that, and that neither is ever a difference.
   */
  readonly repair?: () => void | Promise<void>;
  /** The whole of the host as far as the kind could write to it, to be compared. */
  fingerprint(): string | Promise<string>;
}
