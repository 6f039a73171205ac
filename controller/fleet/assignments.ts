// Which host is to run what. A good revision becomes new assignments in one step: stored first, then served. Each
// gets its envelope signed when its host first asks, and not before: a commit costs little until then.
import type { KeyObject } from 'node:crypto';
import { type Envelope, type SignedBundle, signEnvelope } from '../../api/bundle.ts';
import { API_VERSION, HostDocument } from '../../api/documents.ts';
import type { HostRevision, Revision } from '../pipeline/compile.ts';
import type { Assignment, Store } from '../store/store.ts';

/** An agent that says it saw a sequence more than this ahead of the clock is not believed: ten years. */
const BELIEVABLE_MS = 10 * 365 * 24 * 3600_000;

const COMMIT = /^[0-9a-f]{40,64}$/;

export interface Published {
  readonly sequence: number;
  readonly hosts: number;
  /** How many of them get another payload than before. */
  readonly changed: number;
  /** Whether it will outlive a restart. */
  readonly stored: boolean;
}

export class Assignments {
  readonly #store: Store;
  readonly #key: KeyObject;
  #byHost = new Map<string, Assignment>();
  #documents = new Map<string, HostDocument>();
  #signed = new Map<string, Omit<SignedBundle, 'payload'>>();
  #revision: ReadonlyMap<string, HostRevision> | undefined;
  /** Of what was published; single hosts may be above it. */
  #highest = 0;
  /** The highest sequence that each host has reported. */
  readonly #seen = new Map<string, number>();
  #stored = true;
  /** Payloads that the store lacks; undefined when that is to be found out. */
  #unsaved: { host: string; digest: string }[] | undefined;

  constructor(store: Store, key: KeyObject) {
    this.#store = store;
    this.#key = key;
  }

