// OpenPGP public keys, as far as a keyring needs it: out of their armour, packet by packet, with the fingerprint that
// pins them and the day they expire (RFC 9580; version 4 also RFC 4880). Pure. Signatures are not verified here: apt
// does that, and nobody but the holder of a pinned key can sign for it.
import { createHash } from 'node:crypto';
import { binary, dearmour, KeyError, PRIVATE } from './armour.ts';

export interface PublicKey {
  /** Upper-case hexadecimal. */
  readonly fingerprint: string;
  /** When no key of it that signs is valid any more, unix milliseconds; undefined for never. */
  readonly expiresMs: number | undefined;
  /** The key itself and its subkeys, as far as they may sign. */
  readonly signing: readonly SigningKey[];
  /** The key with its subkeys, names and signatures, as it was found. */
  readonly packets: Buffer;
}

export interface SigningKey {
  readonly fingerprint: string;
  /** Unix milliseconds; undefined for never. */
  readonly expiresMs: number | undefined;
}

interface Packet {
  readonly tag: number;
  readonly body: Buffer;
  readonly raw: Buffer;
}

const SIGNATURE = 2;
const PUBLIC_KEY = 6;
const PUBLIC_SUBKEY = 14;
const PRIVATE_KEYS = [5, 7];

/** @param material armoured, binary, or base64 of binary. @throws KeyError */
export function readKeys(material: Buffer): PublicKey[] {
  try {
    return keysIn(binary(material));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new KeyError('it is broken: a packet ends before what it tells of');
  }
}

function keysIn(bytes: Buffer): PublicKey[] {
  const keys: Packet[][] = [];
  for (const packet of packetsIn(bytes)) {
    if (PRIVATE_KEYS.includes(packet.tag)) throw new KeyError(PRIVATE);
    if (packet.tag === PUBLIC_KEY) keys.push([]);
    keys.at(-1)?.push(packet);
  }
  if (keys.length === 0) throw new KeyError('there is no public key in it');
  return keys.map((packets) => {
    const signing = signingKeys(packets);
    return {
      fingerprint: fingerprintOf(packets[0]!.body),
      expiresMs: lastOf(signing),
      signing,
      packets: Buffer.concat(packets.map(({ raw }) => raw)),
    };
  });
}

/** When the last of them is no longer valid; undefined for never. */
export function lastOf(keys: readonly SigningKey[]): number | undefined {
  const last = Math.max(...keys.map(({ expiresMs }) => expiresMs ?? Number.POSITIVE_INFINITY));
  return Number.isFinite(last) ? last : undefined;
}

/**
 * The ends of the fingerprints of the keys that signed a text (a key id is the end of one), in capital letters.
 * @param text clear-signed, as InRelease, or a signature alone, as Release.gpg
 */
export function signersOf(text: Buffer): string[] {
  const latin = text.toString('latin1');
  const at = latin.indexOf('-----BEGIN PGP SIGNATURE-----');
  try {
    const packets = [...packetsIn(at < 0 ? text : dearmour(latin.slice(at)))];
    return packets
      .filter(({ tag }) => tag === SIGNATURE)
      .flatMap(({ body }) => issuersOf(body))
      .map(({ type, data }) =>
        data
          .subarray(type === ISSUER_FINGERPRINT ? 1 : 0)
          .toString('hex')
          .toUpperCase(),
      );
  } catch (error) {
    // It is apt's to say what is wrong with a signature.
    if (error instanceof KeyError || error instanceof RangeError) return [];
    throw error;
  }
}

/** RFC 9580, 5.5.4. @param body of a public-key packet. @throws KeyError */
function fingerprintOf(body: Buffer): string {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const hash = (algorithm: string, ...parts: Uint8Array[]) =>
    createHash(algorithm)
      .update(Buffer.concat([...parts, body]))
      .digest('hex')
      .toUpperCase();
  switch (body[0]) {
    case 4:
      return hash('sha1', Uint8Array.of(0x99), length.subarray(2));
    case 5: // GnuPG's
      return hash('sha256', Uint8Array.of(0x9a), length);
    case 6:
      return hash('sha256', Uint8Array.of(0x9b), length);
    default:
      throw new KeyError(
        `it has a key of version ${body[0]}, which nothing trusts any more; 4 to 6 are read`,
      );
  }
}

/** RFC 9580, 4.2. */
function* packetsIn(bytes: Buffer): Generator<Packet> {
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at]!;
    if ((first & 0x80) === 0) throw new KeyError('it is no OpenPGP key, or a broken one');
    const isNew = (first & 0x40) !== 0;
    const header = isNew ? newLength(bytes, at + 1) : oldLength(bytes, at + 1, first & 3);
    const start = at + 1 + header.size;
    const end = start + header.length;
    if (!(end <= bytes.length)) throw new KeyError('it was cut off: its last packet is not whole');
    yield {
      tag: isNew ? first & 0x3f : (first >> 2) & 0x0f,
      body: bytes.subarray(start, end),
      raw: bytes.subarray(at, end),
    };
    at = end;
  }
}

