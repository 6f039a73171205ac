// Which host is to run what. A good revision becomes new assignments in one step: stored first, then served. Each
// gets its envelope signed when its host first asks, and not before: a commit costs little until then.
import type { KeyObject } from 'node:crypto';
import { type Envelope, type SignedBundle, signEnvelope } from '../../api/bundle.ts';
import { API_VERSION, HostDocument } from '../../api/documents.ts';
import type { Assignment, Store } from '../store/store.ts';
import type { ServedRevision } from './revision.ts';

/** An agent that says it saw a sequence more than this ahead of the clock is not believed: ten years. */
const BELIEVABLE_MS = 10 * 365 * 24 * 3600_000;

const COMMIT = /^[0-9a-f]{40,64}$/;

export interface Published {
  readonly sequence: number;
  readonly hosts: number;
  /** How many of them get another payload than before. */
  readonly changed: number;
  /** Those whose agents have something to learn, and those that are no longer there. */
  readonly woken: readonly string[];
  /** Whether it will outlive a restart. */
  readonly stored: boolean;
}

export class Assignments {
  readonly #store: Store;
  readonly #key: KeyObject;
  #byHost = new Map<string, Assignment>();
  #documents = new Map<string, HostDocument>();
  #signed = new Map<string, Omit<SignedBundle, 'payload'>>();
  #revision: ServedRevision | undefined;
  /** The commit that was published last. */
  #commit = '';
  #highest = 0;
  /** The highest sequence that each host has reported. */
  readonly #seen = new Map<string, number>();
  #stored = true;
  /** Payloads that the store lacks; undefined when that is to be found out. */
  #unsaved: { host: string; digest: string }[] | undefined;
  /** Texts that came from elsewhere, to be written next, by digest. */
  #fetched = new Map<string, string>();
  /** Texts that nobody runs any more are still to be removed. */
  #dropping = false;

  constructor(store: Store, key: KeyObject) {
    this.#store = store;
    this.#key = key;
  }

  /** What was served before the last stop. */
  load(): void {
    const assignments = this.#store.assignments();
    // The store may be another one than before: nothing that was kept of hosts is right any more.
    this.#documents.clear();
    this.#signed.clear();
    this.#take(assignments, []);
    this.#commit = this.#store.meta('commit') ?? '';
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
    if (assignment === undefined) return undefined;
    return this.#textHere(host, assignment.payloadDigest) ?? this.#store.payload(assignment.payloadDigest);
  }

  /** The same, where the text may have to be asked for. */
  async payloadOf(host: string): Promise<string | undefined> {
    const here = this.payload(host);
    const assignment = this.#byHost.get(host);
    if (here !== undefined || assignment === undefined) return here;
    return this.#revision?.text?.(host, assignment.payloadDigest);
  }

