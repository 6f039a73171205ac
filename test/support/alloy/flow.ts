/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): what flows between
 * components (samples, log entries, targets), and relabelling, which can change or drop any of them.
 */
import { createHash } from 'node:crypto';
import { type Args, Capsule, type Value } from './evaluate.ts';
import type { Labels } from './metrics.ts';

export interface Sample {
  labels: Labels;
  value: number;
  /** Milliseconds since 1970. */
  timestamp: number;
}

export interface Entry {
  labels: Labels;
  line: string;
  /** Nanoseconds since 1970, as Loki takes them. */
  timestamp: string;
}

/** The `receiver` of a component: samples for prometheus.*, entries for loki.*. */
export interface Receiver<T> {
  append(items: T[]): void;
}

export interface Rule {
  action: string;
  sources: string[];
  separator: string;
  regex: RegExp;
  modulus: number;
  target: string;
  replacement: string;
}

/** The receivers in a `forward_to`; what isn't one (an export of a component that failed) is left out. */
export function receivers<T>(args: Args): Receiver<T>[] {
  const list = (args.values['forward_to'] ?? []) as Value[];
  return list.filter((one): one is Capsule<Receiver<T>> => one instanceof Capsule).map((one) => one.value);
}

export function labelsOf(value: Value | undefined): Labels {
  const entries = Object.entries((value ?? {}) as Record<string, Value>);
  return Object.fromEntries(entries.map(([name, one]) => [name, String(one)]));
}

export function targetsOf(value: Value | undefined): Labels[] {
  return ((value ?? []) as Value[]).map((one) => labelsOf(one));
}

/** @throws Error when a regular expression can't be read. */
export function rulesOf(args: Args, name = 'rule'): Rule[] {
  return args.blocks
    .filter((block) => block.name === name)
    .map(({ values }) => ({
      action: String(values['action'] ?? 'replace'),
      sources: ((values['source_labels'] ?? []) as Value[]).map(String),
      separator: String(values['separator'] ?? ';'),
      regex: anchored(String(values['regex'] ?? '(.*)')),
      modulus: Number(values['modulus'] ?? 0),
      target: String(values['target_label'] ?? ''),
      replacement: String(values['replacement'] ?? '$1'),
    }));
}

function anchored(pattern: string): RegExp {
  const ignoreCase = pattern.startsWith('(?i)');
  return new RegExp(`^(?:${ignoreCase ? pattern.slice(4) : pattern})$`, ignoreCase ? 'si' : 's');
}

/** The labels after all rules, or undefined when a rule drops them. */
export function relabel(labels: Labels, rules: Rule[]): Labels | undefined {
  let current: Labels = { ...labels };
  for (const rule of rules) {
    const value = rule.sources.map((name) => current[name] ?? '').join(rule.separator);
    const match = rule.regex.exec(value);
    switch (rule.action.toLowerCase()) {
      case 'drop':
        if (match) return undefined;
        break;
      case 'keep':
        if (!match) return undefined;
        break;
      case 'dropequal':
        if (current[rule.target] === value) return undefined;
        break;
      case 'keepequal':
        if (current[rule.target] !== value) return undefined;
        break;
      case 'replace':
        if (match) assign(current, expand(rule.target, match), expand(rule.replacement, match));
        break;
      case 'lowercase':
        assign(current, rule.target, value.toLowerCase());
        break;
      case 'uppercase':
        assign(current, rule.target, value.toUpperCase());
        break;
      case 'hashmod':
        assign(current, rule.target, String(hash(value) % BigInt(rule.modulus || 1)));
        break;
      case 'labelmap':
        for (const [name, one] of Object.entries(current)) {
          const found = rule.regex.exec(name);
          if (found) assign(current, expand(rule.replacement, found), one);
        }
        break;
      case 'labeldrop':
      case 'labelkeep': {
        const keep = rule.action.toLowerCase() === 'labelkeep';
        current = Object.fromEntries(
          Object.entries(current).filter(([name]) => rule.regex.test(name) === keep),
        );
      }
    }
  }
  return current;
}

/** An empty label is no label. */
function assign(labels: Labels, name: string, value: string): void {
  if (value === '') delete labels[name];
  else labels[name] = value;
}

function expand(template: string, match: RegExpExecArray): string {
  return template.replace(/\$(?:\{(\w+)\}|(\d+))/g, (_, braced?: string, number?: string) => {
    const key = braced ?? number ?? '';
    return (/^\d+$/.test(key) ? match[Number(key)] : match.groups?.[key]) ?? '';
  });
}

function hash(value: string): bigint {
  return createHash('md5').update(value).digest().readBigUInt64BE(8);
}
