// The controller's state, put together: who enrolled, what is assigned, what the agents say, what git says. HTTP,
// page, metrics and CLI read it here; the publisher, enrolment and the agents' statuses change it.
import type { KeyObject } from 'node:crypto';
import * as z from 'zod';
import { type Diagnostic, formatDiagnostic } from '../../api/diagnostics.ts';
import { FleetDocument } from '../../api/documents.ts';
import { HOST_STATES } from '../../api/health.ts';
import type { AgentStatus } from '../../api/status.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { Use } from '../pipeline/revision.ts';
import type { CommitInfo } from '../source/git-source.ts';
import type { Store } from '../store/store.ts';
import { Assignments, type Published } from './assignments.ts';
import { Members } from './members.ts';
import type { Compiled } from './revision.ts';
import { mapInSlices } from './slices.ts';
import { Statuses } from './statuses.ts';
import { unknownKinds } from './unknown-kinds.ts';
import { type FleetView, type HostView, summarise, viewHost } from './view.ts';
import { Waiters } from './waiters.ts';

/** Some milliseconds of work. */
const PAYLOADS_AT_ONCE = 200;
const STATUSES_AT_ONCE = 500;

export interface FleetDeps {
  readonly store: Store;
  readonly signingKey: KeyObject;
  readonly clock: Clock;
  /** How long a host that left git is remembered; default for ever. */
  readonly forgetAfterMs?: number;
}

const Serving = z.object({
  commit: z.string(),
  subject: z.string(),
  author: z.string(),
  at: z.string(),
  publishedAt: z.string(),
  sequence: z.number(),
});
type Serving = z.infer<typeof Serving>;

/** What is told to whoever listens (SSE): that something is to be looked at again. */
export type FleetChange = {
  readonly type: 'published' | 'source' | 'status' | 'enrolled' | 'forgotten';
  readonly host?: string;
};

export class Fleet {
  readonly assignments: Assignments;
  readonly statuses: Statuses;
  readonly waiters: Waiters;
  readonly members: Members;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #listeners = new Set<(change: FleetChange) => void>();
  #document: FleetDocument | undefined;
  #serving: Serving | undefined;
  #head: CommitInfo | undefined;
  #compilation: Pick<Compiled, 'revision' | 'diagnostics'> | undefined;
  #sourceProblem: string | undefined;
  #defect: string | undefined;
  #uses: readonly Use[] = [];
  /** Of the served revision; found again when it is asked for, once it or an agent changed. */
  #unknownKinds: readonly Diagnostic[] | undefined;
  #viewing: Promise<FleetView> | undefined;

  constructor({ store, signingKey, clock, forgetAfterMs = Number.POSITIVE_INFINITY }: FleetDeps) {
    this.#store = store;
    this.#clock = clock;
    this.assignments = new Assignments(store, signingKey);
    this.statuses = new Statuses(store);
    this.waiters = new Waiters(clock);
    const { assignments, statuses, waiters } = this;
    const tell = this.#tell.bind(this);
    this.members = new Members({ store, clock, forgetAfterMs, assignments, statuses, waiters, tell });
  }

