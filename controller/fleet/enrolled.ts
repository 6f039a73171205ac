// Who enrolled, in memory as in the store. A key that works is not displaced by an enrolment: the new one takes over
// with its first request, since the answer to an enrolment may be lost, or the new key never be written.
import type { EnrolledHost, HostKey, Store } from '../store/store.ts';

export class Enrolled {
  readonly #store: Store;
  #hosts = new Map<string, EnrolledHost>();
  /** Whose key took over, and could not be written yet. */
  readonly #unsaved = new Set<string>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** @throws sqlite's error */
  load(): void {
    this.#hosts = new Map(this.#store.hosts().map((host) => [host.name, host]));
    this.#unsaved.clear();
  }

  get(name: string): EnrolledHost | undefined {
    return this.#hosts.get(name);
  }

  has(name: string): boolean {
    return this.#hosts.has(name);
  }

  names(): IterableIterator<string> {
    return this.#hosts.keys();
  }

  /** The keys that may sign for it: the one that works, and one that enrolled since. */
  keys(name: string): HostKey[] {
    const host = this.#hosts.get(name);
    if (host === undefined) return [];
    return host.next === undefined ? [host] : [host, host.next];
  }

  /** What is to be recorded of a host that enrols with this key. */
  planned(name: string, { publicKey, nodeID }: HostKey, nowMs: number): EnrolledHost {
    const current = this.#hosts.get(name);
    if (current === undefined || (current.publicKey === publicKey && current.nodeID === nodeID))
      return { name, publicKey, nodeID, enrolledAt: nowMs };
    return { ...current, next: { publicKey, nodeID } };
  }

  /** It is in the store already. */
  recorded(host: EnrolledHost): void {
    this.#hosts.set(host.name, host);
  }

  /** The key that enrolled last is the one from now on. @returns whether there was such a key. */
  takeOver(name: string, nowMs: number): boolean {
    const next = this.#hosts.get(name)?.next;
    if (next === undefined) return false;
    this.#hosts.set(name, { name, ...next, enrolledAt: nowMs });
    this.#unsaved.add(name);
    this.save();
    return true;
  }

  forget(name: string): void {
    this.#hosts.delete(name);
    this.#unsaved.delete(name);
  }

  /** Reads again what another process may have changed. @returns who is gone. */
  refresh(): string[] {
    const now = this.#store.hostsIfReadable();
    if (now === undefined) return [];
    const before = this.#hosts;
    this.#hosts = new Map(now.map((host) => [host.name, host]));
    for (const name of this.#unsaved) {
      const host = before.get(name);
      if (host !== undefined && this.#hosts.has(name)) this.#hosts.set(name, host);
    }
    return [...before.keys()].filter((name) => !this.#hosts.has(name));
  }

  /** Writes what could not be written before. */
  save(): void {
    if (this.#unsaved.size === 0) return;
    const hosts = [...this.#unsaved].flatMap((name) => this.#hosts.get(name) ?? []);
    if (this.#store.saveHosts(hosts)) this.#unsaved.clear();
  }
}
