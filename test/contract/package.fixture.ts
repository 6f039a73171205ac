// Package with the machine's own apt and dpkg below a sandbox root, and a repository signed for the test.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { packageKind } from '../../kinds/package/index.ts';
import { AptArchive, emptySystem } from '../support/apt-archive.ts';
import { APT } from '../support/capabilities.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';
import type { Fixture } from './fixture.ts';

export const packageFixture: Fixture = {
  kind: packageKind,
  requires: [APT],
  open(t) {
    const root = temporaryDirectory(t);
    const archive = new AptArchive(temporaryDirectory(t));
    const [files, processes] = [createFiles({ root }), createProcesses({ units: false })];
    t.after(() => Promise.all([archive.close(), files.close(), processes.close()]));
    emptySystem(root);
    const hello = (version: string) => ({
      name: 'hello',
      version,
      files: { '/usr/share/hello': `${version}\n` },
    });
    archive.publish([hello('1.0'), hello('1.1')]);
    fs.writeFileSync(path.join(root, 'etc/apt/keyrings/test.gpg'), archive.key.binary);
    fs.writeFileSync(
      path.join(root, 'etc/apt/sources.list.d/test.list'),
      `deb [signed-by=${root}/etc/apt/keyrings/test.gpg] ${archive.uri} stable main\n`,
    );
    const dpkg = (...args: string[]) =>
      void execFileSync('dpkg', [`--root=${root}`, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const pool = path.join(archive.directory, 'pool');
    const select = (what: string) =>
      void execFileSync('dpkg', [`--root=${root}`, '--set-selections'], { input: `hello ${what}\n` });
    return {
      ports: { files, processes, clock: systemClock },
      specs: [
        { name: 'hello', version: '1.0', hold: true, allowDowngrade: true },
        { name: 'hello', version: 'latest', hold: false },
      ],
      breakages: {
        'dpkg --remove': () => dpkg('--force-hold', '--remove', 'hello'),
        'dpkg --purge': () => dpkg('--force-hold', '--purge', 'hello'),
        'another version installed': () => dpkg('--install', path.join(pool, 'hello_1.1_all.deb')),
        'apt-mark unhold': () => select('install'),
        'a file of it removed': () => fs.rmSync(path.join(root, 'usr/share/hello')),
        'unpacked and not configured': () => dpkg('--unpack', path.join(pool, 'hello_1.0_all.deb')),
      },
      fingerprint: () => {
        const status = fs.readFileSync(path.join(root, 'var/lib/dpkg/status'), 'utf8');
        const usr = path.join(root, 'usr');
        return `${status.trim()}\n${fs.existsSync(usr) ? treeText(usr) : ''}`;
      },
    };
  },
};
