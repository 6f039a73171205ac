// A signed Debian repository, made with Debian's own tools at run time: keys in a GnuPG home of its own, packages by
// dpkg-deb, indexes by apt-ftparchive. To be reached as file: or over HTTP on loopback.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

export interface TestPackage {
  readonly name: string;
  readonly version: string;
  /** Further lines of its control file: `Depends: x`. */
  readonly control?: string;
  /** Maintainer scripts by name; shell. */
  readonly scripts?: Readonly<Record<string, string>>;
  /** Files by absolute path. */
  readonly files?: Readonly<Record<string, string | { readonly content: string; readonly mode: number }>>;
  readonly conffiles?: readonly string[];
}

export interface SigningKey {
  readonly home: string;
  readonly fingerprint: string;
  readonly armoured: string;
  readonly binary: Buffer;
}

const SUITE = 'stable';
const quiet = { stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] };

export class AptArchive {
  readonly directory: string;
  /** Below it: repository, homes and what packages are built from. */
  readonly #base: string;
  readonly #homes: string[] = [];
  #server: http.Server | undefined;
  key: SigningKey;
  /** What is answered instead of a file, by path. */
  readonly answers = new Map<string, { status: number; body?: string; location?: string }>();
  /** Paths that were asked for over HTTP, in order. */
  readonly asked: string[] = [];

  constructor(base: string) {
    this.#base = base;
    this.directory = path.join(base, 'repository');
    fs.mkdirSync(path.join(this.directory, 'pool'), { recursive: true });
    this.key = this.newKey('archive');
  }

