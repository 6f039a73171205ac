// `${host.name}`, `${host.address}`, `${host.labels.X}` and `${vars.X}` in texts, and nothing else: `${…}` of
// shells and `$1` of relabel rules stay as they are, and `$${` writes `${`.
import { didYouMean } from '../../api/diagnostics.ts';
import { HOSTS } from './findings.ts';

export interface Scope {
  readonly host: {
    readonly name: string;
    readonly address?: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  /** The host's variables over the fleet's. */
  readonly vars: Readonly<Record<string, string | number | boolean>>;
}

/** A reference that has no value, at an offset of the text. */
export interface Unknown {
  readonly offset: number;
  readonly message: string;
}

const REFERENCE = /\$\$\{|\$\{(host|vars)\.([^${}\r\n]*)\}/g;
const FIELDS = ['name', 'address', 'labels'];

/** Whether the text comes out differently on different hosts. */
export function isDynamic(text: string): boolean {
  if (!text.includes('${host.') && !text.includes('${vars.')) return false;
  for (const match of text.matchAll(REFERENCE)) if (match[1] !== undefined) return true;
  return false;
}

/** Unknown references stay in the text and are told to `unknown`. */
export function interpolate(text: string, scope: Scope, unknown: (u: Unknown) => void): string {
  if (!text.includes('${')) return text;
  return text.replace(REFERENCE, (reference, root: string | undefined, path: string, offset: number) => {
    if (root === undefined) return '${';
    const found = root === 'host' ? hostField(path, reference, scope) : variable(path, reference, scope);
    if (typeof found === 'string') return found;
    unknown({ offset, message: found.problem });
    return reference;
  });
}

function hostField(path: string, reference: string, { host }: Scope): string | { problem: string } {
  if (path === 'name') return host.name;
  if (path === 'address') {
    return host.address ?? { problem: `${reference} has no value on ${HOSTS}: give it a spec.address` };
  }
  if (path.startsWith('labels.')) {
    const label = path.slice('labels.'.length);
    if (Object.hasOwn(host.labels, label)) return host.labels[label]!;
    return {
      problem: `${reference} has no value on ${HOSTS}: give it the label "${label}"${near(label, Object.keys(host.labels), '${host.labels.')}`,
    };
  }
  return {
    problem: `unknown name ${reference}: a host has \${host.name}, \${host.address} and \${host.labels.X}${near(path, FIELDS, '${host.')}; write $${reference} to have it as it is`,
  };
}

function variable(name: string, reference: string, { vars }: Scope): string | { problem: string } {
  if (Object.hasOwn(vars, name)) return String(vars[name]);
  return {
    problem: `${reference} has no value on ${HOSTS}: add "${name}" to the vars of the Fleet or of the host${near(name, Object.keys(vars), '${vars.')}`,
  };
}

function near(word: string, candidates: readonly string[], prefix: string): string {
  const found = didYouMean(word, candidates);
  return found === undefined ? '' : ` (did you mean ${prefix}${found}}?)`;
}
