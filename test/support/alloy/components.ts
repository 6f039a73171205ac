/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): which class runs which
 * component. schema.ts says what each of them takes.
 */
import { readFileSync } from 'node:fs';
import type { Build, Component } from './component.ts';
import { type Args, Capsule } from './evaluate.ts';
import { type Entry, relabel, rulesOf } from './flow.ts';
import { Pipeline, stages } from './loki-pipeline.ts';
import { FileMatch, FileSource, JournalSource } from './loki-sources.ts';
import { LokiWrite } from './loki-write.ts';
import { Exporter, Relabel, Scrape, TargetRelabel } from './prometheus.ts';
import { RemoteWrite } from './remote-write.ts';

/** A component that is configured, healthy and does nothing here. */
function idle(exports: Component['exports'] = {}): Component {
  return { exports, update: async () => {}, stop: async () => {} };
}

function relabelEntries(args: Args): (entry: Entry) => Entry | undefined {
  const rules = rulesOf(args);
  return (entry) => {
    const labels = relabel(entry.labels, rules);
    return labels && { ...entry, labels };
  };
}

/** local.file, as it was when it was built; what changes in the file later is not modelled. */
function localFile({ values }: Args): Component {
  const filename = String(values['filename']);
  try {
    return idle({ content: readFileSync(filename, 'utf8') });
  } catch {
    throw new Error(`failed to read file: open ${filename}: no such file or directory`);
  }
}

export const builders: Readonly<Record<string, Build>> = {
  'prometheus.exporter.unix': (id, args, around) => new Exporter(id, args, around),
  'prometheus.exporter.self': (id, args, around) => new Exporter(id, args, around),
  'prometheus.scrape': (id, args, around) => new Scrape(id, args, around),
  'prometheus.relabel': (id, args, around) => new Relabel(id, args, around),
  'prometheus.remote_write': (id, args, around) => new RemoteWrite(id, args, around),
  'loki.source.journal': (id, args, around) => new JournalSource(id, args, around),
  'loki.source.file': (id, args, around) => new FileSource(id, args, around),
  'loki.source.docker': () => idle(),
  'loki.relabel': (_, args) => new Pipeline(args, relabelEntries, rulesOf(args)),
  'loki.process': (_, args) => new Pipeline(args, stages),
  'loki.write': (id, args, around) => new LokiWrite(id, args, around),
  'loki.echo': () => idle({ receiver: new Capsule({ append: () => {} }) }),
  'otelcol.exporter.datadog': () => idle({ input: new Capsule({ append: () => {} }) }),
  'local.file': (_, args) => localFile(args),
  'local.file_match': (id, args) => new FileMatch(id, args),
  'discovery.relabel': (id, args) => new TargetRelabel(id, args),
  'discovery.docker': () => idle({ targets: [] }),
};