  /** What was served before the last stop. */
  load(): void {
    const assignments = this.#store.assignments();
    this.#take(assignments);
    const stored = Number(this.#store.meta('sequence') ?? Math.max(0, ...assignments.map((a) => a.sequence)));
    if (Number.isSafeInteger(stored)) this.#highest = Math.max(this.#highest, stored);
  }

  get(host: string): Assignment | undefined {
    return this.#byHost.get(host);
  }

  /** The Host document at the commit that is served. */
  document(host: string): HostDocument | undefined {
    const known = this.#documents.get(host);
    if (known !== undefined) return known;
    const assignment = this.#byHost.get(host);
    if (assignment === undefined) return undefined;
    // One that a later version wrote can't be read: git is, in a moment.
    const { data } = HostDocument.safeParse(JSON.parse(assignment.document));
    if (data !== undefined) this.#documents.set(host, data);
    return data;
  }

  all(): IterableIterator<Assignment> {
    return this.#byHost.values();
  }

  get size(): number {
    return this.#byHost.size;
  }

  /** Strong: the same tag means the same envelope. */
  static etag({ sequence, payloadDigest }: Assignment): string {
    return `"${sequence}-${payloadDigest.slice(0, 16)}"`;
  }

  signed(host: string): Omit<SignedBundle, 'payload'> {
    let signed = this.#signed.get(host);
    if (signed === undefined) {
      const { sequence, commit, payloadDigest, issuedAt } = this.#byHost.get(host)!;
      const envelope: Envelope = { apiVersion: API_VERSION, host, sequence, commit, payloadDigest, issuedAt };
      signed = signEnvelope(envelope, this.#key);
      this.#signed.set(host, signed);
    }
    return signed;
  }

  /** Undefined when the store was lost and no revision has been rendered since. */
  payload(host: string): string | undefined {
    const assignment = this.#byHost.get(host);
    const rendered = this.#revision?.get(host);
    if (rendered !== undefined && rendered.payloadDigest === assignment?.payloadDigest)
      return rendered.payloadText;
    return assignment === undefined ? undefined : this.#store.payload(assignment.payloadDigest);
  }

  /**
   * Notes what a host has seen: what it is sent must be above that, whatever was lost here. It concerns this host
   * alone, so that one that lies keeps nobody busy but itself.
   * @param commit of what it has, where it says so: another one under our own sequence is another controller's.
   * @returns whether its assignment was raised above that.
   */
  observe(host: string, sequence: number, nowMs: number, commit = ''): boolean {
    if (!Number.isSafeInteger(sequence) || sequence > nowMs + BELIEVABLE_MS) return false;
    if (sequence > (this.#seen.get(host) ?? 0)) this.#seen.set(host, sequence);
    const assignment = this.#byHost.get(host);
    if (assignment === undefined) return false;
    const isOther = sequence === assignment.sequence && COMMIT.test(commit) && commit !== assignment.commit;
    if (sequence < assignment.sequence || (sequence === assignment.sequence && !isOther)) return false;
    const raised = {
      ...assignment,
      sequence: this.#above(host, nowMs),
      issuedAt: new Date(nowMs).toISOString(),
    };
    this.#byHost.set(host, raised);
    this.#signed.delete(host);
    if (!this.#store.saveAssignment(raised)) this.#stored = false;
    return true;
  }

  forget(host: string): void {
    this.#seen.delete(host);
  }

  /** The least sequence, from `least` on, that this host takes. */
  #above(host: string, least: number): number {
    const seen = Math.max(this.#seen.get(host) ?? 0, this.#byHost.get(host)?.sequence ?? 0);
    return Math.max(seen + 1, least);
  }

  /**
   * @param meta of the new sequence: stored with the assignments, in the same transaction.
   * @returns undefined when every host has just this already.
   */
  publish(
    revision: Revision,
    nowMs: number,
    meta: (sequence: number) => Readonly<Record<string, string>>,
  ): Published | undefined {
    const changed = [...revision.hosts].filter(
      ([host, { payloadDigest }]) => this.#byHost.get(host)?.payloadDigest !== payloadDigest,
    );
    const first = this.#byHost.values().next().value;
    const same =
      changed.length === 0 && revision.hosts.size === this.#byHost.size && first?.commit === revision.commit;
    this.#revision = revision.hosts;
    if (same) return undefined;
    const sequence = Math.max(this.#highest + 1, nowMs);
    const issuedAt = new Date(nowMs).toISOString();
    const next = [...revision.hosts].map(([host, { document, payloadDigest }]) => ({
      host,
      sequence: this.#above(host, sequence),
      commit: revision.commit,
      payloadDigest,
      issuedAt,
      document: JSON.stringify(document),
    }));
    const stored = this.#store.saveAssignments(next, { ...meta(sequence), sequence: String(sequence) });
    this.#take(next);
    this.#highest = sequence;
    this.#documents = new Map([...revision.hosts].map(([host, { document }]) => [host, document]));
    this.#stored = stored;
    return { sequence, hosts: next.length, changed: changed.length, stored };
  }

  /**
   * Writes the texts of payloads that the store lacks, some at a time: a thousand hosts need not wait for the
   * disk. What a crash loses of them, the next compilation has again.
   * @returns whether more are to be written.
   */
  savePayloads(most: number): boolean {
    if (!this.#stored) return false;
    this.#unsaved ??= this.#store.missingPayloads();
    const batch = this.#unsaved.splice(0, most);
    const payloads = batch.flatMap(({ host, digest }) => {
      const rendered = this.#revision?.get(host);
      return rendered?.payloadDigest === digest ? [{ digest, text: rendered.payloadText }] : [];
    });
    if (payloads.length > 0 && !this.#store.savePayloads(payloads)) {
      this.#unsaved = undefined;
      return false;
    }
    if (batch.length > 0 && this.#unsaved.length === 0) this.#store.dropPayloads();
    return this.#unsaved.length > 0;
  }

  /** Whether the assignments that are served would outlive a restart. */
  get isStored(): boolean {
    return this.#stored;
  }

  /** Writes the assignments once more: into a store that was lost, or could not be written. */
  save(meta: Readonly<Record<string, string>>): void {
    this.#unsaved = undefined;
    this.#stored = this.#store.saveAssignments(this.#byHost.values(), {
      ...meta,
      sequence: String(this.#highest),
    });
  }

  #take(assignments: readonly Assignment[]): void {
    this.#byHost = new Map(assignments.map((a) => [a.host, a]));
    this.#documents = new Map();
    this.#signed = new Map();
    this.#unsaved = undefined;
  }
}
