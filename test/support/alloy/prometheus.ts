/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): the prometheus.*
 * components in front of remote_write. Their counters follow the recordings: a relabel rule that drops
 * everything lets the scrape's prometheus_forwarded_samples_total rise and stops the relabel's (drop-all).
 */
import { hostname } from 'node:os';
import { type Component, IN_MEMORY, type Surroundings, scopeOf } from './component.ts';
import { formatDuration } from './duration.ts';
import { type Args, Capsule, type Value } from './evaluate.ts';
import { type Receiver, type Rule, receivers, relabel, rulesOf, type Sample, targetsOf } from './flow.ts';
import { parseExposition, type Reading, readHost } from './host.ts';
import type { Labels, Scoped } from './metrics.ts';
import { get } from './wire.ts';

const FORWARDED = 'prometheus_forwarded_samples_total';

/** prometheus.exporter.unix and .self: a target that is scraped in memory. */
export class Exporter implements Component {
  readonly exports: Component['exports'];
  readonly #path: string;
  readonly #surroundings: Surroundings;
  #args: Args;

  constructor(id: string, args: Args, surroundings: Surroundings) {
    this.#args = args;
    this.#surroundings = surroundings;
    this.#path = `/api/v0/component/${id}/metrics`;
    const kind = id.split('.')[2];
    surroundings.inMemory.set(this.#path, () =>
      kind === 'unix' ? this.#readHost() : parseExposition(surroundings.metrics.render()),
    );
    const target = {
      __address__: IN_MEMORY,
      __metrics_path__: this.#path,
      instance: hostname(),
      job: `integrations/${kind}`,
    };
    this.exports = { targets: [target] };
  }

  #readHost(): Reading[] {
    const { values } = this.#args;
    return readHost(values['set_collectors'] as string[] | undefined, {
      procfs: String(values['procfs_path'] ?? '/proc'),
      rootfs: String(values['rootfs_path'] ?? '/'),
    });
  }

  async update(args: Args): Promise<void> {
    this.#args = args;
  }

  async stop(): Promise<void> {
    this.#surroundings.inMemory.delete(this.#path);
  }
}

/** What `validate` does not find and a load does. @throws Error in Alloy's words */
export function checkScrape({ values }: Args): void {
  const interval = Number(values['scrape_interval'] ?? 60_000);
  const timeout = Number(values['scrape_timeout'] ?? 10_000);
  if (timeout <= interval) return;
  const [long, short] = [formatDuration(timeout), formatDuration(interval)];
  const job = String(values['job_name'] ?? '');
  throw new Error(
    `scrape_timeout (${long}) greater than scrape_interval (${short}) for scrape config with job name "${job}"`,
  );
}

export class Scrape implements Component {
  readonly exports = {};
  readonly #id: string;
  readonly #scope: Scoped;
  readonly #surroundings: Surroundings;
  readonly #stopped = new AbortController();
  #receivers: Receiver<Sample>[] = [];
  #args: Args;
  #timer: NodeJS.Timeout | undefined;

  constructor(id: string, args: Args, surroundings: Surroundings) {
    this.#id = id;
    this.#args = args;
    this.#surroundings = surroundings;
    this.#scope = scopeOf(id, surroundings);
    this.#scope.add(FORWARDED, 0);
    this.#apply(args);
    // Real Alloy spreads the first scrape over the interval; here it comes at once.
    setImmediate(() => this.#scrapeAll());
  }

  #apply(args: Args): void {
    this.#args = args;
    this.#receivers = receivers(args);
    this.#scope.set('prometheus_scrape_targets_gauge', targetsOf(args.values['targets']).length);
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#scrapeAll(), Number(args.values['scrape_interval'] ?? 60_000));
  }

  async update(args: Args): Promise<void> {
    this.#apply(args);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopped.abort();
    this.#scope.dispose();
  }

  #scrapeAll(): void {
    for (const target of targetsOf(this.#args.values['targets'])) {
      void this.#scrape(target).then((samples) => {
        if (this.#stopped.signal.aborted) return;
        this.#scope.add(FORWARDED, samples.length);
        for (const receiver of this.#receivers) receiver.append(samples);
      });
    }
  }

