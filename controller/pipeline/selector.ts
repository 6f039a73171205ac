// Which hosts a label selector means, and whether it means what its writer thinks: a selector that matches nothing,
// and one that excludes a label or value that is only misspelt, are told. Pure.
import { Suggestions } from '../../api/diagnostics.ts';
import type { HostSelector, LabelRequirement, LabelSelector } from '../../api/documents.ts';

type Labels = Readonly<Record<string, string>>;

export interface Doubt {
  /** Below `hosts`. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** The hosts of one commit by their labels. Answers are kept: thousands of documents share a few selectors. */
export class LabelIndex {
  /** Every host, sorted by name. */
  readonly all: readonly string[];
  readonly #labels: ReadonlyMap<string, Labels>;
  /** label → value → hosts, sorted. */
  readonly #hosts = new Map<string, Map<string, string[]>>();
  readonly #answers = new Map<string, readonly string[]>();
  readonly #keys = new Suggestions(() => this.#hosts.keys());
  readonly #values = new Map<string, Suggestions>();

  constructor(hosts: Iterable<readonly [name: string, labels: Labels]>) {
    this.#labels = new Map(hosts);
    this.all = [...this.#labels.keys()].sort();
    for (const name of this.all) {
      for (const [label, value] of Object.entries(this.#labels.get(name)!)) {
        let values = this.#hosts.get(label);
        if (values === undefined) {
          values = new Map();
          this.#hosts.set(label, values);
        }
        const names = values.get(value);
        if (names === undefined) values.set(value, [name]);
        else names.push(name);
      }
    }
  }

  /** The hosts for which all of the selector holds, sorted by name. */
  select(selector: LabelSelector): readonly string[] {
    const key = JSON.stringify([selector.matchLabels, selector.matchExpressions]);
    let answer = this.#answers.get(key);
    if (answer === undefined) {
      answer = this.#select(requirementsOf(selector));
      this.#answers.set(key, answer);
    }
    return answer;
  }

  /**
   * What a person may not have meant; nothing is wrong with it otherwise.
   * @param optional it may well match no host: then only what looks like a typo is told.
   */
  doubts(selector: LabelSelector, what: string, optional: boolean): Doubt[] {
    if (this.select(selector).length === 0) return this.#nowhere(selector, what, optional);
    return (selector.matchExpressions ?? []).flatMap((requirement, i) => {
      if (!isNegative(requirement)) return [];
      // What excludes nobody is usual (a label that no host has yet); what nearly excludes somebody is a typo.
      const near = this.#near(requirement);
      if (near === undefined) return [];
      const message = `no host has ${wordsOf(requirement)}, so this excludes none of them (did you mean ${near}?)`;
      return [{ path: ['matchExpressions', i], message }];
    });
  }

  #select(requirements: readonly LabelRequirement[]): readonly string[] {
    // The narrowest list is walked through, and only looked up in the labels for everything else.
    let narrowest = this.all;
    for (const requirement of requirements) {
      if (isNegative(requirement)) continue;
      const names = this.#having(requirement);
      if (names.length < narrowest.length) narrowest = names;
    }
    return narrowest.filter((name) => requirements.every((r) => holds(r, this.#labels.get(name)!)));
  }

  #having(requirement: LabelRequirement): readonly string[] {
    const values = this.#hosts.get(requirement.key);
    if (values === undefined) return [];
    if (requirement.operator === 'In' && requirement.values.length === 1)
      return values.get(requirement.values[0]!) ?? [];
    const lists =
      requirement.operator === 'In'
        ? [...new Set(requirement.values)].map((value) => values.get(value) ?? [])
        : [...values.values()];
    return lists.flat().sort();
  }

  #nowhere(
    { matchLabels = {}, matchExpressions = [] }: LabelSelector,
    what: string,
    optional: boolean,
  ): Doubt[] {
    const labels = Object.entries(matchLabels);
    const near = [...labels.map(isLabel), ...matchExpressions].map((r) => this.#near(r)).find((n) => n);
    if (optional && near === undefined) return [];
    const hint = near === undefined ? '' : ` (did you mean ${near}?)`;
    const wanted = labels.map(([label, value]) => `${label}: ${value}`);
    if (matchExpressions.length === 0) {
      const message = `no host has the labels ${wanted.join(', ')}, so ${what} goes nowhere: give a Host these labels${hint}`;
      return [{ path: ['matchLabels'], message }];
    }
    wanted.push(...matchExpressions.map((r) => (isNegative(r) ? `not ${wordsOf(r)}` : wordsOf(r))));
    const message = `no host fits ${wanted.join(', ')}, so ${what} goes nowhere: give a Host labels that do${hint}`;
    return [{ path: labels.length > 0 ? [] : ['matchExpressions'], message }];
  }

  /** A label or value that hosts have and that is nearly the one written; undefined when that one is there, too. */
  #near(requirement: LabelRequirement): string | undefined {
    const values = this.#hosts.get(requirement.key);
    if (values === undefined) {
      const near = this.#keys.near(requirement.key);
      return near === undefined ? undefined : `the label "${near}"`;
    }
    const suggestions = this.#values.get(requirement.key) ?? new Suggestions(() => values.keys());
    this.#values.set(requirement.key, suggestions);
    for (const value of requirement.values ?? []) {
      const near = values.has(value) ? undefined : suggestions.near(value);
      if (near !== undefined) return `${requirement.key}: ${near}`;
    }
    return undefined;
  }
}

/** Whether one host is meant; an index answers it for many. */
export function selects(selector: HostSelector, name: string, labels: Labels): boolean {
  if ('all' in selector) return true;
  if ('names' in selector) return selector.names.includes(name);
  return requirementsOf(selector).every((requirement) => holds(requirement, labels));
}

function requirementsOf({ matchLabels = {}, matchExpressions = [] }: LabelSelector): LabelRequirement[] {
  return [...Object.entries(matchLabels).map(isLabel), ...matchExpressions];
}

function isLabel([key, value]: readonly [string, string]): LabelRequirement {
  return { key, operator: 'In', values: [value] };
}

function isNegative({ operator }: LabelRequirement): boolean {
  return operator === 'NotIn' || operator === 'DoesNotExist';
}

function holds(requirement: LabelRequirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key]! : undefined;
  switch (requirement.operator) {
    case 'In':
      return value !== undefined && requirement.values.includes(value);
    case 'NotIn':
      return value === undefined || !requirement.values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

/** `telemetry: lean or off`, or `the label telemetry`. */
function wordsOf(requirement: LabelRequirement): string {
  return requirement.values !== undefined
    ? `${requirement.key}: ${requirement.values.join(' or ')}`
    : `the label ${requirement.key}`;
}
