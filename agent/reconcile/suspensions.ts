// `homeostat suspend` by hand: always with a time to live, kept over restarts, seen on the page. The key '*' is
// the whole host.
import path from 'node:path';
import * as z from 'zod';
import type { Clock } from '../../kinds/ports.ts';
import { readIfThere, writeDurably } from '../journal/durable.ts';

const Entries = z.record(z.string(), z.object({ untilMs: z.number(), reason: z.string() }));

export class Suspensions {
  readonly #file: string;
  readonly #clock: Clock;
  #entries: z.infer<typeof Entries> = {};

  constructor(stateDir: string, clock: Clock) {
    this.#file = path.join(stateDir, 'suspended.json');
    this.#clock = clock;
  }

  /** A file that can't be read counts as empty: it holds a convenience, no safety. */
  load(): void {
    try {
      const parsed = Entries.safeParse(JSON.parse(readIfThere(this.#file) ?? '{}'));
      this.#entries = parsed.success ? parsed.data : {};
    } catch {
      this.#entries = {};
    }
  }

  suspend(key: string, ttlMs: number, reason: string): void {
    this.#entries = { ...this.#entries, [key]: { untilMs: this.#clock.now() + ttlMs, reason } };
    this.#save();
  }

  /** @returns whether it was suspended. */
  resume(key: string): boolean {
    if (!(key in this.#entries)) return false;
    const { [key]: _, ...rest } = this.#entries;
    this.#entries = rest;
    this.#save();
    return true;
  }

  reasonFor(key: string): string | undefined {
    const entry = this.#live(key) ?? this.#live('*');
    return entry && `suspended by hand until ${new Date(entry.untilMs).toISOString()}: ${entry.reason}`;
  }

  /** Milliseconds until the first suspension ends; undefined when there is none. */
  nextEndMs(): number | undefined {
    const ends = Object.values(this.#entries).map((e) => e.untilMs - this.#clock.now());
    const live = ends.filter((ms) => ms > 0);
    return live.length === 0 ? undefined : Math.min(...live);
  }

  keys(): string[] {
    return Object.keys(this.#entries).filter((key) => this.#live(key) !== undefined);
  }

  #live(key: string) {
    const entry = this.#entries[key];
    return entry !== undefined && entry.untilMs > this.#clock.now() ? entry : undefined;
  }

  #save(): void {
    writeDurably(this.#file, JSON.stringify(this.#entries));
  }
}
