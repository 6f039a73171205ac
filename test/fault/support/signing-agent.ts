// An agent that signs as real ones do, and does nothing else.
import { keyIdOf, privateKeyOf, rawPublicKey } from '../../../api/bundle.ts';
import { signRequest } from '../../../api/signatures.ts';
import type { AgentStatus } from '../../../api/status.ts';
import { newSeed } from '../../../controller/fleet/keys.ts';
import { statusOf } from '../../support/agent-status.ts';

/** As far as a controller can tell, an agent. */
export class SigningAgent {
  readonly host: string;
  readonly seed: string;
  readonly #controller: { readonly url: string };

  constructor(controller: { readonly url: string }, host: string, seed = newSeed()) {
    this.#controller = controller;
    this.host = host;
    this.seed = seed;
  }

  enroll(token: string, sequenceSeen = 0): Promise<{ status: number; text: string }> {
    const publicKey = rawPublicKey(privateKeyOf(this.seed));
    const body = JSON.stringify({ token, host: this.host, publicKey, sequenceSeen });
    return this.#send('POST', '/v1/enroll', body);
  }

  bundle(): Promise<{ status: number; text: string }> {
    return this.#send('GET', `/v1/hosts/${this.host}/bundle`);
  }

  /** The sequence that it is sent. @throws Error when it is not answered. */
  async sequence(): Promise<number> {
    const { status, text } = await this.bundle();
    if (status !== 200) throw new Error(`${this.host} is answered ${status} ${text.slice(0, 300)}`);
    const { envelope } = JSON.parse(text) as { envelope: string };
    const known = JSON.parse(envelope) as { sequence: number };
    return known.sequence;
  }

  async report(over: Partial<AgentStatus> = {}): Promise<void> {
    const at = new Date().toISOString();
    const none = { sequence: { desired: 0, attempted: 0, running: 0 }, commit: { desired: '', running: '' } };
    const status = statusOf(this.host, { at, ...none, ...over });
    const answer = await this.#send('PUT', `/v1/hosts/${this.host}/status`, JSON.stringify(status));
    if (answer.status !== 204) throw new Error(`the status is answered ${answer.status} ${answer.text}`);
  }

  async #send(method: string, url: string, body?: string): Promise<{ status: number; text: string }> {
    const privateKey = privateKeyOf(this.seed);
    const keyId = keyIdOf(rawPublicKey(privateKey));
    const createdSeconds = Math.floor(Date.now() / 1000);
    const more = body === undefined ? {} : { body };
    const headers = signRequest({ method, url, privateKey, keyId, createdSeconds, ...more });
    const response = await fetch(this.#controller.url + url, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...more,
    });
    return { status: response.status, text: await response.text() };
  }
}
