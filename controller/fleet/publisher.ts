// Follows git: each new head is read, compiled and, when it is good, published. One at a time; what came while
// one was under way is looked at next, and only the newest of it.
import type { Logger } from 'pino';
import { formatDiagnostic } from '../../api/diagnostics.ts';
import { inWords } from '../../api/errors.ts';
import type { Clock } from '../../kinds/ports.ts';
import { type Compilation, compile } from '../pipeline/compile.ts';
import type { Kinds } from '../pipeline/document.ts';
import type { Downloads } from '../source/downloads.ts';
import type { OpenSnapshot } from '../source/git-snapshot.ts';
import type { CommitInfo, HeadState } from '../source/git-source.ts';
import type { Fleet } from './fleet.ts';

interface Source {
  start(listener: (state: HeadState) => void): Promise<void>;
  stop(): Promise<void>;
  refresh(): Promise<void>;
  snapshot(commit: string): Promise<OpenSnapshot>;
}

export type PublishResult = 'published' | 'unchanged' | 'refused' | 'unreadable';
export const PUBLISH_RESULTS: readonly PublishResult[] = ['published', 'unchanged', 'refused', 'unreadable'];

export interface PublisherDeps {
  readonly source: Source;
  readonly fleet: Fleet;
  readonly kinds: Kinds;
  readonly downloads?: Downloads;
  readonly clock: Pick<Clock, 'monotonic' | 'setTimeout'>;
  readonly log: Logger;
  readonly onResult: (result: PublishResult, seconds: number) => void;
}

/** How soon to try again when a commit could not be read, though git names it. */
const RETRY_MS = 5_000;
/** How soon to try again what could not be downloaded; the last good revision serves meanwhile. */
const DOWNLOAD_AGAIN_MS = 60_000;

export class Publisher {
  readonly #deps: PublisherDeps;
  #last: Compilation | undefined;
  #wanted: CommitInfo | undefined;
  #working: Promise<void> | undefined;
  #retry: { cancel(): void } | undefined;
  #stopped = false;

  constructor(deps: PublisherDeps) {
    this.#deps = deps;
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
    const { source, fleet, kinds, downloads, clock, log, onResult } = this.#deps;
    const begun = clock.monotonic();
    const seconds = (): number => (clock.monotonic() - begun) / 1000;
    let snapshot: OpenSnapshot | undefined;
    try {
      snapshot = await source.snapshot(head.commit);
      this.#last = await compile(snapshot, kinds, this.#last, downloads);
      if (this.#stopped) return;
      if (this.#last.again && this.#wanted === undefined) {
        this.#retry = clock.setTimeout(() => this.#want(head), DOWNLOAD_AGAIN_MS);
      }
      const published = fleet.compiled(head, this.#last);
      if (this.#last.revision === undefined) {
        const errors = this.#last.diagnostics.filter((d) => d.severity === 'error').map(formatDiagnostic);
        log.warn(
          { commit: head.commit, errors: errors.length, first: errors.slice(0, 20) },
          'commit refused',
        );
        onResult('refused', seconds());
      } else if (published === undefined) onResult('unchanged', seconds());
      else {
        const fields = { commit: head.commit, ...published, durationSeconds: seconds() };
        log.info(fields, 'revision published');
        onResult('published', seconds());
      }
    } catch (error) {
      if (this.#stopped) return;
      log.warn({ commit: head.commit, error: inWords(error) }, 'commit can not be read');
      fleet.sourceChanged(`commit ${head.commit.slice(0, 12)} can't be read: ${inWords(error)}`);
      onResult('unreadable', seconds());
      this.#retry = clock.setTimeout(() => this.#want(head), RETRY_MS);
    } finally {
      await snapshot?.close();
    }
  }
}
