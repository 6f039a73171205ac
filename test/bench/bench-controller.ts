// A controller that has one signed bundle for one host and nothing else: what a new revision costs an agent is then
// all that is measured. Agents' signatures are not looked at.
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Resource, rawPublicKey } from '../../api/bundle.ts';
import { newSeed } from '../../controller/fleet/keys.ts';
import { BUNDLE_KEY, signedBundle } from './agents.ts';

export interface BenchController {
  /** For `startAgent`. */
  readonly known: { readonly url: string; readonly publicKey: string; readonly seed: string };
  publish(resources: readonly Resource[]): void;
  stop(): Promise<void>;
}

export async function benchController(resources: readonly Resource[]): Promise<BenchController> {
  let sequence = 1;
  let text = signedBundle(sequence, resources);
  const waiting = new Set<http.ServerResponse>();
  const answer = (response: http.ServerResponse): void => {
    waiting.delete(response);
    response.writeHead(200, { 'content-type': 'application/json', etag: `"${sequence}"` }).end(text);
  };
  const server = http.createServer((request, response) => {
    request.resume();
    if (request.method !== 'GET') request.once('end', () => response.writeHead(204).end());
    else if (request.headers['if-none-match'] !== `"${sequence}"`) answer(response);
    else waiting.add(response.once('close', () => waiting.delete(response)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    known: { url: `http://127.0.0.1:${port}`, publicKey: rawPublicKey(BUNDLE_KEY), seed: newSeed() },
    publish(next) {
      sequence += 1;
      text = signedBundle(sequence, next);
      for (const response of [...waiting]) answer(response);
    },
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
