// Addresses that a manifest has the agent ask: what they need of the host's owner.
import type { Permission } from '../kind.ts';

/** Scheme, host and port, in the one spelling that URLs have (url.spec.whatwg.org). A text that is no URL is itself. */
export function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url;
}

/** For an API that is asked at host:port, over HTTP. */
export function addressPermission(address: string, why: string): Permission {
  return { type: 'url', value: originOf(`http://${address}`), why };
}

/** For a connection and nothing more. @param address host:port */
export function connectPermission(address: string): Permission {
  const url = `http://${address}`;
  // Of a URL for its one spelling of a host; it leaves out the port that is http's own.
  const { hostname, port } = URL.canParse(url) ? new URL(url) : { hostname: address, port: '' };
  return { type: 'url', value: `tcp://${hostname}:${port || '80'}`, why: 'it is connected to' };
}
