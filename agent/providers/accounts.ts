// Accounts of this host, by name.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { Stalled } from '../../api/errors.ts';

/** getent(1) knows of LDAP and sssd accounts too; macOS has no getent, but the files and `id`. */
export function accountID(database: 'passwd' | 'group', name: string, what: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  const line =
    lineOf(`/etc/${database}`, name) ??
    (process.platform === 'linux' ? tryRun('getent', [database, name]) : undefined);
  const id = line?.split(':')[2];
  if (id !== undefined && /^\d+$/.test(id)) return Number(id);
  throw new Stalled(
    'UnknownAccount',
    `there is no ${what} ${name} on this host; create it, or name one that exists`,
  );
}

function lineOf(file: string, name: string): string | undefined {
  return fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`));
}

function tryRun(command: string, args: string[]): string | undefined {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      timeout: 5000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return undefined;
  }
}
