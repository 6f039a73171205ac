// Which passes run, and since when: one that ignores its end shows by its age.
import type { Clock } from '../../kinds/ports.ts';

export class RunningPasses {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** In the order in which they began. */
  readonly #began = new Map<Promise<void>, number>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  during(pass: Promise<void>): Promise<void> {
    this.#began.set(pass, this.#clock.monotonic());
    return pass.finally(() => this.#began.delete(pass));
  }

  oldestAgeMs(): number | undefined {
    const [first] = this.#began.values();
    return first === undefined ? undefined : this.#clock.monotonic() - first;
  }
}
