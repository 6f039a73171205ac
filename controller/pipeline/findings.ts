// Diagnostics that depend on the host: the same finding on a thousand hosts is said once, with the hosts named.
import type { Diagnostic } from '../../api/diagnostics.ts';

/** Stands in a message where the hosts' names go. */
export const HOSTS = '\u0000';

/** A finding's message may hold HOSTS. */
export class Findings {
  readonly #byText = new Map<string, { diagnostic: Diagnostic; hosts: Set<string> }>();

  add(diagnostic: Diagnostic, host?: string): void {
    const { file, line, column, severity, message } = diagnostic;
    const key = `${file}\n${line}\n${column}\n${severity}\n${message}`;
    let entry = this.#byText.get(key);
    if (entry === undefined) {
      entry = { diagnostic, hosts: new Set() };
      this.#byText.set(key, entry);
    }
    if (host !== undefined) entry.hosts.add(host);
  }

  list(): Diagnostic[] {
    return [...this.#byText.values()].map(({ diagnostic, hosts }) =>
      diagnostic.message.includes(HOSTS)
        ? { ...diagnostic, message: diagnostic.message.replaceAll(HOSTS, nameHosts([...hosts].sort())) }
        : diagnostic,
    );
  }
}

/** @param hosts sorted. */
export function nameHosts(hosts: readonly string[]): string {
  if (hosts.length <= 1) return `host ${hosts[0] ?? '?'}`;
  if (hosts.length <= 3) return `hosts ${hosts.slice(0, -1).join(', ')} and ${hosts.at(-1)}`;
  return `hosts ${hosts.slice(0, 2).join(', ')} and ${hosts.length - 2} more`;
}
