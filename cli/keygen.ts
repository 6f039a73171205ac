// `homeostat keygen`: the controller's signing key, made before its first start or changed later on.
import { join } from 'node:path';
import type { Command } from 'commander';
import { addKey, readKeys } from '../controller/fleet/keys.ts';
import { STATE_OPTION } from './controller.ts';

const KEY_FILE = 'controller.key';

export function register(program: Command): void {
  program
    .command('keygen')
    .description('make the controller’s signing key')
    .option(...STATE_OPTION)
    .option(
      '--rotate',
      'put a new key before the one that is there; agents that enrol from now on trust both',
    )
    .addHelpText(
      'after',
      '\nExit codes: 0 made, 1 there is a key already (say --rotate), or it could not be written.',
    )
    .action(({ state, rotate }: { state: string; rotate?: true }) => {
      const file = join(state, KEY_FILE);
      if (readKeys(file) !== undefined && !rotate) {
        throw new Error(`${file} holds a key already: say --rotate to put a new one before it`);
      }
      const keys = addKey(file);
      console.log(`signing key ${keys.keyId} in ${file}`);
      console.log(`public key  ${keys.trusted[0]}`);
      console.log(`fingerprint ${keys.fingerprint}`);
    });
}
