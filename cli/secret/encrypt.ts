// `homeostat secret encrypt`: a value into a file that only some hosts, and the people of the Fleet, can read.
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { DIRECTORY_OPTION } from '../manifests.ts';
import { file, inputFile } from '../options.ts';
import { encryptTo, HOSTS_OPTION, Manifests, writeCiphertext } from './readers.ts';

interface Options {
  readonly in: string;
  readonly out: string;
  readonly hosts?: string;
  readonly dir: string;
}

export function registerEncrypt(secret: Command): void {
  secret
    .command('encrypt')
    .description('encrypt a value to the hosts that use it')
    .requiredOption('--out <file>', 'where to, beside the manifests; as in secrets/token.age', file)
    .option(
      '--in <file>',
      'file with the value; -, the default, for standard input',
      (path: string) => (path === '-' ? path : inputFile(path)),
      '-',
    )
    .addOption(HOSTS_OPTION)
    .addOption(DIRECTORY_OPTION)
    .action(async ({ in: from, out, hosts, dir }: Options) => {
      const manifests = await Manifests.open(dir);
      const readers = manifests.readersOf(manifests.hostsFor(out, hosts), true);
      const value = from === '-' ? await readStandardInput() : readFileSync(from);
      if (value.length === 0) throw new Error('there is no value: nothing was read');
      const text = await encryptTo(readers.recipients, value);
      mkdirSync(dirname(out), { recursive: true });
      writeCiphertext(out, text);
      console.log(`wrote ${out}, for ${readers.words}`);
    });
}

/** From a terminal one line, which is not shown. */
async function readStandardInput(): Promise<Buffer> {
  if (!process.stdin.isTTY) return readFileSync(process.stdin.fd);
  process.stderr.write('value (one line, not shown): ');
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return Buffer.from(await terminal.question(''));
  } finally {
    terminal.close();
    process.stderr.write('\n');
  }
}
