// `homeostat secret rekey`: the same values, encrypted to those who have to read them now.
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import type { Command } from 'commander';
import { DIRECTORY_OPTION } from '../manifests.ts';
import { each, inputFile } from '../options.ts';
import { decryptFile, IDENTITY_OPTION } from './identity.ts';
import { encryptTo, HOSTS_OPTION, Manifests, placeOf, writeCiphertext } from './readers.ts';

interface Options {
  readonly identity?: string;
  readonly hosts?: string;
  readonly dir: string;
}

export function registerRekey(secret: Command): void {
  secret
    .command('rekey')
    .description('encrypt secrets anew, after hosts, labels or people changed')
    .argument('[files...]', 'encrypted files; default: all that documents name', each(inputFile))
    .addOption(IDENTITY_OPTION)
    .addOption(HOSTS_OPTION)
    .addOption(DIRECTORY_OPTION)
    .addHelpText(
      'after',
      '\nWho could read a value once can read it for ever, from git’s history: change the values too when a host or a person left.',
    )
    .action(async (named: string[] = [], { identity, hosts, dir }: Options) => {
      const manifests = await Manifests.open(dir);
      if (named.length === 0 && hosts !== undefined) throw new Error('name the files that --hosts is about');
      const files = named.length > 0 ? named.map(placeOf) : [...manifests.files().keys()].sort();
      const inline = named.length > 0 ? [] : manifests.inline();
      if (inline.length > 0) {
        console.error(
          `ciphertext in a document itself is left as it is, at ${inline.join(', ')}: move it into a file (ageFrom)`,
        );
      }
      if (files.length === 0) throw new Error(`no document in ${dir} names an encrypted file (ageFrom)`);
      const fresh: { path: string; text: string; words: string }[] = [];
      for (const path of files) {
        const readers = manifests.readersOf(manifests.hostsFor(path, hosts), false);
        const name = relative(process.cwd(), path);
        const value = await decryptFile(name, readFileSync(path), identity);
        fresh.push({
          path,
          text: await encryptTo(readers.recipients, value),
          words: `${name}, for ${readers.words}`,
        });
      }
      // Only now that all of them could be read.
      for (const { path, text, words } of fresh) {
        writeCiphertext(path, text);
        console.log(`wrote ${words}`);
      }
    });
}
