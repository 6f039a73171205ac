// Addresses that ports are published on, in one spelling. Pure.

const PART = '(?:0|[1-9]\\d{0,2})';
const IPV4 = new RegExp(`^${PART}(?:\\.${PART}){3}$`);

/**
 * The address that an engine makes of a text: '' is every address of the host, a mapped IPv6 address is the IPv4 one.
 * What no engine takes (0, 0.0, 0x7f000001, 0177.0.0.1) stays as it is written, and so is no loopback address.
 */
export function hostAddress(text: string): string {
  const bare = text.replace(/^\[(.*)\]$/, '$1');
  if (bare === '') return '0.0.0.0';
  if (isIPv4(bare)) return bare;
  if (!/^[0-9A-Fa-f:.]+$/.test(bare) || !bare.includes(':') || !URL.canParse(`http://[${bare}]/`))
    return bare;
  const address = new URL(`http://[${bare}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(address);
  if (mapped === null) return address;
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** Whether only programs of the host reach it. Of an address as `hostAddress` gives it. */
export function isLoopback(address: string): boolean {
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

function isIPv4(text: string): boolean {
  return IPV4.test(text) && text.split('.').every((part) => Number(part) <= 255);
}