  #textHere(host: string, payloadDigest: string): string | undefined {
    const rendered = this.#revision?.hosts.get(host);
    if (rendered?.payloadDigest !== payloadDigest) return undefined;
    return rendered.payloadText ?? this.#fetched.get(payloadDigest);
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
   * A host whose payload stays the same keeps its assignment, sequence and commit: its agent has nothing to learn.
   * @param meta of the new sequence: stored with the assignments, in the same transaction.
   * @returns undefined when this very commit is served already.
   */
  publish(
    revision: ServedRevision,
    nowMs: number,
    meta: (sequence: number) => Readonly<Record<string, string>>,
  ): Published | undefined {
    const sequence = Math.max(this.#highest + 1, nowMs);
    const issuedAt = new Date(nowMs).toISOString();
    const next: Assignment[] = [];
    const rows: Assignment[] = [];
    const changed: string[] = [];
    for (const [host, rendered] of revision.hosts) {
      const { payloadDigest } = rendered;
      const document = rendered.documentText ?? JSON.stringify(rendered.document);
      const before = this.#byHost.get(host);
      const same = before?.payloadDigest === payloadDigest;
      const kept = same && before.document === document;
      const envelope = same
        ? before
        : { sequence: this.#above(host, sequence), commit: revision.commit, payloadDigest, issuedAt };
      const assignment = kept ? before : { ...envelope, host, document };
      next.push(assignment);
      if (!kept) rows.push(assignment);
      if (!same) changed.push(host);
    }
    const gone = [...this.#byHost.keys()].filter((host) => !revision.hosts.has(host));
    this.#revision = revision;
    if (rows.length + gone.length === 0 && this.#commit === revision.commit) return undefined;
    const all = { ...meta(sequence), sequence: String(sequence), commit: revision.commit };
    // What could not be written before is written whole.
    const stored = this.#stored
      ? this.#store.changeAssignments(rows, gone, all)
      : this.#store.saveAssignments(next, all);
    this.#take(next, [...gone, ...rows.map(({ host }) => host)]);
    this.#commit = revision.commit;
    this.#highest = Math.max(this.#highest, sequence);
    this.#stored = stored;
    return { sequence, hosts: next.length, changed: changed.length, woken: [...changed, ...gone], stored };
  }

  /**
   * Fetches what `savePayloads` is to write next, where it is not in this thread.
   * @returns whether there is anything to be written.
   */
  async fetchPayloads(most: number): Promise<boolean> {
    const revision = this.#revision;
    if (!this.#stored) return false;
    this.#unsaved ??= this.#store.missingPayloads();
    const unsaved = this.#unsaved;
    const batch = unsaved.slice(0, most);
    if (revision?.text === undefined) return batch.length > 0;
    const texts = await Promise.all(batch.map(({ host, digest }) => revision.text?.(host, digest)));
    this.#fetched = new Map(
      batch.flatMap(({ digest }, i) => (texts[i] === undefined ? [] : [[digest, texts[i]]])),
    );
    // What can't be had any more is of an older commit.
    if (this.#unsaved === unsaved)
      this.#unsaved = [...batch.filter(({ digest }) => this.#fetched.has(digest)), ...unsaved.slice(most)];
    return this.#unsaved !== undefined && this.#unsaved.length > 0;
  }

  /**
   * Writes the texts of payloads that the store lacks, some at a time: a thousand hosts need not wait for the
   * disk. What a crash loses of them, the next compilation has again.
   * @returns whether more can be written.
   */
  savePayloads(most: number): boolean {
    if (!this.#stored) return false;
    this.#unsaved ??= this.#store.missingPayloads();
    const batch = this.#unsaved.slice(0, most);
    const payloads = batch.flatMap(({ host, digest }) => {
      const text = this.#textHere(host, digest);
      return text === undefined ? [] : [{ digest, text }];
    });
    // Elsewhere there may be more (fetchPayloads).
    const isElsewhere = this.#revision?.text !== undefined;
    if (isElsewhere && batch.length > 0 && payloads.length === 0) return false;
    this.#fetched = new Map();
    if (payloads.length > 0 && !this.#store.savePayloads(payloads)) {
      this.#unsaved = undefined;
      return false;
    }
    const written = new Set(payloads.map(({ digest }) => digest));
    const rest = isElsewhere ? batch.filter(({ digest }) => !written.has(digest)) : [];
    this.#unsaved = [...rest, ...this.#unsaved.slice(most)];
    if (batch.length > 0 && this.#unsaved.length === 0) this.#dropping = true;
    if (this.#unsaved.length === 0 && this.#dropping) this.#dropping = this.#store.dropPayloads(most);
    return this.#unsaved.length > 0 || this.#dropping;
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
      commit: this.#commit,
    });
  }

  /** @param changed hosts of which nothing that is kept is right any more. */
  #take(assignments: readonly Assignment[], changed: Iterable<string>): void {
    this.#byHost = new Map(assignments.map((a) => [a.host, a]));
    for (const host of changed) {
      this.#documents.delete(host);
      this.#signed.delete(host);
    }
    this.#unsaved = undefined;
  }
}
