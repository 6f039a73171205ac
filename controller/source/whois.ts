// Asks this machine's tailscaled who is at the other end of a connection: its LocalAPI (FACTS.md), unix socket,
// GET /localapi/v0/whois?addr=IP:PORT. The answer names a node and a user, not a process.
import { Agent, request } from 'undici';
import * as z from 'zod';

/** The capability that tailnet policy may grant instead of a login being listed in Fleet.operators. */
export const OPERATOR_CAPABILITY = 'homeostat.dev/cap/operator';

export interface Peer {
  /** StableNodeID. */
  readonly nodeID: string;
  readonly nodeName: string;
  /** 'alice@example.com'; for a tagged device '', since it is nobody's. */
  readonly login: string;
  readonly capabilities: readonly string[];
}

export interface Whois {
  /** Undefined for an address that is not on the tailnet. @throws Error when tailscaled can't be asked. */
  whois(address: string, port: number): Promise<Peer | undefined>;
  /** The names of this node in its tailnet, by which browsers may call. @throws Error when tailscaled can't be asked. */
  names?(): Promise<readonly string[]>;
  close(): Promise<void>;
}

// tailscale.com/client/tailscale/apitype.WhoIsResponse, as far as it is needed.
const Answer = z.object({
  Node: z.object({ StableID: z.string(), Name: z.string().default(''), Tags: z.array(z.string()).nullish() }),
  UserProfile: z.object({ LoginName: z.string().default('') }).nullish(),
  CapMap: z.record(z.string(), z.unknown()).nullish(),
});

// tailscale.com/ipn/ipnstate.Status, likewise.
const Status = z.object({ Self: z.object({ DNSName: z.string().default('') }).nullish() });

export class TailscaleWhois implements Whois {
  readonly #agent: Agent;

  constructor(socketPath: string) {
    this.#agent = new Agent({
      connect: { socketPath },
      headersTimeout: 3_000,
      bodyTimeout: 3_000,
      connections: 8,
    });
  }

  async whois(address: string, port: number): Promise<Peer | undefined> {
    const host = address.includes(':') ? `[${address}]` : address;
    const addr = encodeURIComponent(`${host}:${port}`);
    const { status, body } = await this.#get(`whois?addr=${addr}`);
    if (status === 404) return undefined;
    if (status !== 200)
      throw new Error(`tailscaled answers whois with ${status}: ${body.slice(0, 200).trim()}`);
    const { Node, UserProfile, CapMap } = Answer.parse(JSON.parse(body));
    return {
      nodeID: Node.StableID,
      nodeName: Node.Name.replace(/\.$/, ''),
      login: (Node.Tags ?? []).length > 0 ? '' : (UserProfile?.LoginName ?? ''),
      capabilities: Object.keys(CapMap ?? {}),
    };
  }

  async names(): Promise<readonly string[]> {
    const { status, body } = await this.#get('status?peers=false');
    if (status !== 200) throw new Error(`tailscaled answers status with ${status}`);
    const name = (Status.parse(JSON.parse(body)).Self?.DNSName ?? '').replace(/\.$/, '').toLowerCase();
    return name === '' ? [] : [name];
  }

  async #get(path: string): Promise<{ status: number; body: string }> {
    const url = `http://local-tailscaled.sock/localapi/v0/${path}`;
    const response = await request(url, { dispatcher: this.#agent });
    return { status: response.statusCode, body: await response.body.text() };
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}
