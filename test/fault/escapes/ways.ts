// A way out, as it is listed.
import type { Escape, Stage } from './stage.ts';

export interface Way {
  readonly name: string;
  /** What its honest version is: in the quick form each is tried once. */
  readonly twin: string;
  /** Of apt there is one on a host: these are tried one after another. */
  readonly needs?: 'apt';
  escape(s: Stage): Escape | Promise<Escape>;
}
