// Diagnostics that depend on the host: the same finding on a thousand hosts is said once, with the hosts named. And what
// is wrong with a profile: said once, with the documents that it is wrong for.
import type { Diagnostic } from '../../api/diagnostics.ts';

/** Stands in a message where the hosts' names go. */
export const HOSTS = '\u0000';

/** Stand around the document that a message was found for. */
const DOCUMENT = /\u0001([^\u0001]*)\u0001/;

/** Stands in a message about a profile where the names of the documents go that it is wrong for. */
export function inheritedBy(document: string): string {
  return `\u0001${document}\u0001`;
}

/** A finding's message may hold HOSTS and `inheritedBy`. */
export class Findings {
  readonly #byText = new Map<
    string,
    { diagnostic: Diagnostic; hosts: Set<string>; documents: Set<string> }
  >();

  add(diagnostic: Diagnostic, host?: string): void {
    const { file, line, column, severity } = diagnostic;
    const document = DOCUMENT.exec(diagnostic.message)?.[1];
    const message =
      document === undefined ? diagnostic.message : diagnostic.message.replace(DOCUMENT, inheritedBy(''));
    const key = `${file}\n${line}\n${column}\n${severity}\n${message}`;
    let entry = this.#byText.get(key);
    if (entry === undefined) {
      entry = { diagnostic: { ...diagnostic, message }, hosts: new Set(), documents: new Set() };
      this.#byText.set(key, entry);
    }
    if (host !== undefined) entry.hosts.add(host);
    if (document !== undefined) entry.documents.add(document);
  }

  list(): Diagnostic[] {
    return [...this.#byText.values()].map(({ diagnostic, hosts, documents }) => {
      const message = diagnostic.message
        .replaceAll(HOSTS, () => nameHosts([...hosts].sort()))
        .replace(DOCUMENT, () => `(for ${named([...documents].sort())})`);
      return message === diagnostic.message ? diagnostic : { ...diagnostic, message };
    });
  }
}

/** @param hosts sorted. */
export function nameHosts(hosts: readonly string[]): string {
  return hosts.length <= 1 ? `host ${hosts[0] ?? '?'}` : `hosts ${named(hosts)}`;
}

function named(names: readonly string[]): string {
  if (names.length <= 3) return [names.slice(0, -1).join(', '), names.at(-1)].filter(Boolean).join(' and ');
  return `${names.slice(0, 2).join(', ')} and ${names.length - 2} more`;
}