  /** What the last run left in the store. It is served before git has been looked at. */
  load(): void {
    this.members.load();
    this.assignments.load();
    this.statuses.load();
    for (const { host, sequence, commit } of this.statuses.all()) this.#noteSeen(host, sequence, commit);
    const serving = Serving.safeParse(JSON.parse(this.#store.meta('serving') ?? 'null'));
    if (serving.success) this.#serving = serving.data;
    const document = FleetDocument.safeParse(JSON.parse(this.#store.meta('fleet') ?? 'null'));
    if (document.success) this.#document = document.data;
  }

  /** Another file is the store now, a backup for one: it is read as at a start, and git's revision is put over it. */
  reload(): void {
    const served = [...this.assignments.all()];
    this.load();
    for (const { host, sequence, commit } of served)
      this.assignments.observe(host, sequence, this.#clock.now(), commit);
    if (this.#head !== undefined && this.#compilation !== undefined)
      this.compiled(this.#head, this.#compilation);
    for (const { host } of served) this.waiters.wake(host);
  }

  onChange(listener: (change: FleetChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** git could not be read, or could again. */
  sourceChanged(problem: string | undefined): void {
    this.#sourceProblem = problem;
    this.#tell({ type: 'source' });
  }

  /** The newest commit can't be published, and git is not to blame. */
  defectFound(message: string): void {
    this.#defect = message;
    this.#tell({ type: 'source' });
  }

  /**
   * Takes over what came out of a commit; without a revision the last good one stays.
   * @returns undefined when nothing had to be published.
   */
  compiled(head: CommitInfo, compilation: Pick<Compiled, 'revision' | 'diagnostics'>): Published | undefined {
    this.#head = head;
    this.#compilation = compilation;
    this.#sourceProblem = undefined;
    this.#defect = undefined;
    const { revision } = compilation;
    if (revision === undefined) {
      this.#tell({ type: 'source' });
      return undefined;
    }
    const nowMs = this.#clock.now();
    this.#document = revision.fleet;
    this.#uses = revision.uses;
    this.#unknownKinds = undefined;
    const meta = (sequence: number): Record<string, string> => {
      const serving = { ...head, publishedAt: new Date(nowMs).toISOString(), sequence };
      return { serving: JSON.stringify(serving), fleet: JSON.stringify(revision.fleet ?? null) };
    };
    const published = this.assignments.publish(revision, nowMs, meta);
    if (published === undefined) {
      this.#tell({ type: 'source' });
      return undefined;
    }
    this.#serving = { ...head, publishedAt: new Date(nowMs).toISOString(), sequence: published.sequence };
    void this.waiters.wakeAll(published.woken);
    this.#tell({ type: 'published' });
    return published;
  }

  recordStatus(status: AgentStatus, text: string): void {
    const nowMs = this.#clock.now();
    const before = this.statuses.summary(status.host);
    const wasRefused = this.statuses.refusal(status.host) !== undefined;
    if (this.#noteSeen(status.host, status.sequence, status.commit)) this.waiters.wake(status.host);
    this.statuses.record(status, text, nowMs);
    const after = this.statuses.summary(status.host);
    if (before?.version !== after?.version || before?.kinds.join() !== after?.kinds.join())
      this.#unknownKinds = undefined;
    const same = JSON.stringify({ ...before, receivedAt: 0 }) === JSON.stringify({ ...after, receivedAt: 0 });
    if (!same || wasRefused) this.#tell({ type: 'status', host: status.host });
  }

  /** A report of this host can't be taken; the host is there all the same. */
  refuseStatus(host: string, reason: string): void {
    if (this.statuses.refuse(host, reason, this.#clock.now())) this.#tell({ type: 'status', host });
  }

  isOperator(login: string): boolean {
    return login !== '' && (this.#document?.spec.operators ?? []).includes(login);
  }

  get operators(): readonly string[] {
    return this.#document?.spec.operators ?? [];
  }

  /** The Fleet document of the revision that is served. */
  get document(): FleetDocument | undefined {
    return this.#document;
  }

  get compilation(): Pick<Compiled, 'revision' | 'diagnostics'> | undefined {
    return this.#compilation;
  }

  /** What is right in itself, and not for the hosts that it goes to. */
  get unknownKinds(): readonly Diagnostic[] {
    this.#unknownKinds ??= unknownKinds(this.#uses, (host) => this.statuses.summary(host));
    return this.#unknownKinds;
  }

  get defect(): string | undefined {
    return this.#defect;
  }

  get sourceProblem(): string | undefined {
    return this.#sourceProblem;
  }

  /** Whether there is something to serve, or git was read and there is nothing. */
  get isReady(): boolean {
    return this.#serving !== undefined || this.#compilation !== undefined;
  }

  /** Whether a revision is served: that of the last run, until git was read. */
  get isServing(): boolean {
    return this.#serving !== undefined;
  }

  /** Whether this is the tailnet node of a host in the revision that is served. */
  hasNode(nodeID: string): boolean {
    for (const { host } of this.assignments.all()) if (this.members.isNode(host, nodeID)) return true;
    return false;
  }

  host(name: string): HostView | undefined {
    const assignment = this.assignments.get(name);
    const status = this.statuses.summary(name);
    const enrolled = this.members.has(name);
    const refusal = this.statuses.refusal(name);
    if (assignment === undefined && status === undefined && !enrolled) return undefined;
    const known = {
      name,
      assignment,
      document: this.assignments.document(name),
      status,
      refusal,
      enrolled: enrolled || this.members.pinned(name).publicKey !== undefined,
    };
    return viewHost(known, this.#clock.now());
  }

  view(): FleetView {
    return this.#viewOf(this.#names().map((name) => this.host(name)!));
  }

  /** The same, with others served in between; who asks meanwhile gets the same one. */
  viewInSlices(): Promise<FleetView> {
    this.#viewing ??= mapInSlices(this.#names(), (name) => this.host(name))
      .then((hosts) => this.#viewOf(hosts.filter((host) => host !== undefined)))
      .finally(() => {
        this.#viewing = undefined;
      });
    return this.#viewing;
  }

  #names(): string[] {
    const names = new Set([...this.assignments.all()].map((a) => a.host));
    for (const { host } of this.statuses.all()) names.add(host);
    for (const name of this.members.names()) names.add(name);
    return [...names].sort();
  }

  #viewOf(hosts: HostView[]): FleetView {
    hosts.sort((a, b) => HOST_STATES.indexOf(a.state) - HOST_STATES.indexOf(b.state));
    const diagnostics = this.#compilation?.diagnostics ?? [];
    const errors = diagnostics.filter((d) => d.severity === 'error').map(formatDiagnostic);
    const view = {
      serving: this.#serving ?? null,
      head: this.#head ?? null,
      refused: errors.length === 0 ? null : { diagnostics: errors.slice(0, 200), errors: errors.length },
      warnings: [...this.unknownKinds, ...diagnostics]
        .filter((d) => d.severity === 'warning')
        .slice(0, 50)
        .map(formatDiagnostic),
      sourceProblem: this.#sourceProblem ?? null,
      defect: this.#defect ?? null,
      storeProblem: this.#store.problem ?? null,
      hosts,
      at: new Date(this.#clock.now()).toISOString(),
    };
    return { ...summarise(view), ...view };
  }

  /**
   * Writes what is only in memory.
   * @returns whether there is more to be written soon.
   */
  save(): boolean {
    this.members.save();
    if (!this.assignments.isStored) {
      const serving = this.#serving === undefined ? {} : { serving: JSON.stringify(this.#serving) };
      this.assignments.save({ ...serving, fleet: JSON.stringify(this.#document ?? null) });
    }
    const moreStatuses = this.statuses.flush(STATUSES_AT_ONCE);
    return this.assignments.savePayloads(PAYLOADS_AT_ONCE) || moreStatuses;
  }

  /** Before `save`: fetches what is not in this thread. @returns whether there are payloads to be written. */
  prepareSave(): Promise<boolean> {
    return this.assignments.fetchPayloads(PAYLOADS_AT_ONCE);
  }

  /** Looks at what others wrote, and for hosts that left git. @returns who was forgotten for that. */
  lookAround(): readonly string[] {
    const isGitKnown = this.#sourceProblem === undefined && this.#compilation?.revision !== undefined;
    return this.members.lookAround(isGitKnown);
  }

  #noteSeen(host: string, sequence: AgentStatus['sequence'], commit: AgentStatus['commit']): boolean {
    const seen = Math.max(sequence.seen ?? 0, sequence.desired, sequence.running);
    const known = sequence.desired === seen ? commit.desired : '';
    return this.assignments.observe(host, seen, this.#clock.now(), known);
  }

  #tell(change: FleetChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}
