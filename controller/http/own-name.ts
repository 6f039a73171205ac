// On every route, before anything else: whether the controller is called by a name of its own, and by no page of another
// origin. Otherwise any page in the browser of somebody on the tailnet could read the fleet (DNS rebinding).
import type { FastifyRequest } from 'fastify';
import { isOfAnotherPage, isOwnName, nameInHost } from '../../api/own-names.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { Whois } from '../source/whois.ts';
import { HttpError } from './errors.ts';

export interface OwnNameDeps {
  readonly clock: Pick<Clock, 'now'>;
  readonly whois: Whois | undefined;
  /** Those of --name. */
  readonly names: readonly string[];
}

/** A wrong name has tailscaled asked no more often: a node is rarely renamed. */
const ASK_AGAIN_MS = 60_000;

export class OwnName {
  readonly #deps: OwnNameDeps;
  #ofNode: readonly string[] = [];
  #askedAt = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;

  constructor(deps: OwnNameDeps) {
    this.#deps = deps;
  }

  /** @throws HttpError */
  async require(request: FastifyRequest): Promise<void> {
    const name = nameInHost(request.headers.host);
    if (!isOwnName(name, this.#deps.names) && !(await this.#isOfNode(name))) {
      const shown = name.slice(0, 100);
      const how = /^[a-z0-9.-]+$/.test(shown)
        ? `start it with --name ${shown}, or call it by its address`
        : 'call it by its address, or by a name that was given with --name';
      throw new HttpError('WrongHost', `the controller is not known as ${JSON.stringify(shown)}: ${how}`);
    }
    if (isOfAnotherPage(request.method, request.headers)) {
      const { origin } = request.headers;
      const page = origin === undefined ? 'another site' : origin.slice(0, 100);
      throw new HttpError('WrongOrigin', `a page of ${page} may not ask here`);
    }
  }

  /** The node's own name in its tailnet needs no flag. */
  async #isOfNode(name: string): Promise<boolean> {
    if (this.#ofNode.includes(name)) return true;
    const { clock } = this.#deps;
    if (clock.now() - this.#askedAt >= ASK_AGAIN_MS) {
      this.#askedAt = clock.now();
      this.#asking = this.#ask();
    }
    await this.#asking;
    return this.#ofNode.includes(name);
  }

  async #ask(): Promise<void> {
    try {
      this.#ofNode = (await this.#deps.whois?.names?.()) ?? [];
    } catch {
      // tailscaled is down: its name is asked for again, and addresses work meanwhile.
    }
  }
}
