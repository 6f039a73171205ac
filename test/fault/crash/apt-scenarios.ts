// AptRepository and Package with the machine's own apt and dpkg below the host's root. What an agent started goes on
// when the agent is killed, as it does on a host: the next one finds dpkg locked, or cut off, or done.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { AptArchive, emptySystem } from '../../support/apt-archive.ts';
import { APT } from '../../support/capabilities.ts';
import { resource } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';
import { FaultHost } from '../support/host.ts';
import { HASTE, type Scenario } from './stage.ts';

const PATIENCE_MS = 90_000;
const VERSIONS = ['1.0', '1.1'];

/** One repository for all stages: nothing of it changes. */
let shared: { archive: AptArchive; directory: string } | undefined;

function archive(): AptArchive {
  if (shared === undefined) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-fault-apt-'));
    shared = { archive: new AptArchive(directory), directory };
    const hello = (version: string, scripts = {}) => ({
      name: 'hello',
      version,
      scripts,
      files: { '/usr/share/hello': `${version}\n` },
    });
    // Below a root without a shell no maintainer script can run: what has one fails.
    shared.archive.publish([
      ...VERSIONS.map((version) => hello(version)),
      hello('2.0', { postinst: 'exit 0' }),
    ]);
    // Of a run that is cut off: no process and no file stays.
    shared.archive.endAgents();
    process.once('exit', () => fs.rmSync(directory, { recursive: true, force: true }));
  }
  return shared.archive;
}

async function end(): Promise<void> {
  await shared?.archive.close();
  if (shared !== undefined) fs.rmSync(shared.directory, { recursive: true, force: true });
  shared = undefined;
}

function system(host: FaultHost): string {
  emptySystem(host.root);
  return path.join(host.root, 'etc/apt');
}

const repository: Scenario = {
  name: 'AptRepository (real apt)',
  slow: true,
  requires: APT,
  async open(common) {
    const host = new FaultHost({ ...common, haste: HASTE });
    const apt = system(host);
    const { key, source } = { key: archive().key, source: archive().source() };
    const pin = { fingerprint: key.fingerprint, content: key.armoured };
    const spec = (more: object) => [resource('AptRepository', 'r', { ...source, key: pin, ...more })];
    const id = 'AptRepository/r';
    const keyring = path.join(apt, 'keyrings/test.gpg');
    return {
      host,
      withinMs: PATIENCE_MS,
      origins: { [id]: 'created' },
      revisions: [
        { name: 'v1', resources: spec({}), outcomes: { [id]: 'Ready' } },
        { name: 'v2', resources: spec({ architectures: ['amd64', 'arm64'] }), outcomes: { [id]: 'Ready' } },
        { name: 'refused', resources: spec({ suites: ['none'] }), outcomes: { [id]: 'RolledBack' } },
        {
          name: 'heal',
          resources: spec({ suites: ['none'] }),
          outcomes: { [id]: 'RolledBack' },
          tamper: () => fs.rmSync(keyring, { force: true }),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () =>
        ['keyrings', 'sources.list.d'].map((name) => treeText(path.join(apt, name))).join('\n'),
      inspect() {
        // Whoever runs apt now must not meet half a keyring.
        if (fs.existsSync(keyring) && !fs.readFileSync(keyring).equals(key.binary))
          throw new Error('the keyring is another');
      },
      async settledCheck() {
        const text = host.read('etc/apt/sources.list.d/test.sources');
        if (text === undefined || text.includes('none')) throw new Error(`the source is ${text}`);
        if (!fs.existsSync(keyring)) throw new Error('there is no keyring');
      },
      close: () => host.destroy(),
    };
  },
  end,
};

const installed: Scenario = {
  name: 'Package (real apt and dpkg)',
  slow: true,
  requires: APT,
  async open(common) {
    const host = new FaultHost({ ...common, haste: HASTE });
    const apt = system(host);
    const { key, uri } = archive();
    const keyring = path.join(apt, 'keyrings/test.gpg');
    fs.writeFileSync(keyring, key.binary);
    fs.writeFileSync(
      path.join(apt, 'sources.list.d/test.list'),
      `deb [signed-by=${keyring}] ${uri} stable main\n`,
    );
    const spec = (version: string) => [
      resource('Package', 'p', { name: 'hello', version, hold: true, allowDowngrade: true }),
    ];
    const id = 'Package/p';
    const status = path.join(host.root, 'var/lib/dpkg/status');
    const stanza = () => fs.readFileSync(status, 'utf8').trim();
    return {
      host,
      withinMs: PATIENCE_MS,
      origins: { [id]: 'created' },
      revisions: [
        { name: 'v1', resources: spec('1.0'), outcomes: { [id]: 'Ready' } },
        { name: 'v2', resources: spec('1.1'), outcomes: { [id]: 'Ready' } },
        { name: 'refused', resources: spec('2.0'), outcomes: { [id]: 'RolledBack' } },
        {
          name: 'heal',
          resources: spec('2.0'),
          outcomes: { [id]: 'RolledBack' },
          tamper: () =>
            void execFileSync('dpkg', [`--root=${host.root}`, '--force-hold', '--purge', 'hello'], {
              stdio: 'pipe',
            }),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => {
        const usr = path.join(host.root, 'usr/share/hello');
        const sources = fs.readdirSync(path.join(apt, 'sources.list.d'));
        return `${sources}\n${stanza()}\n${fs.existsSync(usr) ? fs.readFileSync(usr) : ''}`;
      },
      async settledCheck() {
        const version = /^Version: (.*)$/m.exec(stanza())?.[1] ?? '';
        if (!VERSIONS.includes(version)) throw new Error(`${version || 'nothing'} is installed`);
        if (!stanza().includes('Status: hold ok installed')) throw new Error(stanza());
        if (host.read('usr/share/hello') !== `${version}\n`)
          throw new Error('its files are of another version');
      },
      close: () => host.destroy(),
    };
  },
  end,
};

export const apt: readonly Scenario[] = [repository, installed];
