// `homeostat keygen`: the controller's signing key, made before its first start or changed later on.
import { join } from 'node:path';
import type { Command } from 'commander';
import { addKey, promoteKey, readKeys } from '../controller/fleet/keys.ts';
import { KEY_FILE, STATE_OPTION } from './controller.ts';

interface Options {
  readonly state: string;
  readonly next?: true;
  readonly promote?: true;
}

export function register(program: Command): void {
  program
    .command('keygen')
    .description('make the controller’s signing key, or change it in two steps')
    .addOption(STATE_OPTION)
    .option('--next', 'add a key that does not sign yet: agents that enrol from now on trust it too')
    .option('--promote', 'have the key that was added last sign, from the controller’s next start on')
    .addHelpText(
      'after',
      '\nTo change the key: --next, then enrol the agents again (or add the key to trustedKeys in their configuration),\nthen --promote. An agent that does not trust the signing key keeps what it runs.',
    )
    .action(({ state, next, promote }: Options) => {
      const file = join(state, KEY_FILE);
      if (readKeys(file) !== undefined && !next && !promote) {
        throw new Error(`${file} holds a key already: --next adds another to change over to`);
      }
      const keys = promote ? promoteKey(file) : addKey(file);
      console.log(`signing key ${keys.keyId} in ${file}`);
      console.log(`fingerprint ${keys.fingerprint}`);
      for (const key of keys.trusted) console.log(`public key  ${key}`);
    });
}
