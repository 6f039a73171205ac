// `homeostat secret edit`: decrypted for the time of an editor, in memory where the system has a place for that.
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { DIRECTORY_OPTION } from '../manifests.ts';
import { file } from '../options.ts';
import { decryptFile, IDENTITY_OPTION } from './identity.ts';
import { encryptTo, HOSTS_OPTION, Manifests, writeCiphertext } from './readers.ts';

interface Options {
  readonly identity?: string;
  readonly hosts?: string;
  readonly dir: string;
}

export function registerEdit(secret: Command): void {
  secret
    .command('edit')
    .description('edit a secret with $EDITOR; a file that is not there yet begins empty')
    .argument('<file>', 'encrypted file', file)
    .addOption(IDENTITY_OPTION)
    .addOption(HOSTS_OPTION)
    .addOption(DIRECTORY_OPTION)
    .action(async (file: string, { identity, hosts, dir }: Options) => {
      const manifests = await Manifests.open(dir);
      // Before the editor: nobody wants to hear afterwards that it can't be written.
      const readers = manifests.readersOf(manifests.hostsFor(file, hosts), false);
      const before = existsSync(file)
        ? await decryptFile(file, readFileSync(file), identity)
        : Buffer.alloc(0);
      const after = await edit(basename(file, '.age'), before);
      if (after.equals(before)) {
        console.log(`${file} is unchanged`);
        return;
      }
      if (after.length === 0) throw new Error(`the value is empty: ${file} is left as it was`);
      writeCiphertext(file, await encryptTo(readers.recipients, after));
      console.log(`wrote ${file}, for ${readers.words}`);
    });
}

/** @throws Error when the editor could not be run or says that it failed. The copy is removed whatever happens. */
async function edit(name: string, value: Buffer): Promise<Buffer> {
  const directory = mkdtempSync(join(privatePlace(), 'homeostat-secret-')); // mode 0700
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  const end = (): void => process.exit(1); // runs `remove`
  // Ctrl-C in an editor is the editor's.
  const handlers = { SIGINT: () => {}, SIGTERM: end, SIGHUP: end } as const;
  process.on('exit', remove);
  for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
  try {
    const copy = join(directory, name);
    writeFileSync(copy, value, { mode: 0o600 });
    await run(process.env['VISUAL'] || process.env['EDITOR'] || 'vi', copy);
    return readFileSync(copy);
  } finally {
    // The whole directory: editors leave copies of their own beside the file.
    remove();
    process.off('exit', remove);
    for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
  }
}

function privatePlace(): string {
  for (const place of [process.env['XDG_RUNTIME_DIR'], '/dev/shm']) {
    if (place === undefined || place === '') continue;
    try {
      accessSync(place, constants.W_OK | constants.X_OK);
      return place;
    } catch {}
  }
  console.error(`there is no directory in memory here: while it is edited, the value is in ${tmpdir()}`);
  return tmpdir();
}

/** The variable may hold arguments, as `code --wait`; a shell takes it apart, as git's does. */
function run(editor: string, file: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', `${editor} "$1"`, 'sh', file], { stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`the editor (${editor}) ended with ${signal ?? code}: nothing was written`));
    });
  });
}
