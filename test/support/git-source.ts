// A source of commits whose states can be waited for one after the other.
import type { TestContext } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { GitSource, type HeadState, type SourceOptions } from '../../controller/source/git-source.ts';
import type { Clock } from '../../kinds/ports.ts';

export interface Followed {
  readonly source: GitSource;
  readonly states: HeadState[];
  next(wanted: (state: HeadState) => boolean): Promise<HeadState>;
}

export async function followGit(
  t: TestContext,
  options: Partial<SourceOptions> & { repo: string; stateDir: string },
  clock: Pick<Clock, 'setTimeout' | 'monotonic'> = systemClock,
): Promise<Followed> {
  const states: HeadState[] = [];
  let wake = (): void => {};
  const source = new GitSource(
    { pollMs: 60_000, retryMs: 1, ...options },
    { clock, environment: process.env },
  );
  t.after(() => source.stop());
  await source.start((state) => {
    states.push(state);
    wake();
  });
  const next = async (wanted: (state: HeadState) => boolean): Promise<HeadState> => {
    for (;;) {
      const found = states.find(wanted);
      if (found) return found;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { source, states, next };
}

/** Of the newest state: the commit, or why there is none. */
export function newest({ states }: Followed): string {
  const state = states.at(-1);
  if (state === undefined) return 'nothing was reported';
  return 'head' in state ? state.head.commit : state.error;
}