  async #scrape(target: Labels): Promise<Sample[]> {
    const started = performance.now();
    const timestamp = Date.now();
    const own = ownLabels(target, String(this.#args.values['job_name'] ?? this.#id));
    let readings: Reading[] = [];
    let up = 1;
    try {
      readings = await this.#read(target);
    } catch (error) {
      up = 0;
      this.#surroundings.log('warn', 'scrape failed', { component_id: this.#id, err: String(error) });
    }
    const about: Reading[] = [
      { name: 'up', value: up, labels: {} },
      { name: 'scrape_duration_seconds', value: (performance.now() - started) / 1000, labels: {} },
      { name: 'scrape_samples_scraped', value: readings.length, labels: {} },
      { name: 'scrape_samples_post_metric_relabeling', value: readings.length, labels: {} },
      { name: 'scrape_series_added', value: 0, labels: {} },
    ];
    return [...readings, ...about].map(({ name, labels, value }) => ({
      labels: { ...labels, ...own, __name__: name },
      value,
      timestamp,
    }));
  }

  #read(target: Labels): Promise<Reading[]> {
    const { values } = this.#args;
    const path = target['__metrics_path__'] ?? String(values['metrics_path'] ?? '/metrics');
    const collect = target['__address__'] === IN_MEMORY ? this.#surroundings.inMemory.get(path) : undefined;
    if (collect) return Promise.resolve(collect());
    const url = `${target['__scheme__'] ?? values['scheme'] ?? 'http'}://${target['__address__']}${path}`;
    return get(url, Number(values['scrape_timeout'] ?? 10_000), this.#stopped.signal).then(parseExposition);
  }
}

/** What a target says of itself, without its internal labels. */
function ownLabels(target: Labels, job: string): Labels {
  const all = { job, instance: target['__address__'] ?? '', ...target };
  return Object.fromEntries(Object.entries(all).filter(([name]) => !name.startsWith('__')));
}

export class Relabel implements Component {
  readonly exports: Component['exports'];
  readonly #rulesCapsule = new Capsule<{ rules: Rule[] }>({ rules: [] });
  readonly #scope: Scoped;
  #receivers: Receiver<Sample>[] = [];

  constructor(id: string, args: Args, surroundings: Surroundings) {
    this.#scope = scopeOf(id, surroundings);
    this.#scope.add(FORWARDED, 0);
    const receiver = new Capsule<Receiver<Sample>>({ append: (samples) => this.#append(samples) });
    this.exports = { receiver, rules: this.#rulesCapsule };
    this.#apply(args);
  }

  #apply(args: Args): void {
    this.#rulesCapsule.value.rules = rulesOf(args);
    this.#receivers = receivers(args);
  }

  #append(samples: Sample[]): void {
    const kept = samples.flatMap((sample) => {
      const labels = relabel(sample.labels, this.#rulesCapsule.value.rules);
      return labels ? [{ ...sample, labels }] : [];
    });
    if (kept.length === 0) return;
    this.#scope.add(FORWARDED, kept.length);
    for (const receiver of this.#receivers) receiver.append(kept);
  }

  async update(args: Args): Promise<void> {
    this.#apply(args);
  }

  async stop(): Promise<void> {
    this.#scope.dispose();
  }
}

/** discovery.relabel: targets in, relabelled targets out. */
export class TargetRelabel implements Component {
  readonly exports: Component['exports'] = {};

  constructor(_id: string, args: Args) {
    this.#apply(args);
  }

  #apply(args: Args): void {
    const rules = rulesOf(args);
    this.exports['output'] = targetsOf(args.values['targets'])
      .map((target): Value | undefined => relabel(target, rules))
      .filter((target) => target !== undefined);
    this.exports['rules'] = new Capsule({ rules });
  }

  async update(args: Args): Promise<void> {
    this.#apply(args);
  }

  async stop(): Promise<void> {}
}
