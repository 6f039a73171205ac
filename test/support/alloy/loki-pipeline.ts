/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): what stands between a
 * source of log entries and loki.write.
 */
import type { Component } from './component.ts';
import { type Args, Capsule, type Value } from './evaluate.ts';
import { type Entry, labelsOf, type Receiver, type Rule, receivers } from './flow.ts';

/** loki.relabel and loki.process (of whose stages static_labels, label_drop and drop by expression work). */
export class Pipeline implements Component {
  readonly exports: Component['exports'];
  readonly #make: (args: Args) => (entry: Entry) => Entry | undefined;
  #change: (entry: Entry) => Entry | undefined;
  #receivers: Receiver<Entry>[];

  constructor(args: Args, change: (args: Args) => (entry: Entry) => Entry | undefined, rules: Rule[] = []) {
    this.#make = change;
    this.#change = change(args);
    this.#receivers = receivers(args);
    const append = (entries: Entry[]): void => {
      const kept = entries.map((entry) => this.#change(entry)).filter((entry) => entry !== undefined);
      for (const receiver of this.#receivers) receiver.append(kept);
    };
    this.exports = { receiver: new Capsule<Receiver<Entry>>({ append }), rules: new Capsule({ rules }) };
  }

  async update(args: Args): Promise<void> {
    this.#change = this.#make(args);
    this.#receivers = receivers(args);
  }

  async stop(): Promise<void> {}
}

/** What the modelled stages of a loki.process do to an entry. */
export function stages(args: Args): (entry: Entry) => Entry | undefined {
  return (entry) => {
    let labels = entry.labels;
    for (const { name, values } of args.blocks) {
      if (name === 'stage.static_labels') labels = { ...labels, ...labelsOf(values['values']) };
      if (name === 'stage.label_drop') {
        const dropped = new Set((values['values'] ?? []) as Value[]);
        labels = Object.fromEntries(Object.entries(labels).filter(([label]) => !dropped.has(label)));
      }
      const expression = name === 'stage.drop' ? values['expression'] : undefined;
      if (typeof expression === 'string' && new RegExp(expression).test(entry.line)) return undefined;
    }
    return { ...entry, labels };
  };
}
