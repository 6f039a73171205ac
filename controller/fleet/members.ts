// Which hosts belong to this controller, and by which keys they are known: what git pins, what enrolled, and how a
// host leaves.
import { ago } from '../../api/words.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { EnrolledHost, HostKey, Store } from '../store/store.ts';
import type { Assignments } from './assignments.ts';
import { Departures } from './departures.ts';
import { Enrolled } from './enrolled.ts';
import type { Statuses } from './statuses.ts';
import type { Waiters } from './waiters.ts';

export interface MembersDeps {
  readonly store: Store;
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly forgetAfterMs: number;
  readonly assignments: Assignments;
  readonly statuses: Statuses;
  readonly waiters: Pick<Waiters, 'wake'>;
  readonly tell: (change: { readonly type: 'enrolled' | 'forgotten'; readonly host: string }) => void;
}

/** A key that may sign for a host. */
export interface MemberKey extends HostKey {
  /** Enrolled while another one works; its first request has it take over. */
  readonly isNext: boolean;
}

export class Members {
  readonly #deps: MembersDeps;
  readonly #enrolled: Enrolled;
  readonly #departures: Departures;

  constructor(deps: MembersDeps) {
    this.#deps = deps;
    this.#enrolled = new Enrolled(deps.store);
    this.#departures = new Departures(deps.store, deps.forgetAfterMs);
  }

  /** @throws sqlite's error */
  load(): void {
    this.#deps.store.isChangedByOthers();
    this.#enrolled.load();
    this.#departures.load();
  }

  /** Writes what could not be written before. */
  save(): void {
    this.#enrolled.save();
  }

  has(host: string): boolean {
    return this.#enrolled.has(host);
  }

  names(): IterableIterator<string> {
    return this.#enrolled.names();
  }

  /** What git itself names, so that nothing else can be enrolled in its place. */
  pinned(host: string): Partial<HostKey> {
    const { publicKey, nodeID } = this.#deps.assignments.document(host)?.spec ?? {};
    return { ...(publicKey === undefined ? {} : { publicKey }), nodeID };
  }

  /** The keys that may sign for this host, each with the node that it must come from; git's win. */
  keys(host: string): MemberKey[] {
    this.#lookForOthers();
    const { assignments } = this.#deps;
    // What git pins can't be read: then nothing is known of who may sign.
    if (assignments.document(host) === undefined && assignments.get(host) !== undefined) return [];
    const pinned = this.pinned(host);
    const enrolled = this.#enrolled.keys(host).map((key, i) => ({ ...key, isNext: i === 1 }));
    const own =
      pinned.publicKey === undefined ? enrolled : enrolled.filter((k) => k.publicKey === pinned.publicKey);
    const keys =
      pinned.publicKey === undefined || own.length > 0
        ? own
        : [{ publicKey: pinned.publicKey, nodeID: enrolled[0]?.nodeID, isNext: false }];
    return keys.map((key) => ({
      publicKey: key.publicKey,
      nodeID: pinned.nodeID ?? key.nodeID,
      isNext: key.isNext,
    }));
  }

  /** Whether this is the host's tailnet node: the one that git pins, or else that of its enrolment. */
  isNode(host: string, nodeID: string): boolean {
    const pinned = this.pinned(host).nodeID;
    return pinned === undefined
      ? this.#enrolled.keys(host).some((key) => key.nodeID === nodeID)
      : pinned === nodeID;
  }

  enrolled(host: string): EnrolledHost | undefined {
    this.#lookForOthers();
    return this.#enrolled.get(host);
  }

  /** What is to be recorded of a host that enrols with this key. */
  planned(host: string, key: HostKey): EnrolledHost {
    return this.#enrolled.planned(host, key, this.#deps.clock.now());
  }

  /** It is in the store with its key now. */
  recorded(host: EnrolledHost): void {
    this.#enrolled.recorded(host);
    this.#deps.tell({ type: 'enrolled', host: host.name });
  }

  /** What a host says that it has seen: the next that it is sent is above that. */
  seen(host: string, sequence: number): void {
    const { assignments, waiters, clock } = this.#deps;
    if (assignments.observe(host, sequence, clock.now())) waiters.wake(host);
  }

  /** A request of this host was signed with this key. @returns whether it took over from another one. */
  keyUsed(host: string, key: MemberKey): boolean {
    return key.isNext && this.#enrolled.takeOver(host, this.#deps.clock.now());
  }

  /** Ends all that is known of hosts. @returns whether it could be written; else nothing was done. */
  forget(hosts: readonly string[], who: string, detail: string): boolean {
    if (!this.#deps.store.forgetHosts(hosts, this.#deps.clock.now(), who, detail)) return false;
    for (const host of hosts) this.#forgotten(host);
    return true;
  }

  /**
   * Looks at what others wrote, and for hosts that left git.
   * @param isGitKnown false while git can't be read, or is refused: then nobody has left.
   * @returns who was forgotten for having left.
   */
  lookAround(isGitKnown: boolean): readonly string[] {
    this.#lookForOthers();
    const { clock, assignments, statuses, forgetAfterMs } = this.#deps;
    const known = new Map<string, boolean>();
    for (const { host } of statuses.all()) known.set(host, assignments.get(host) !== undefined);
    for (const host of this.names()) known.set(host, assignments.get(host) !== undefined);
    const due = this.#departures.look(isGitKnown ? known : undefined, clock.now(), clock.monotonic());
    if (due.length === 0) return [];
    return this.forget(due, 'controller', `not in git for ${ago(forgetAfterMs)}`) ? due : [];
  }

  /** The command line works on the store beside a running controller: what it forgot is forgotten here. */
  #lookForOthers(): void {
    const { store, statuses } = this.#deps;
    if (!store.isChangedByOthers()) return;
    for (const host of this.#enrolled.refresh()) this.#forgotten(host);
    // Of one whose key git named, or that never enrolled.
    for (const host of statuses.removed()) if (!this.#enrolled.has(host)) this.#forgotten(host);
  }

  #forgotten(host: string): void {
    const { assignments, statuses, waiters, tell } = this.#deps;
    this.#enrolled.forget(host);
    statuses.forget(host);
    assignments.forget(host);
    waiters.wake(host);
    tell({ type: 'forgotten', host });
  }
}
