// Whether events arrive. A watch that is down, or a directory that has to be polled, costs seconds or minutes of drift
// instead of milliseconds: worth a condition and a metric.
import type { Clock, Files } from '../../kinds/ports.ts';
import type { AgentMetrics } from '../metrics.ts';
import type { ConditionSet } from '../reconcile/conditions.ts';

export interface WatchHealthDeps {
  /** The agent's own: WatchesUp and FilesWatched are kept in it. */
  readonly conditions: ConditionSet;
  readonly metrics: Pick<AgentMetrics, 'watch'>;
  readonly files: Pick<Files, 'polled'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly onChange: () => void;
}

export class WatchHealth {
  readonly #deps: WatchHealthDeps;
  readonly #down = new Set<string>();

  constructor(deps: WatchHealthDeps) {
    this.#deps = deps;
  }

  changed(key: string, up: boolean): void {
    this.#deps.metrics.watch(key, up);
    if (up) this.#down.delete(key);
    else this.#down.add(key);
    const down = [...this.#down].sort();
    const isNews =
      down.length === 0
        ? this.#set('WatchesUp', 'True', 'Watching', 'every watch stands')
        : this.#set(
            'WatchesUp',
            'False',
            'WatchDown',
            `no events of ${down.join(', ')}: only the resync sees it`,
          );
    if (isNews) this.#deps.onChange();
  }

  /** The key is gone, and with it its watch. */
  forget(key: string): void {
    if (this.#down.has(key)) this.changed(key, true);
  }

  /** To be called before the conditions are read: polling begins and ends in the files port. */
  lookForPolling(): void {
    const { files, conditions } = this.#deps;
    const polled = files.polled?.() ?? [];
    if (polled.length > 0) {
      const where = polled.join(', ');
      this.#set(
        'FilesWatched',
        'False',
        'Polling',
        `the system has no file watch left (fs.inotify.max_user_watches, max_user_instances), so drift is seen within seconds only in ${where}`,
      );
    } else if (conditions.get('FilesWatched') !== undefined) {
      this.#set('FilesWatched', 'True', 'Watched', 'every directory has its watch again');
    }
  }

  #set(type: string, status: 'True' | 'False', reason: string, message: string): boolean {
    return this.#deps.conditions.set(type, status, reason, message, this.#deps.clock.now());
  }
}
