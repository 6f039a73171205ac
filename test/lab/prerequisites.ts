/**
 * What the lab needs of the machine that it runs on. Empty means that it can run;
 * otherwise the sentences are what a skip prints, each with its remedy.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { labBinaries } from './binaries.ts';

const programs = [
  'systemd-nspawn',
  'dbus-daemon',
  'ip',
  'nsenter',
  'unshare',
  'setpriv',
  'curl',
  'gpg',
  'apt-ftparchive',
];
const remedy = 'run: sudo scripts/system-packages.sh';

/** One sentence for each thing that is missing. */
export function labPrerequisites(): string[] {
  if (process.platform !== 'linux') {
    return [`the lab boots systemd in Linux namespaces and this is ${process.platform}; run it on Debian 12`];
  }
  const missing: string[] = [];
  if (process.getuid?.() !== 0) missing.push('not root; run the same command with sudo');
  if (!isIn('/proc/filesystems', /\boverlay$/m)) {
    missing.push('the kernel has no overlay file system; run: modprobe overlay');
  }
  if (!can('/dev/net/tun', constants.F_OK)) missing.push('no /dev/net/tun; run: modprobe tun');

  const absent = programs.filter((program) => !onPath(program));
  if (absent.length > 0) missing.push(`not installed: ${absent.join(', ')}; ${remedy}`);

  const { tailscaleDirectory, control } = labBinaries();
  const built = [join(tailscaleDirectory, 'tailscaled'), join(tailscaleDirectory, 'tailscale'), control];
  const unbuilt = built.filter((path) => !can(path, constants.X_OK));
  if (unbuilt.length > 0) missing.push(`not built: ${unbuilt.join(', ')}; ${remedy}`);
  return missing;
}

function can(path: string, access: number): boolean {
  try {
    accessSync(path, access);
    return true;
  } catch {
    return false;
  }
}

function isIn(path: string, pattern: RegExp): boolean {
  return can(path, constants.R_OK) && pattern.test(readFileSync(path, 'utf8'));
}

function onPath(program: string): boolean {
  // sbin is often missing from the PATH of an unprivileged shell that calls sudo.
  const path = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;
  return path.split(delimiter).some((directory) => can(join(directory, program), constants.X_OK));
}
