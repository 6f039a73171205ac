// OpenPGP's ASCII armour, taken off (RFC 9580, 6.2). Pure.

/** The bytes are no public keys; the message says what they are, and what would be right. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
}

export const PRIVATE = 'it is a private key, which must never leave its owner; export the public one';

/** @param material armoured, binary, or base64 of binary. @throws KeyError */
export function binary(material: Buffer): Buffer {
  if (((material[0] ?? 0) & 0x80) !== 0) return material;
  const text = material.toString('latin1');
  if (text.includes('-----BEGIN PGP')) return dearmour(text);
  if (/^[A-Za-z0-9+/=\s]+$/.test(text)) return Buffer.from(text, 'base64');
  throw new KeyError(
    text.startsWith('KBXf', 8)
      ? 'it is a keybox of GnuPG, which apt does not read; export the key: gpg --export'
      : 'it is no OpenPGP key: neither armoured (-----BEGIN PGP PUBLIC KEY BLOCK-----) nor binary',
  );
}

/** RFC 9580, 6.2. The checksum is optional there, and held to where there is one. */
export function dearmour(text: string): Buffer {
  const blocks: Buffer[] = [];
  let block: { headers: boolean; base64: string; checksum?: string } | undefined;
  for (const line of text.split('\n').map((l) => l.trim())) {
    if (line.startsWith('-----BEGIN PGP')) {
      if (line.includes('PRIVATE')) throw new KeyError(PRIVATE);
      block = { headers: true, base64: '' };
    } else if (line.startsWith('-----END PGP') && block !== undefined) {
      blocks.push(decode(block));
      block = undefined;
    } else if (block?.headers === true && (line === '' || line.includes(': '))) {
      block.headers = line !== '';
    } else if (block !== undefined && /^=[A-Za-z0-9+/]{4}$/.test(line)) {
      block.checksum = line.slice(1);
    } else if (block !== undefined) {
      block.headers = false;
      block.base64 += line;
    }
  }
  if (block !== undefined || blocks.length === 0)
    throw new KeyError('its armour is broken: the whole block is needed, to its END line');
  return Buffer.concat(blocks);
}

function decode({ base64, checksum }: { base64: string; checksum?: string }): Buffer {
  const bytes = Buffer.from(base64, 'base64');
  if (checksum !== undefined && !crc24(bytes).equals(Buffer.from(checksum, 'base64')))
    throw new KeyError('its checksum does not fit: it was changed or cut on its way');
  return bytes;
}

function crc24(bytes: Buffer): Buffer {
  let crc = 0xb704ce;
  for (const byte of bytes) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x800000 ? (crc << 1) ^ 0x1864cfb : crc << 1;
  }
  return Buffer.from([(crc >> 16) & 0xff, (crc >> 8) & 0xff, crc & 0xff]);
}
