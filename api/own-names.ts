// By which names a server of ours may be called. A page of somebody else's can have its own DNS name lead to an address
// of this network (DNS rebinding), and its scripts then read what answers there: the Host header still has that name.
import { isIP } from 'node:net';

/** Never given to anybody in the public DNS (RFC 6761, RFC 8375; .internal by ICANN's resolution of 2024). */
const RESERVED = /\.(?:localhost|internal|local|home\.arpa)$/;

/** The name in a Host header, without port and brackets; '' when there is none. */
export function nameInHost(header: string | undefined): string {
  return (header ?? '')
    .toLowerCase()
    .replace(/:\d*$/, '')
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
}

/** Whether nobody else can own this name: an address, one word, a reserved name, or one of `names`. */
export function isOwnName(name: string, names: readonly string[] = []): boolean {
  if (name === '') return false;
  return isIP(name) !== 0 || /^[a-z0-9_-]+$/.test(name) || RESERVED.test(name) || names.includes(name);
}

export interface BrowserHeaders {
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
  readonly 'sec-fetch-site'?: string | string[] | undefined;
  readonly 'sec-fetch-mode'?: string | string[] | undefined;
}

/**
 * Whether a page of another origin made a browser send this: by Origin, and by the Fetch metadata that browsers add and
 * scripts can't (W3C Fetch Metadata). A person who follows a link from elsewhere is not meant.
 */
export function isOfAnotherPage(method: string, headers: BrowserHeaders): boolean {
  const { origin } = headers;
  const host = (headers.host ?? '').toLowerCase();
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) return true;
  const site = headers['sec-fetch-site'];
  if (site === undefined || site === 'same-origin' || site === 'none') return false;
  return !((method === 'GET' || method === 'HEAD') && headers['sec-fetch-mode'] === 'navigate');
}
