// `${host.name}`, `${host.address}`, `${host.labels.X}`, `${vars.X}` and `${targets.JOB}` in texts, and nothing else:
// `${…}` of shells and `$1` of relabel rules stay as they are, and `$${` writes `${`.
import { didYouMean } from '../../api/diagnostics.ts';
import { HOSTS } from './findings.ts';

/** What is scraped of all hosts, by job. */
export interface TargetLists {
  readonly names: readonly string[];
  of(job: string): string | undefined;
}

export interface Scope {
  readonly host: {
    readonly name: string;
    readonly address?: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  /** The host's variables over the fleet's. */
  readonly vars: Readonly<Record<string, string | number | boolean>>;
  readonly targets: TargetLists;
}

/** A reference that has no value, at an offset of the text. */
export interface Unknown {
  readonly offset: number;
  /** Made when it is asked for: a text may have more of them than are reported. */
  readonly message: () => string;
}

const REFERENCE = /\$\$\{|\$\{(host|vars|targets)\.([^${}\r\n]*)\}/g;
const FIELDS = ['name', 'address', 'labels'];
const RESOLVE = { host: hostField, vars: variable, targets };

/** Whether the text comes out differently on different hosts. */
export function isDynamic(text: string): boolean {
  return names(text, Object.keys(RESOLVE));
}

/** Whether other hosts than the one it is for enter the text. */
export function isFleetwide(text: string): boolean {
  return names(text, ['targets']);
}

function names(text: string, roots: readonly string[]): boolean {
  if (!roots.some((root) => text.includes(`\${${root}.`))) return false;
  for (const [, root] of text.matchAll(REFERENCE))
    if (root !== undefined && roots.includes(root)) return true;
  return false;
}

type Found = string | (() => string);

/** Unknown references stay in the text and are reported to `unknown`. */
export function interpolate(text: string, scope: Scope, unknown: (u: Unknown) => void): string {
  if (!text.includes('${')) return text;
  return text.replace(REFERENCE, (reference, root: string | undefined, path: string, offset: number) => {
    if (root === undefined) return '${';
    const found = RESOLVE[root as keyof typeof RESOLVE](path, reference, scope);
    if (typeof found === 'string') return found;
    unknown({ offset, message: found });
    return reference;
  });
}

function hostField(path: string, reference: string, { host }: Scope): Found {
  if (path === 'name') return host.name;
  if (path === 'address') {
    return host.address ?? (() => `${reference} has no value on ${HOSTS}: give it a spec.address`);
  }
  if (path.startsWith('labels.')) {
    const label = path.slice('labels.'.length);
    if (Object.hasOwn(host.labels, label)) return host.labels[label]!;
    return () =>
      `${reference} has no value on ${HOSTS}: give it the label "${label}"${near(label, Object.keys(host.labels), '${host.labels.')}`;
  }
  return () =>
    `unknown name ${reference}: a host has \${host.name}, \${host.address} and \${host.labels.X}${near(path, FIELDS, '${host.')}; write $${reference} to have it as it is`;
}

function variable(name: string, reference: string, { vars }: Scope): Found {
  if (Object.hasOwn(vars, name)) return String(vars[name]);
  return () =>
    `${reference} has no value on ${HOSTS}: add "${name}" to the vars of the Fleet or of the host${near(name, Object.keys(vars), '${vars.')}`;
}

function targets(job: string, reference: string, { targets: all }: Scope): Found {
  return (
    all.of(job) ??
    (() => `unknown name ${reference}: ${jobs(job, all)}; write $${reference} to have it as it is`)
  );
}

function jobs(job: string, { names }: Scope['targets']): string {
  if (names.length === 0)
    return `the Fleet has no spec.scrape, so there are no jobs: add {job: ${job || 'name'}, port: …} there`;
  return `Fleet.spec.scrape has ${names.map((name) => `\${targets.${name}}`).join(' and ')}${near(job, names, '${targets.')}`;
}

function near(word: string, candidates: readonly string[], prefix: string): string {
  const found = didYouMean(word, candidates);
  return found === undefined ? '' : ` (did you mean ${prefix}${found}}?)`;
}
