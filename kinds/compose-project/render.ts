// Our file of the project, as text. Pure. It is JSON, which is YAML, so that no YAML parser is needed here; it says
// itself what it appended to which command, so that it can be made anew when the base changes, by an undo too.
import { isSecretRef, type SecretRef } from '../../api/documents.ts';
import { digestOf, type Json } from '../../api/json.ts';
import type { ComposeProjectSpec, ExtendedService } from './schema.ts';

/** A service's command as it stands in the user's files: words, or one text that compose splits like a shell. */
export type Command = string | readonly string[];

export const LABEL = {
  /** Key of the document that the container belongs to. */
  document: 'dev.homeostat.document',
  /** `added`, or `extended` for a service of the user's files. */
  part: 'dev.homeostat.part',
  /** Of our part of the service, as text: tells which rendering a container was made from. */
  digest: 'dev.homeostat.digest',
} as const;

type Service = Readonly<Record<string, Json>>;

export interface Override {
  readonly 'x-homeostat': {
    readonly document: string;
    readonly append: Readonly<Record<string, readonly string[]>>;
  };
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes?: Readonly<Record<string, Json>>;
}

const header = (document: string) => `# homeostat ${document}: edit in git, not here\n`;

export const envFileName = (service: string): string => `compose.homeostat.${service}.env`;
export const isEnvFileName = (name: string): boolean => /^compose\.homeostat\..+\.env$/.test(name);

/** The variables of a service whose values are secret. */
export function secretsOf(service: Pick<ExtendedService, 'environment'>): [string, SecretRef][] {
  return Object.entries(service.environment ?? {}).filter((e): e is [string, SecretRef] => isSecretRef(e[1]));
}

/** What the spec says, without what only the base can tell. */
export function overrideOf(document: string, spec: ComposeProjectSpec): Override {
  const services: Record<string, Service> = {};
  const append: Record<string, readonly string[]> = {};
  for (const [part, named] of [
    ['added', spec.services],
    ['extended', spec.extend],
  ] as const) {
    for (const [name, service] of Object.entries(named ?? {})) {
      const { environment, labels, appendCommand, ...rest } = service as ExtendedService;
      const plain = Object.entries(environment ?? {}).filter(([, value]) => !isSecretRef(value));
      if (appendCommand !== undefined) append[name] = appendCommand;
      services[name] = {
        ...(rest as Service),
        ...(plain.length === 0 ? {} : { environment: texts(plain) }),
        ...(secretsOf(service).length === 0 ? {} : { env_file: [`./${envFileName(name)}`] }),
        labels: { ...texts(Object.entries(labels ?? {})), [LABEL.document]: document, [LABEL.part]: part },
      };
    }
  }
  const volumes = Object.entries(spec.volumes ?? {}).map(([name, v]) => [name, v as Json] as const);
  return {
    'x-homeostat': { document, append },
    services,
    ...(volumes.length === 0 ? {} : { volumes: Object.fromEntries(volumes) }),
  };
}

/**
 * The same with whole commands and digests, on this base. Left out is what it has no room for (any more): to extend a
 * service that it does not have, to add one that it has. Otherwise compose would refuse all of theirs as well.
 * @param commands of the services of the base, by name.
 */
export function onBase(override: Override, commands: ReadonlyMap<string, Command>): Override {
  const services: Record<string, Service> = {};
  for (const [name, written] of Object.entries(override.services)) {
    const { [LABEL.digest]: _, ...labels } = labelsOf(written);
    const base = commands.get(name);
    if ((labels[LABEL.part] === 'extended') !== commands.has(name)) continue;
    const append = override['x-homeostat'].append[name];
    const command = append === undefined ? undefined : { command: appended(base!, append) };
    const service: Service = { ...written, ...command, labels };
    const digest = digestOf(service).slice(0, 12);
    services[name] = { ...service, labels: { ...labels, [LABEL.digest]: digest } };
  }
  return { ...override, services };
}

export function labelsOf(service: Service): Readonly<Record<string, string>> {
  return (service['labels'] ?? {}) as Readonly<Record<string, string>>;
}

/** Without our env files, which may not be there yet: what is in them is neither wrong nor a power. */
export function withoutEnvFiles(override: Override): Override {
  const services = Object.entries(override.services).map(
    ([name, { env_file: _, ...service }]) => [name, service] as const,
  );
  return { ...override, services: Object.fromEntries(services) };
}

export function textOf(override: Override): string {
  return `${header(override['x-homeostat'].document)}${JSON.stringify(override, null, 2)}\n`;
}

/** Whether a compose file was written by us, by its first line. */
export function isOurs(text: string): boolean {
  return /^# homeostat ComposeProject\/\S+: /.test(text);
}

/** @returns undefined for what is not ours, or was edited until it can't be read. */
export function parseOverride(text: string): Override | undefined {
  if (!isOurs(text)) return undefined;
  try {
    const value = JSON.parse(text.slice(text.indexOf('\n'))) as Override;
    return typeof value['x-homeostat'].append === 'object' && typeof value.services === 'object'
      ? value
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The command with these arguments after it; those that stand in it already are not said twice, since programs
 * refuse that (Prometheus: "flag … cannot be repeated").
 */
export function appended(command: Command, more: readonly string[]): Command {
  const words = typeof command === 'string' ? roughWords(command) : command;
  const fresh = groups(more)
    .filter((group) => !contains(words, group))
    .flat();
  if (fresh.length === 0) return command;
  if (typeof command !== 'string') return [...command, ...fresh];
  // Compose splits such a text only after it put variables in, so it has to stay a text.
  return [command.trimEnd(), ...fresh.map(quoted)].filter((part) => part !== '').join(' ');
}

/** A flag with the values behind it is one thing. */
export function groups(words: readonly string[]): string[][] {
  const found: string[][] = [];
  for (const word of words) {
    if (word.startsWith('-') || found.length === 0) found.push([word]);
    else found.at(-1)!.push(word);
  }
  return found;
}

export function contains(words: readonly string[], part: readonly string[]): boolean {
  return words.some((_, i) => part.every((word, j) => words[i + j] === word));
}

/** Good enough to recognise a flag, which holds no space. */
function roughWords(text: string): string[] {
  return text.split(/\s+/).map((word) => word.replace(/^(['"])(.*)\1$/, '$2'));
}

function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function texts(entries: readonly (readonly [string, unknown])[]): Record<string, string> {
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]));
}

/** Lines of an env_file, each read back as exactly this value (compose-go v2, dotenv/parser.go). */
export function envFileText(variables: readonly (readonly [string, string])[]): string {
  return variables.map(([name, value]) => `${name}=${literal(value)}\n`).join('');
}

function literal(value: string): string {
  if (!/['\r]|\\$/.test(value)) return `'${value}'`;
  const escapes: Record<string, string> = { '\n': '\\n', '\r': '\\r' };
  return `"${value.replace(/[\\"$\n\r]/g, (c) => escapes[c] ?? `\\${c}`)}"`;
}
