// `homeostat keygen`: the controller's signing key, made before its first start or changed later on.
import { join } from 'node:path';
import type { Command } from 'commander';
import { addKey, createKey, promoteKey, readKeys, type SigningKeys } from '../controller/fleet/keys.ts';
import { areTrusted, ownKeys, trustKeys } from '../controller/fleet/own-keys.ts';
import { KEY_FILE, STATE_OPTION } from './controller.ts';
import { hasStore, type OpenState, withState } from './controller-state.ts';

interface Options {
  readonly state: string;
  readonly next?: true;
  readonly promote?: true;
  readonly lost?: true;
}

export function register(program: Command): void {
  program
    .command('keygen')
    .description('make the controller’s signing key, or change it in two steps')
    .addOption(STATE_OPTION)
    .option('--next', 'add a key that does not sign yet: agents that enrol from now on trust it too')
    .option('--promote', 'have the key that was added last sign, from the controller’s next start on')
    .option('--lost', 'the key that hosts trust is lost: go on with another; every host must enrol again')
    .addHelpText(
      'after',
      '\nTo change the key: --next, then enrol the agents again (or add the key to trustedKeys in their configuration),\nthen --promote. An agent that does not trust the signing key keeps what it runs.',
    )
    .action(({ state, next, promote, lost }: Options) => {
      const file = join(state, KEY_FILE);
      if (lost) return show(file, withState(state, 'change', replaceLost));
      // Also says no where the key is gone, and hosts trust it.
      if (hasStore(state) && readKeys(file) === undefined) {
        return show(
          file,
          withState(state, 'change', ({ store }) => ownKeys(file, store)),
        );
      }
      if (readKeys(file) !== undefined && !next && !promote) {
        throw new Error(`${file} holds a key already: --next adds another to change over to`);
      }
      show(file, promote ? promoteKey(file) : addKey(file));
    });
}

function show(file: string, keys: SigningKeys): void {
  console.log(`signing key ${keys.keyId} in ${file}`);
  console.log(`fingerprint ${keys.fingerprint}`);
  for (const key of keys.trusted) console.log(`public key  ${key}`);
}

/** The one that is there, else a new one, is trusted from now on. */
function replaceLost({ keyFile, store }: OpenState): SigningKeys {
  const found = readKeys(keyFile);
  if (found !== undefined && areTrusted(found, store))
    throw new Error(`the key in ${keyFile} is the one that hosts trust: it is not lost`);
  const keys = found ?? createKey(keyFile);
  const entry = {
    who: 'cli',
    action: 'key-lost',
    subject: keys.keyId,
    detail: 'every host must enrol again',
  };
  if (!trustKeys(keys, store) || !store.audit({ at: Date.now(), ...entry }))
    throw new Error(store.problem ?? 'it could not be stored which key is to be trusted');
  console.error('every host must enrol again: make a token for each with homeostat token create --host NAME');
  return keys;
}