  /** @param expires as gpg takes it: `1y`, `never`, `seconds=1`. */
  newKey(name: string, options: { expires?: string; algorithm?: string; usage?: string } = {}): SigningKey {
    const home = path.join(this.#base, `gnupg-${name}`);
    fs.mkdirSync(home, { mode: 0o700 });
    this.#homes.push(home);
    const { expires = 'never', algorithm = 'ed25519', usage = 'sign' } = options;
    gpg(
      home,
      '--passphrase',
      '',
      '--quick-gen-key',
      `${name} <${name}@example.org>`,
      algorithm,
      usage,
      expires,
    );
    return readKey(home);
  }

  /** The key as its owner exports it now. */
  exported(key: SigningKey): SigningKey {
    return readKey(key.home);
  }

  /** Replaces all that the repository offers. */
  publish(packages: readonly TestPackage[], options: { key?: SigningKey; validUntil?: Date } = {}): void {
    const pool = path.join(this.directory, 'pool');
    fs.rmSync(pool, { recursive: true });
    fs.mkdirSync(pool);
    for (const each of packages) this.build(each, pool);
    const dist = path.join(this.directory, 'dists', SUITE);
    const architecture = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
    const binary = path.join(dist, 'main', `binary-${architecture}`);
    fs.rmSync(dist, { recursive: true, force: true });
    fs.mkdirSync(binary, { recursive: true });
    const archive = (...args: string[]) =>
      execFileSync('apt-ftparchive', args, { cwd: this.directory, ...quiet });
    fs.writeFileSync(path.join(binary, 'Packages'), archive('packages', 'pool'));
    const fields = { Suite: SUITE, Components: 'main', Architectures: architecture };
    const settings = Object.entries(fields).flatMap(([field, value]) => [
      '-o',
      `APT::FTPArchive::Release::${field}=${value}`,
    ]);
    const release = path.join(dist, 'Release');
    const text = archive(...settings, 'release', `dists/${SUITE}`);
    const end = options.validUntil?.toUTCString().replace('GMT', 'UTC');
    fs.writeFileSync(release, `${end === undefined ? '' : `Valid-Until: ${end}\n`}${text}`);
    const { home } = options.key ?? this.key;
    gpg(home, '--yes', '--clearsign', '--output', path.join(dist, 'InRelease'), release);
    fs.unlinkSync(release);
  }

  /** @returns the package's file. */
  build(
    { name, version, control = '', scripts = {}, files = {}, conffiles = [] }: TestPackage,
    into: string,
  ): string {
    const tree = path.join(this.#base, `build-${name}`);
    const put = (place: string, text: string, mode = 0o644) => {
      const full = path.join(tree, place);
      fs.mkdirSync(path.dirname(full), { recursive: true });
      fs.writeFileSync(full, text, { mode });
    };
    const fields = `Package: ${name}\nVersion: ${version}\nArchitecture: all\nMaintainer: Test <test@example.org>\n`;
    put('DEBIAN/control', `${fields}${control === '' ? '' : `${control}\n`}Description: for a test\n`);
    for (const [script, text] of Object.entries(scripts))
      put(`DEBIAN/${script}`, `#!/bin/sh\n${text}\n`, 0o755);
    for (const [place, file] of Object.entries(files)) {
      if (typeof file === 'string') put(place, file);
      else put(place, file.content, file.mode);
    }
    if (conffiles.length > 0) put('DEBIAN/conffiles', `${conffiles.join('\n')}\n`);
    const file = path.join(into, `${name}_${version.replaceAll(':', '%3a')}_all.deb`);
    execFileSync('dpkg-deb', ['--root-owner-group', '--build', tree, file], quiet);
    fs.rmSync(tree, { recursive: true });
    return file;
  }

  get uri(): string {
    return `file:${this.directory}`;
  }

  /** Spec fields of the repository. */
  source(uri = this.uri) {
    return { name: 'test', uris: [uri], suites: [SUITE], components: ['main'] };
  }

  /** @returns its URL, without a slash at the end. */
  async serve(address = '127.0.0.1'): Promise<string> {
    this.#server = http.createServer((request, response) => {
      const place = new URL(request.url!, 'http://x').pathname;
      this.asked.push(place);
      const answer = this.answers.get(place) ?? this.answers.get('*');
      if (answer !== undefined) {
        const headers = answer.location === undefined ? {} : { location: answer.location };
        response.writeHead(answer.status, headers).end(answer.body);
        return;
      }
      const file = path.join(this.directory, path.normalize(place));
      if (!fs.existsSync(file) || !fs.statSync(file).isFile()) response.writeHead(404).end();
      else response.end(fs.readFileSync(file));
    });
    await new Promise<void>((resolve) => this.#server!.listen(0, address, resolve));
    return `http://${address}:${(this.#server.address() as AddressInfo).port}`;
  }

  async stopServing(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) =>
      this.#server === undefined ? resolve(undefined) : this.#server.close(resolve),
    );
    this.#server = undefined;
  }

  /** Ends GnuPG's agents of its homes; whoever gave the directory removes it. */
  async close(): Promise<void> {
    await this.stopServing();
    this.endAgents();
  }

  /** GnuPG starts them again when they are needed. */
  endAgents(): void {
    for (const home of this.#homes) execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'], quiet);
  }
}

export function gpg(home: string, ...args: string[]): Buffer {
  return execFileSync('gpg', ['--homedir', home, '--batch', '--quiet', ...args], quiet);
}

function readKey(home: string): SigningKey {
  const listed = gpg(home, '--with-colons', '--list-keys').toString();
  return {
    home,
    fingerprint: /^fpr:+([0-9A-F]+):/m.exec(listed)![1]!,
    armoured: gpg(home, '--armor', '--export').toString(),
    binary: gpg(home, '--export'),
  };
}

/** A root on which apt and dpkg work as on a host that has no package yet. */
export function emptySystem(root: string): void {
  const directories = [
    'etc/apt/sources.list.d',
    'etc/apt/keyrings',
    'etc/apt/preferences.d',
    'etc/apt/apt.conf.d',
    'etc/apt/trusted.gpg.d',
    'var/lib/apt/lists/partial',
    'var/cache/apt/archives/partial',
    'var/lib/dpkg/info',
    'var/lib/dpkg/updates',
    'var/log/apt',
  ];
  for (const directory of directories) fs.mkdirSync(path.join(root, directory), { recursive: true });
  fs.writeFileSync(path.join(root, 'var/lib/dpkg/status'), '');
  // Read in the place of the machine's own configuration, whose hooks work on the machine.
  fs.writeFileSync(path.join(root, 'etc/apt/apt.conf'), `Dir "${root}/";\n`);
}
