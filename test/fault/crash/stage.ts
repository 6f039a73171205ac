// What a scenario of the crash suite is made of.
import type { Resource } from '../../../api/bundle.ts';
import type { Capability } from '../../support/capabilities.ts';
import type { FaultController } from '../support/controller.ts';
import type { FaultHost } from '../support/host.ts';

/** One revision of the manifest, and what every resource of it ends in. */
export interface Revision {
  readonly name: string;
  readonly resources: readonly Resource[];
  readonly outcomes: Readonly<Record<string, string>>;
  /** Instead of a new manifest: somebody changes the host. */
  readonly tamper?: () => void | Promise<void>;
}

/** A host that is ready for its first revision. */
export interface Stage {
  readonly host: FaultHost;
  readonly revisions: readonly Revision[];
  /** 'created' or 'adopted', by key. */
  readonly origins: Readonly<Record<string, 'created' | 'adopted'>>;
  /** A document's place changes, and what it was before homeostat with it. */
  readonly moves?: boolean;
  /** All that the kind may touch, as text. */
  fingerprint(): Promise<string>;
  /** How long a revision may take; default 20 s. */
  readonly withinMs?: number;
  /** Right after a kill. @throws when a reader could see something half-made. */
  inspect?(): void;
  /** Right after the agent is back, which is to apply some revision. @throws when that takes too long. */
  back?(): Promise<void>;
  /** After it converged. @throws when what runs was never gated, or runs twice. */
  settledCheck?(): Promise<void>;
  close(): Promise<void>;
}

export interface Scenario {
  readonly name: string;
  /** Slow ones run programs; there are fewer random moments of them. */
  readonly slow?: boolean;
  /** What the machine must have for it. */
  readonly requires?: Capability;
  open(common: { controller: FaultController; program: string }): Promise<Stage>;
  /** After the last of its stages: ends what they shared. */
  end?(): Promise<void>;
}

/** Fifteen seconds of a gate take less than one. */
export const HASTE = 20;

export function wholeOneOf(host: FaultHost, p: string, texts: readonly (string | undefined)[]): void {
  const now = host.read(p);
  if (!texts.includes(now)) throw new Error(`a reader of ${p} sees ${JSON.stringify(now?.slice(0, 60))}`);
}

export const LONG = 'a line that is long enough to be cut off half-way\n'.repeat(200);

export const USERS = 'as the user had it\n';
