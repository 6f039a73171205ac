// An agent that ends over and over, maybe by what it applies: after five starts within five minutes and no minute of
// rest it applies nothing new, and reports, until it has been up for five minutes or a person says `homeostat resume`.
// Starts are noted on disk, so that one that is killed counts; one that ended in order does not.
import fs from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import * as z from 'zod';
import type { Clock } from '../../kinds/ports.ts';
import { readIfThere, writeDurably } from '../journal/durable.ts';
import type { ConditionSet } from '../reconcile/conditions.ts';

const STARTS = 5;
const WITHIN_MS = 300_000;
const STABLE_MS = 60_000;
/** In a crash loop: it applies nothing meanwhile, so a minute says little. */
const CALM_MS = 300_000;

const Noted = z.object({
  /** Unix milliseconds, oldest first. */
  starts: z.array(z.number()),
  looping: z.boolean(),
});
type Noted = z.infer<typeof Noted>;
const NOTHING: Noted = { starts: [], looping: false };

export interface CrashLoopDeps {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Pick<Logger, 'warn' | 'info'>;
  /** The agent's own: Stable is kept in it once there was a crash loop. */
  readonly conditions: ConditionSet;
  /** It applies again: what was left is to be looked at. */
  readonly onEnd: () => void;
}

/** What a start leads to. Of what was noted, what lies in the future is from a clock that was wrong. */
function noteStart({ starts, looping }: Noted, nowMs: number): Noted {
  const recent = [...starts.filter((at) => at <= nowMs && at > nowMs - WITHIN_MS), nowMs].slice(-STARTS);
  return { starts: recent, looping: looping || recent.length >= STARTS };
}

export class CrashLoop {
  readonly #deps: CrashLoopDeps;
  readonly #file: string;
  #noted: Noted = NOTHING;
  #timer: { cancel(): void } | undefined;

  constructor(deps: CrashLoopDeps) {
    this.#deps = deps;
    this.#file = path.join(deps.stateDir, 'starts.json');
  }

  /** Notes this start; before anything is applied. */
  started(): void {
    const { clock, log } = this.#deps;
    this.#note(noteStart(this.#read(), clock.now()));
    const { looping, starts } = this.#noted;
    if (looping) {
      const message = `${starts.length} starts within ${WITHIN_MS / 60_000} minutes: nothing new is applied until the agent has been up for ${CALM_MS / 60_000} minutes; \`homeostat resume\` ends that now`;
      this.#report('False', 'CrashLoop', message);
      log.warn({ detail: message }, 'crash loop');
    }
    this.#timer = clock.setTimeout(
      () => this.#end('it has been up long enough'),
      looping ? CALM_MS : STABLE_MS,
    );
  }

  /** Whether nothing new is to be applied now. */
  crashLooping(): boolean {
    return this.#noted.looping;
  }

  /** A person says that it may apply again. */
  resume(): void {
    if (this.crashLooping()) this.#end('by homeostat resume');
  }

  /** @param wanted somebody wants the agent to end: this start was no crash. A loop that was one before stays one. */
  stopped(wanted: boolean): void {
    this.#timer?.cancel();
    if (wanted) this.#note({ ...this.#noted, starts: this.#noted.starts.slice(0, -1) });
  }

  #end(why: string): void {
    this.#timer?.cancel();
    const { looping } = this.#noted;
    this.#note(NOTHING);
    if (!looping) return;
    this.#report('True', 'Stable', `the crash loop is over: ${why}`);
    this.#deps.log.info({ detail: why }, 'the crash loop is over');
    this.#deps.onEnd();
  }

  #report(status: 'True' | 'False', reason: string, message: string): void {
    this.#deps.conditions.set('Stable', status, reason, message, this.#deps.clock.now());
  }

  /** A file that can't be read counts as empty: the agent must start. */
  #read(): Noted {
    try {
      return Noted.parse(JSON.parse(readIfThere(this.#file) ?? JSON.stringify(NOTHING)));
    } catch {
      return NOTHING;
    }
  }

  /** A full disk must not end an agent: it then counts in memory only. */
  #note(noted: Noted): void {
    this.#noted = noted;
    try {
      fs.mkdirSync(this.#deps.stateDir, { recursive: true, mode: 0o700 });
      writeDurably(this.#file, JSON.stringify(noted));
    } catch (error) {
      this.#deps.log.warn({ error, file: this.#file }, 'the starts of the agent can’t be noted');
    }
  }
}
