// Follows git: each new head is read, compiled and, when it is good, published. One at a time; what came while
// one was under way is looked at next, and only the newest of it.
import type { Logger } from 'pino';
import { formatDiagnostic } from '../../api/diagnostics.ts';
import { inWords } from '../../api/errors.ts';
import type { Clock } from '../../kinds/ports.ts';
import { isUnreadable } from '../compiler/anew.ts';
import { InlineCompiler } from '../compiler/inline-compiler.ts';
import { Defect } from '../pipeline/defect.ts';
import type { Kinds } from '../pipeline/document.ts';
import type { Downloads } from '../source/downloads.ts';
import type { OpenSnapshot } from '../source/git-snapshot.ts';
import type { CommitInfo, HeadState } from '../source/git-source.ts';
import type { Fleet } from './fleet.ts';
import type { Compiled, Compiler } from './revision.ts';

interface Source {
  start(listener: (state: HeadState) => void): Promise<void>;
  stop(): Promise<void>;
  refresh(): Promise<void>;
  snapshot(commit: string): Promise<OpenSnapshot>;
}

export const PUBLISH_RESULTS = ['published', 'unchanged', 'refused', 'unreadable', 'defect'] as const;
export type PublishResult = (typeof PUBLISH_RESULTS)[number];

export interface PublisherDeps {
  readonly source: Source;
  readonly fleet: Fleet;
  readonly kinds?: Kinds;
  readonly downloads?: Downloads;
  /** Default: in this thread, with `kinds` and `downloads`. */
  readonly compiler?: Compiler;
  readonly clock: Pick<Clock, 'monotonic' | 'setTimeout'>;
  readonly log: Logger;
  readonly onResult: (result: PublishResult, seconds: number) => void;
}

/** How soon to try again when a commit could not be read, though git names it; doubled each time. */
const RETRY_MS = 5_000;
const MAX_RETRY_MS = 300_000;
/** How soon to try again what could not be downloaded; the last good revision serves meanwhile. */
const DOWNLOAD_AGAIN_MS = 60_000;

export class Publisher {
  readonly #deps: PublisherDeps;
  readonly #compiler: Compiler;
  #wanted: CommitInfo | undefined;
  #working: Promise<void> | undefined;
  #retry: { cancel(): void } | undefined;
  #stopped = false;
  #unread = { commit: '', times: 0 };

  constructor(deps: PublisherDeps) {
    this.#deps = deps;
    this.#compiler = deps.compiler ?? new InlineCompiler(deps.kinds ?? new Map(), deps.downloads);
  }

  /** Settles when what git says now has been taken over, or can't be. */
  async start(): Promise<void> {
    await this.#deps.source.start((state) => this.#seen(state));
    await this.#working;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#retry?.cancel();
    await this.#deps.source.stop();
    if (this.#working !== undefined) await this.#compiler.stop();
    await this.#working;
    this.#retry?.cancel();
  }

  /** Looks at git now, and settles when what it says has been taken over. */
  async refresh(): Promise<void> {
    await this.#deps.source.refresh();
    await this.#working;
  }

  #seen(state: HeadState): void {
    if ('error' in state) {
      this.#deps.log.warn({ error: state.error }, 'git can not be read');
      this.#deps.fleet.sourceChanged(state.error);
      return;
    }
    this.#deps.fleet.sourceChanged(undefined);
    this.#want(state.head);
  }

  #want(head: CommitInfo): void {
    this.#retry?.cancel();
    this.#wanted = head;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  async #work(): Promise<void> {
    while (this.#wanted !== undefined && !this.#stopped) {
      const head = this.#wanted;
      this.#wanted = undefined;
      await this.#take(head);
    }
  }

  async #take(head: CommitInfo): Promise<void> {
    const { source, clock, log, onResult } = this.#deps;
    const begun = clock.monotonic();
    let snapshot: OpenSnapshot | undefined;
    try {
      snapshot = await source.snapshot(head.commit);
      const compiled = await this.#compiler.compile(snapshot);
      if (this.#stopped) return;
      const result = this.#publish(head, compiled, begun);
      onResult(result, (clock.monotonic() - begun) / 1000);
    } catch (error) {
      if (this.#stopped) return;
      const result = isUnreadable(error) ? this.#unreadable(head, error) : this.#defect(head, error);
      onResult(result, (clock.monotonic() - begun) / 1000);
    } finally {
      await snapshot
        ?.close()
        .catch((error: unknown) => log.warn({ error: inWords(error) }, 'git did not end'));
    }
  }

  #publish(head: CommitInfo, compiled: Compiled, begun: number): PublishResult {
    const { fleet, clock, log } = this.#deps;
    if (compiled.again && this.#wanted === undefined) this.#again(head, DOWNLOAD_AGAIN_MS);
    const published = fleet.compiled(head, compiled);
    if (compiled.revision === undefined) {
      const errors = compiled.diagnostics.filter((d) => d.severity === 'error').map(formatDiagnostic);
      log.warn({ commit: head.commit, errors: errors.length, first: errors.slice(0, 20) }, 'commit refused');
      return 'refused';
    }
    if (published === undefined) return 'unchanged';
    const durationSeconds = (clock.monotonic() - begun) / 1000;
    const { sequence, hosts, changed, stored } = published;
    const fields = { commit: head.commit, sequence, hosts, changed, stored };
    log.info({ ...fields, durationSeconds }, 'revision published');
    return 'published';
  }

  #unreadable(head: CommitInfo, error: unknown): PublishResult {
    const { fleet, log } = this.#deps;
    const times = this.#unread.commit === head.commit ? this.#unread.times : 0;
    this.#unread = { commit: head.commit, times: times + 1 };
    log.warn({ commit: head.commit, error: inWords(error) }, 'commit can not be read');
    fleet.sourceChanged(`commit ${head.commit.slice(0, 12)} can't be read: ${inWords(error)}`);
    this.#again(head, Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** times));
    return 'unreadable';
  }

  /** The same commit would fail in the same way: the next one is tried, and the last good one serves. */
  #defect(head: CommitInfo, error: unknown): PublishResult {
    const { fleet, log } = this.#deps;
    const where = error instanceof Defect ? ` at ${error.where}` : '';
    log.error(
      { commit: head.commit, err: error },
      'a defect of homeostat keeps a commit from being published',
    );
    fleet.defectFound(
      `commit ${head.commit.slice(0, 12)} can't be published because of a defect of homeostat${where}: ${inWords(error)}; please report it, and commit without what it is about`,
    );
    return 'defect';
  }

  #again(head: CommitInfo, ms: number): void {
    this.#retry?.cancel();
    this.#retry = this.#deps.clock.setTimeout(() => this.#want(head), ms);
  }
}
