// `homeostat secret`: secrets that stand in git, encrypted to the hosts that use them. One file a subcommand.
import type { Command } from 'commander';
import { registerEdit } from './secret/edit.ts';
import { registerEncrypt } from './secret/encrypt.ts';
import { registerKeygen } from './secret/keygen.ts';
import { registerRekey } from './secret/rekey.ts';

export function register(program: Command): void {
  const secret = program
    .command('secret')
    .description('keep secrets in git, encrypted to the hosts that use them (docs/secrets.md)');
  registerKeygen(secret);
  registerEncrypt(secret);
  registerEdit(secret);
  registerRekey(secret);
}
