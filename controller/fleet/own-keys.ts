// The controller's keys, with what its store knows of them: a key that agents trust is never replaced silently.
import * as z from 'zod';
import { keyIdOf } from '../../api/bundle.ts';
import { count } from '../../api/words.ts';
import type { Store } from '../store/store.ts';
import { createKey, readKeys, type SigningKeys } from './keys.ts';

/** In the store: ids of the keys that hosts were told to trust. */
const META = 'signing-keys';
const KeyIds = z.array(z.string());

/** The keys in the file; a new one where nobody trusts one yet. @throws Error in words when hosts trust another. */
export function ownKeys(file: string, store: Store): SigningKeys {
  const found = readKeys(file);
  const known = store.knownHosts();
  if (found === undefined && known > 0) {
    throw new Error(
      `the signing key ${file} is gone, and ${count(known, 'host')} trust it: restore it from a backup (docs/runbooks/controller-down.md). If there is none, homeostat keygen --lost makes a new one, and then every host must enrol again`,
    );
  }
  if (found !== undefined && known > 0 && !areTrusted(found, store)) {
    throw new Error(
      `the signing key in ${file} is not the one that ${count(known, 'host')} trust (${trustedIds(store).join(', ')}): restore that one from a backup (docs/runbooks/controller-down.md). If it is lost, homeostat keygen --lost accepts the one that is there, and then every host must enrol again`,
    );
  }
  const keys = found ?? createKey(file);
  trustKeys(keys, store);
  return keys;
}

/** From now on these are the keys that hosts trust. @returns whether that is stored. */
export function trustKeys(keys: SigningKeys, store: Store): boolean {
  const ids = JSON.stringify(idsOf(keys));
  return store.meta(META) === ids || store.saveMeta(META, ids);
}

/** Whether one of these keys is one that hosts were told to trust. */
export function areTrusted(keys: SigningKeys, store: Store): boolean {
  const trusted = trustedIds(store);
  return trusted.length === 0 || idsOf(keys).some((id) => trusted.includes(id));
}

function idsOf({ trusted }: SigningKeys): string[] {
  return trusted.map(keyIdOf);
}

function trustedIds(store: Store): string[] {
  return KeyIds.parse(JSON.parse(store.meta(META) ?? '[]'));
}
