/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): where log entries come
 * from. loki.source.file counts as the logs-* recordings do. loki.source.journal was recorded only in a
 * build without journal support, so its two metric names are from Alloy's source; it follows
 * `journalctl` where there is one. Both keep their positions under --storage.path, as Alloy does.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  globSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Component, type Surroundings, scopeOf } from './component.ts';
import type { Args, Capsule, Value } from './evaluate.ts';
import { type Entry, labelsOf, type Rule, receivers, relabel, targetsOf } from './flow.ts';
import type { Labels, Scoped } from './metrics.ts';

const POLL_MS = 250;
const SEVEN_HOURS = 7 * 3_600_000;

/** A small JSON document that survives restarts. */
class Positions {
  readonly #file: string;
  readonly #known: Record<string, string>;
  #timer: NodeJS.Timeout | undefined;

  constructor(storagePath: string, id: string) {
    this.#file = join(storagePath, id, 'positions.json');
    let known: Record<string, string> = {};
    try {
      known = JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, string>;
    } catch {
      // None yet: everything is read from its beginning.
    }
    this.#known = known;
  }

  get(key: string): string | undefined {
    return this.#known[key];
  }

  /** Written down a moment later: a crash in between sends a few lines twice, in real Alloy too. */
  set(key: string, value: string): void {
    this.#known[key] = value;
    this.#timer ??= setTimeout(() => this.flush(), POLL_MS);
  }

  flush(): void {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    mkdirSync(dirname(this.#file), { recursive: true });
    writeFileSync(this.#file, JSON.stringify(this.#known));
  }
}

function publicLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => !name.startsWith('__')));
}

export class JournalSource implements Component {
  readonly exports = {};
  readonly #scope: Scoped;
  readonly #surroundings: Surroundings;
  readonly #positions: Positions;
  readonly #id: string;
  #child: ChildProcess | undefined;
  #args: Args;

  constructor(id: string, args: Args, surroundings: Surroundings) {
    this.#id = id;
    this.#args = args;
    this.#surroundings = surroundings;
    this.#scope = scopeOf(id, surroundings);
    this.#scope.add('loki_source_journal_target_lines_total', 0);
    this.#positions = new Positions(surroundings.storagePath, id);
    this.#follow();
  }

  #follow(): void {
    const { values } = this.#args;
    const maxAge = Number(values['max_age'] ?? SEVEN_HOURS);
    const cursor = this.#positions.get('cursor');
    const from = cursor ? `--after-cursor=${cursor}` : `--since=@${Math.floor((Date.now() - maxAge) / 1000)}`;
    const directory = values['path'] ? [`--directory=${String(values['path'])}`] : [];
    const matches = String(values['matches'] ?? '')
      .split(/\s+/)
      .filter(Boolean);
    const args = ['--output=json', '--follow', '--lines=all', from, ...directory, ...matches];
    const child = spawn(this.#surroundings.journalctl, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    child.on('error', (error) => {
      this.#surroundings.log('warn', 'no journal can be followed', { err: error.message });
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.#read(line));
    this.#child = child;
  }

  #read(line: string): void {
    const fields = JSON.parse(line) as Record<string, unknown>;
    const found: Labels = {};
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value === 'string') found[`__journal_${name.toLowerCase()}`] = value;
    }
    const { values } = this.#args;
    const rules = (values['relabel_rules'] as Capsule<{ rules: Rule[] }> | undefined)?.value.rules ?? [];
    // Its own name goes over a label job of its labels, and a rule over that: recorded in behaviour.md.
    const labels = relabel({ ...found, ...labelsOf(values['labels']), job: this.#id }, rules);
    this.#scope.add('loki_source_journal_target_lines_total', 1);
    const message = fields['MESSAGE'];
    if (labels && (typeof message === 'string' || values['format_as_json'] === true)) {
      const entry: Entry = {
        labels: publicLabels(labels),
        line: values['format_as_json'] === true ? line : String(message),
        timestamp: `${String(fields['__REALTIME_TIMESTAMP'])}000`,
      };
      for (const receiver of receivers<Entry>(this.#args)) receiver.append([entry]);
    }
    this.#positions.set('cursor', String(fields['__CURSOR']));
  }

  async update(args: Args): Promise<void> {
    this.#args = args;
    this.#child?.kill();
    this.#follow();
  }

  async stop(): Promise<void> {
    this.#child?.kill();
    this.#positions.flush();
    this.#scope.dispose();
  }
}

export class FileSource implements Component {
  readonly exports = {};
  readonly #scope: Scoped;
  readonly #positions: Positions;
  #args: Args;
  #timer: NodeJS.Timeout | undefined;

  constructor(id: string, args: Args, surroundings: Surroundings) {
    this.#args = args;
    this.#scope = scopeOf(id, surroundings);
    this.#positions = new Positions(surroundings.storagePath, id);
    this.#apply(args);
  }

  #apply(args: Args): void {
    this.#args = args;
    clearInterval(this.#timer);
    const watch = args.blocks.find((block) => block.name === 'file_watch')?.values ?? {};
    this.#timer = setInterval(() => this.#readAll(), Number(watch['min_poll_frequency'] ?? POLL_MS));
    setImmediate(() => this.#readAll());
  }

  #readAll(): void {
    const match = this.#args.blocks.find((block) => block.name === 'file_match')?.values['enabled'] === true;
    const targets = targetsOf(this.#args.values['targets']);
    const files = match ? expandPaths(targets) : targets;
    this.#scope.set('loki_source_file_files_active_total', files.length);
    for (const target of files) this.#read(target['__path__'] ?? '', publicLabels(target));
  }

  #read(path: string, labels: Labels): void {
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size === undefined) return;
    const before = Number(this.#positions.get(path) ?? 0);
    // A file that became shorter was truncated or replaced.
    const from = before > size ? 0 : before;
    const chunk = Buffer.alloc(size - from);
    const file = openSync(path, 'r');
    const length = readSync(file, chunk, 0, chunk.length, from);
    closeSync(file);
    const end = chunk.subarray(0, length).lastIndexOf('\n') + 1;
    const lines = chunk.subarray(0, end).toString().split('\n').slice(0, -1);
    const timestamp = `${Date.now()}000000`;
    const entries = lines.map((line): Entry => ({ labels: { ...labels, filename: path }, line, timestamp }));
    this.#scope.set('loki_source_file_file_bytes_total', size, { path });
    this.#scope.set('loki_source_file_read_bytes_total', from + end, { path });
    this.#scope.add('loki_source_file_read_lines_total', lines.length, { path });
    if (entries.length === 0) return;
    this.#positions.set(path, String(from + end));
    for (const receiver of receivers<Entry>(this.#args)) receiver.append(entries);
  }

  async update(args: Args): Promise<void> {
    this.#apply(args);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#positions.flush();
    this.#scope.dispose();
  }
}

function expandPaths(targets: Labels[]): Labels[] {
  return targets.flatMap((target) =>
    globSync(target['__path__'] ?? '').map((path) => ({ ...target, __path__: path })),
  );
}

/** local.file_match. The patterns are matched when the config is evaluated, not every sync_period. */
export class FileMatch implements Component {
  readonly exports: Component['exports'] = {};

  constructor(_id: string, args: Args) {
    this.#apply(args);
  }

  #apply(args: Args): void {
    this.exports['targets'] = expandPaths(targetsOf(args.values['path_targets'])) as Value;
  }

  async update(args: Args): Promise<void> {
    this.#apply(args);
  }

  async stop(): Promise<void> {}
}