function newLength(bytes: Buffer, at: number): { size: number; length: number } {
  const one = bytes[at] ?? 0;
  if (one < 192) return { size: 1, length: one };
  if (one < 224) return { size: 2, length: ((one - 192) << 8) + (bytes[at + 1] ?? 0) + 192 };
  if (one === 255 && at + 5 <= bytes.length) return { size: 5, length: bytes.readUInt32BE(at + 1) };
  throw new KeyError('it has packets in parts, which keys never have');
}

function oldLength(bytes: Buffer, at: number, type: number): { size: number; length: number } {
  const size = [1, 2, 4][type];
  if (size === undefined || at + size > bytes.length)
    throw new KeyError('it is no OpenPGP key, or a broken one');
  return { size, length: bytes.readUIntBE(at, size) };
}

interface SelfSignature {
  readonly createdS: number;
  /** Seconds after the key's own creation; 0 for never. */
  readonly validS: number;
  readonly canSign: boolean | undefined;
}

/** The primary key and its subkeys, as far as they may sign, with the end of each. */
function signingKeys(packets: readonly Packet[]): SigningKey[] {
  const primary = packets[0]!;
  let current = primary;
  const newest = new Map<Packet, SelfSignature>();
  for (const packet of packets.slice(1)) {
    if (packet.tag === PUBLIC_SUBKEY) current = packet;
    if (packet.tag !== SIGNATURE) continue;
    const signature = selfSignature(packet.body, current === primary, fingerprintOf(primary.body));
    if (signature !== undefined && signature.createdS >= (newest.get(current)?.createdS ?? 0))
      newest.set(current, signature);
  }
  const end = (key: Packet): number => {
    const validS = newest.get(key)?.validS ?? 0;
    return validS === 0 ? Number.POSITIVE_INFINITY : (key.body.readUInt32BE(1) + validS) * 1000;
  };
  const signs = ([key, { canSign }]: [Packet, SelfSignature]) => canSign ?? key === primary;
  const found = [...newest].filter(signs).map(([key]) => key);
  return (found.length === 0 ? [primary] : found).map((key) => {
    const last = Math.min(end(key), end(primary));
    return {
      fingerprint: fingerprintOf(key.body),
      expiresMs: last === Number.POSITIVE_INFINITY ? undefined : last,
    };
  });
}

/** RFC 9580, 5.2: what a key says of itself or of its subkey; undefined for every other signature. */
function selfSignature(body: Buffer, ofPrimary: boolean, owner: string): SelfSignature | undefined {
  const version = body[0]!;
  const type = body[1]!;
  if (version < 4 || !(ofPrimary ? (type >= 0x10 && type <= 0x13) || type === 0x1f : type === 0x18))
    return undefined;
  const { hashed, issuers } = partsOf(body);
  const isOwn = issuers.some(({ type: t, data }) => {
    const hex = data.toString('hex').toUpperCase();
    return t === ISSUER_FINGERPRINT ? hex.slice(2) === owner : owner.endsWith(hex) || owner.startsWith(hex);
  });
  if (!isOwn) return undefined;
  const find = (wanted: number) => hashed.find(({ type: t }) => t === wanted)?.data;
  const flags = find(27)?.[0];
  return {
    createdS: find(2)?.readUInt32BE() ?? 0,
    validS: find(9)?.readUInt32BE() ?? 0,
    canSign: flags === undefined ? undefined : (flags & 0x02) !== 0,
  };
}

const ISSUER_FINGERPRINT = 33;
const ISSUER = 16;

/**
 * Subpackets of a signature of version 4 and later. Issuers stand in either part: 33 is a fingerprint behind its version,
 * 16 a key id, the fingerprint's end (its beginning from version 5 on).
 */
function partsOf(body: Buffer): { hashed: Subpacket[]; issuers: Subpacket[] } {
  const wide = body[0] === 6;
  const start = wide ? 8 : 6;
  const length = wide ? body.readUInt32BE(4) : body.readUInt16BE(4);
  const hashed = subpackets(body.subarray(start, start + length));
  const next = start + length;
  const rest = wide
    ? body.subarray(next + 4, next + 4 + body.readUInt32BE(next))
    : body.subarray(next + 2, next + 2 + body.readUInt16BE(next));
  const issuers = [...hashed, ...subpackets(rest)].filter(
    ({ type }) => type === ISSUER_FINGERPRINT || type === ISSUER,
  );
  return { hashed, issuers };
}

function issuersOf(body: Buffer): Subpacket[] {
  return body[0]! < 4 ? [] : partsOf(body).issuers;
}

interface Subpacket {
  readonly type: number;
  readonly data: Buffer;
}

function subpackets(bytes: Buffer): Subpacket[] {
  const found: Subpacket[] = [];
  let at = 0;
  while (at < bytes.length) {
    const one = bytes[at]!;
    // As a new packet's length, but without parts: 224 to 254 are two octets here.
    const [size, length] =
      one < 192
        ? [1, one]
        : one < 255
          ? [2, ((one - 192) << 8) + (bytes[at + 1] ?? 0) + 192]
          : [5, at + 5 <= bytes.length ? bytes.readUInt32BE(at + 1) : 0];
    if (length === 0 || at + size + length > bytes.length) break;
    found.push({
      type: bytes[at + size]! & 0x7f,
      data: bytes.subarray(at + size + 1, at + size + length),
    });
    at += size + length;
  }
  return found;
}
