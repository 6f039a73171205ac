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
  /** What another one does to the host behind homeostat's back, by name: seen as a difference, and mended. */
  readonly breakages: Readonly<Record<string, () => void | Promise<void>>>;
  /** Those of them that no event reports: a resync finds them. */
  readonly silent?: readonly string[];
  /**
   * What breaks it without a difference that an apply could mend, and how others repair it: never Yes in between. Each
   * way in which what the files say may be right while the host is not belongs here.
   */
  readonly unwell?: Readonly<
    Record<string, { harm(): void | Promise<void>; repair(): void | Promise<void> }>
  >;
  /** The whole of the host as far as the kind could write to it, to be compared. */
  fingerprint(): string | Promise<string>;
}
