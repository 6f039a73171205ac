// Who has to be able to read an encrypted file: the hosts whose documents name it, and the people of the Fleet.
import { existsSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { Option } from 'commander';
import { secretRefsIn } from '../../agent/secrets/store.ts';
import { didYouMean } from '../../api/diagnostics.ts';
import { ageFiles } from '../../controller/pipeline/age-files.ts';
import { type Catalog, labelsOf, Placement } from '../../controller/pipeline/catalog.ts';
import { readCatalog } from '../../controller/pipeline/compile.ts';
import { type ParsedResource, sourceOf } from '../../controller/pipeline/parsed.ts';
import { readDirectory } from '../../controller/source/directory.ts';
import { kinds } from '../../kinds/index.ts';
import { text } from '../options.ts';

export const HOSTS_OPTION = new Option(
  '--hosts <hosts>',
  'names (pi,mac), labels (alloy=apt) or all; default: the hosts whose documents name the file',
).argParser(text(10_000));

export interface Readers {
  readonly recipients: readonly string[];
  /** For people: `pi, mac and 1 person`. */
  readonly words: string;
}

export class Manifests {
  readonly #root: string;
  readonly #catalog: Catalog;

  private constructor(root: string, catalog: Catalog) {
    this.#root = root;
    this.#catalog = catalog;
  }

  /** @throws SourceError when the directory can't be read. */
  static async open(dir: string): Promise<Manifests> {
    return new Manifests(realpathSync(dir), await readCatalog(readDirectory(dir), kinds));
  }

  /** Encrypted files that documents name, by path; with their hosts. @throws Error when one could be missed. */
  files(): Map<string, readonly string[]> {
    const isAnywhere = ({ broken, selector }: ParsedResource): boolean => broken && selector === undefined;
    if (this.#catalog.incomplete || [...this.#catalog.resources.values()].some(isAnywhere)) {
      throw new Error(
        'some documents can’t be read, and may name secrets too: mend what homeostat validate says first, or say --hosts',
      );
    }
    const files = ageFiles(this.#catalog, new Placement(this.#catalog.hosts));
    return new Map([...files].map(([path, { hosts }]) => [join(this.#root, path), [...hosts].sort()]));
  }

  /** Documents that hold ciphertext themselves, as file:line: what is not in a file of its own is not rekeyed. */
  inline(): string[] {
    return [...this.#catalog.resources.values()]
      .filter(({ spec }) => secretRefsIn(spec).some(({ secretFrom }) => 'age' in secretFrom))
      .map(sourceOf);
  }

  /** @param asked as in --hosts. @throws Error in words. */
  hostsFor(file: string, asked: string | undefined): readonly string[] {
    if (asked !== undefined) return this.#select(asked);
    const path = placeOf(file);
    const hosts = this.files().get(path);
    if (hosts !== undefined) return hosts;
    const inside = path.startsWith(this.#root + sep) ? relative(this.#root, path) : path;
    throw new Error(`no document names ${inside} (ageFrom) yet: say --hosts, for whom it is`);
  }

  /** @param strict refuses hosts without recipient; otherwise they are told on standard error. */
  readersOf(hosts: readonly string[], strict: boolean): Readers {
    const { fleet } = this.#catalog;
    if (fleet?.broken) throw new Error('the Fleet document has errors: homeostat validate lists them');
    const people = fleet?.document.spec.secretRecipients ?? [];
    const found = hosts.map((name) => {
      const host = this.#catalog.hosts.get(name)!;
      if (host.broken) throw new Error(`Host/${name} has errors: homeostat validate lists them`);
      return { name, recipient: host.document.spec.ageRecipient };
    });
    const without = found.flatMap(({ name, recipient }) => (recipient === undefined ? [`Host/${name}`] : []));
    if (without.length > 0) {
      const words = `no ageRecipient in ${without.join(', ')}: write there what homeostat enroll printed`;
      if (strict || without.length === hosts.length) throw new Error(words);
      console.error(`${words}; it is not encrypted to ${without.length === 1 ? 'that host' : 'them'}`);
    }
    if (people.length === 0) {
      console.error('nobody can edit it afterwards: the Fleet has no secretRecipients');
    }
    const readable = found.flatMap(({ name, recipient }) =>
      recipient === undefined ? [] : [{ name, recipient }],
    );
    const names = [
      ...readable.map(({ name }) => name),
      ...(people.length === 0 ? [] : [`${people.length} ${people.length === 1 ? 'person' : 'people'}`]),
    ];
    return {
      recipients: [...new Set([...readable.map(({ recipient }) => recipient), ...people])],
      words: names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`,
    };
  }

  #select(asked: string): string[] {
    const { hosts } = this.#catalog;
    const all = [...hosts.keys()].sort();
    const parts = asked.split(',').map((part) => part.trim());
    if (asked === 'all') return all;
    if (parts.every((part) => part.includes('='))) {
      const labels = parts.map((part) => [
        part.slice(0, part.indexOf('=')),
        part.slice(part.indexOf('=') + 1),
      ]);
      const chosen = all.filter((name) =>
        labels.every(([label, value]) => labelsOf(hosts.get(name)!)[label!] === value),
      );
      if (chosen.length > 0) return chosen;
      throw new Error(`no host has the labels ${parts.join(', ')}`);
    }
    for (const name of parts) {
      if (hosts.has(name)) continue;
      const near = didYouMean(name, all);
      throw new Error(
        `there is no Host/${name}: ${near === undefined ? `the hosts are ${all.join(', ') || 'none'}` : `did you mean ${near}?`}`,
      );
    }
    return [...new Set(parts)];
  }
}

/** A path as `files` has it: without symbolic links on the way; the file itself need not be there. */
export function placeOf(file: string): string {
  const full = resolve(file);
  const parent = dirname(full);
  return existsSync(parent) ? join(realpathSync(parent), basename(full)) : full;
}

/** In ASCII armor. */
export async function encryptTo(recipients: readonly string[], value: Uint8Array): Promise<string> {
  const age = await import('age-encryption');
  const encrypter = new age.Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  return age.armor.encode(await encrypter.encrypt(value));
}

/** Whole or not at all. Ciphertext: everybody may read it. */
export function writeCiphertext(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { flush: true });
  renameSync(`${file}.new`, file);
}
