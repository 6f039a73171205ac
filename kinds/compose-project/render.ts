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
      const { environment, labels, appendCommand, restartOn: _, ...rest } = service as ExtendedService;
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

/** Of the user's files, what ours has to fit. */
export interface Ground {
  /** Commands of their services, by name. */
  readonly commands: ReadonlyMap<string, Command>;
  /** Those of them that a profile may switch off. */
  readonly optional?: ReadonlySet<string>;
  /** The project's directory as seen from the one that compose reads paths from: the folder of their first file. */
  readonly way?: string;
  /** Services of ours that they leave no room for. */
  readonly without?: ReadonlySet<string>;
}

/**
 * The same with whole commands and digests, on this base. Left out is what it has no room for (any more): to extend a
 * service that it does not have, to add one that it has. Otherwise compose would refuse all of theirs as well.
 */
export function onBase(override: Override, ground: Ground): Override {
  const { commands, optional = new Set(), way = '.', without } = ground;
  const services: Record<string, Service> = {};
  for (const [name, written] of Object.entries(override.services)) {
    const { [LABEL.digest]: _, ...labels } = labelsOf(written);
    const base = commands.get(name);
    if ((labels[LABEL.part] === 'extended') !== commands.has(name) || without?.has(name) === true) continue;
    const append = override['x-homeostat'].append[name];
    const service: Service = {
      ...written,
      ...(append === undefined ? {} : { command: appended(base!, append) }),
      ...(written['env_file'] === undefined ? {} : { env_file: [`${way}/${envFileName(name)}`] }),
      ...needing(written['depends_on'], optional),
      labels,
    };
    const digest = digestOf(service).slice(0, 12);
    services[name] = { ...service, labels: { ...labels, [LABEL.digest]: digest } };
  }
  return { ...override, services };
}

/** Compose would refuse all of theirs while a profile switches off what ours needs, unless ours can do without. */
function needing(written: Json | undefined, optional: ReadonlySet<string>): Record<string, Json> {
  if (written === undefined || written === null) return {};
  const names = Array.isArray(written) ? written.map(String) : Object.keys(written as object);
  if (!names.some((name) => optional.has(name))) return { depends_on: names };
  const entries = names.map((name) => [
    name,
    { condition: 'service_started', ...(optional.has(name) ? { required: false } : {}) },
  ]);
  return { depends_on: Object.fromEntries(entries) };
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
  const words = wordsOf(command);
  const fresh = groups(more)
    .filter((group) => !says(words, group))
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

function contains(words: readonly string[], part: readonly string[]): boolean {
  return words.some((_, i) => part.every((word, j) => words[i + j] === word));
}

/** Whether a command says this flag already: `--a b` is `--a=b`, and `--a` is `--a=true`. */
export function says(words: readonly string[], group: readonly string[]): boolean {
  const { name, value } = flagOf(group);
  if (name === undefined) return contains(words, group);
  const spellings = value === undefined ? [[name], [`${name}=true`]] : [[`${name}=${value}`], [name, value]];
  if (value === 'true') spellings.push([name]);
  return spellings.some((spelling) => contains(words, spelling));
}

/** A flag of ours that a command says with another value, as that command says it. */
export function saidOtherwise(words: readonly string[], more: readonly string[]): string | undefined {
  for (const group of groups(more)) {
    const { name } = flagOf(group);
    if (name === undefined || says(words, group)) continue;
    const i = words.findIndex((word) => word === name || word.startsWith(`${name}=`));
    if (i < 0) continue;
    const next = words[i + 1];
    return words[i] === name && next !== undefined && !next.startsWith('-') ? `${name} ${next}` : words[i];
  }
  return undefined;
}

function flagOf(group: readonly string[]): { name?: string; value?: string | undefined } {
  const [flag = '', ...values] = group;
  if (!flag.startsWith('--') || values.length > 1) return {};
  const at = flag.indexOf('=');
  if (at < 0) return { name: flag, value: values[0] };
  return values.length > 0 ? {} : { name: flag.slice(0, at), value: flag.slice(at + 1) };
}

export const wordsOf = (command: Command): readonly string[] =>
  typeof command === 'string' ? roughWords(command) : command;

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
