// `homeostat secret keygen`: an identity for a person, or for a host that is not enrolled.
import type { Command } from 'commander';
import { file } from '../options.ts';
import { ensureIdentity } from './identity.ts';

export function registerKeygen(secret: Command): void {
  secret
    .command('keygen')
    .description('make an age identity; its public half is printed')
    .requiredOption('--out <file>', 'where to; what is there already is kept', file)
    .addHelpText(
      'after',
      '\nThe recipient is the only line on standard output: it goes into secretRecipients of the Fleet, for a person, or into ageRecipient of a Host.',
    )
    .action(async ({ out }: { out: string }) => {
      const { recipient, isNew } = await ensureIdentity(out);
      console.error(isNew ? `wrote ${out}; keep it to yourself` : `${out} is there already, and is kept`);
      console.log(recipient);
    });
}
