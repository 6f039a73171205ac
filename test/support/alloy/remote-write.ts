/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): prometheus.remote_write,
 * with one queue an endpoint. Its counters follow the recordings good (seed), drop-all, wrong-path and
 * wrong-port: samples_total counts attempts, a batch that is refused for good (404) still moves
 * queue_highest_sent_timestamp, one that finds nobody (refused) is retried for ever.
 */
import { createHash } from 'node:crypto';
import { type Component, type Surroundings, scopeOf } from './component.ts';
import { type Args, Capsule } from './evaluate.ts';
import { labelsOf, type Receiver, type Rule, relabel, rulesOf, type Sample } from './flow.ts';
import type { Labels, Scoped } from './metrics.ts';
import { type Endpoint, endpointOf, post, snappy, writeRequest } from './wire.ts';

const PREFIX = 'prometheus_remote_storage_';

export class RemoteWrite implements Component {
  readonly exports: Component['exports'];
  readonly #scope: Scoped;
  readonly #surroundings: Surroundings;
  readonly #series = new Set<string>();
  #queues = new Map<string, Queue>();
  #external: Labels = {};

  constructor(id: string, args: Args, surroundings: Surroundings) {
    this.#surroundings = surroundings;
    this.#scope = scopeOf(id, surroundings);
    surroundings.process.add(`${PREFIX}samples_in_total`, 0);
    this.#scope.add('prometheus_remote_write_wal_samples_appended_total', 0);
    this.#scope.set('prometheus_remote_write_wal_storage_active_series', 0);
    this.exports = {
      receiver: new Capsule<Receiver<Sample>>({ append: (samples) => this.#append(samples) }),
    };
    this.#apply(args);
  }

  /** An endpoint that stays as it was keeps its queue; the others' queues are emptied first, which may take long. */
  async update(args: Args): Promise<void> {
    const removed = this.#apply(args);
    await Promise.all(removed.map((queue) => queue.stop()));
  }

  #apply(args: Args): Queue[] {
    this.#external = labelsOf(args.values['external_labels']);
    const before = this.#queues;
    this.#queues = new Map();
    for (const block of args.blocks.filter(({ name }) => name === 'endpoint')) {
      const key = JSON.stringify(block);
      const queue = before.get(key) ?? new Queue(block, this.#scope, this.#surroundings);
      before.delete(key);
      this.#queues.set(key, queue);
    }
    return [...before.values()];
  }

  async stop(): Promise<void> {
    // Its series go at once; the queues may need up to the flush deadline.
    this.#scope.dispose();
    await Promise.all([...this.#queues.values()].map((queue) => queue.stop()));
  }

  #append(samples: Sample[]): void {
    this.#scope.add('prometheus_remote_write_wal_samples_appended_total', samples.length);
    this.#surroundings.process.add(`${PREFIX}samples_in_total`, samples.length);
    for (const { labels } of samples) this.#series.add(JSON.stringify(labels));
    this.#scope.set('prometheus_remote_write_wal_storage_active_series', this.#series.size);
    const labelled = samples.map((sample) => ({
      ...sample,
      labels: { ...this.#external, ...sample.labels },
    }));
    for (const queue of this.#queues.values()) queue.enqueue(labelled);
  }
}

class Queue {
  readonly #endpoint: Endpoint;
  readonly #rules: Rule[];
  readonly #scope: Scoped;
  readonly #surroundings: Surroundings;
  readonly #labels: Labels;
  readonly #limit: number;
  readonly #deadline: number;
  readonly #backoff: { min: number; max: number };
  readonly #retry429: boolean;
  readonly #hardStop = new AbortController();
  readonly #waiting: Sample[] = [];
  #sending: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(args: Args, scope: Scoped, surroundings: Surroundings) {
    this.#endpoint = endpointOf(args, 30_000);
    this.#rules = rulesOf(args, 'write_relabel_config');
    this.#scope = scope;
    this.#surroundings = surroundings;
    const options = args.blocks.find((block) => block.name === 'queue_config')?.values ?? {};
    this.#limit = Number(options['max_samples_per_send'] ?? 2000);
    this.#deadline = Number(options['batch_send_deadline'] ?? 5000);
    this.#backoff = {
      min: Number(options['min_backoff'] ?? 30),
      max: Number(options['max_backoff'] ?? 5000),
    };
    this.#retry429 = options['retry_on_http_429'] !== false;
    // Real Alloy hashes its own form of the settings: six digits too, but others than these.
    const hash = createHash('md5').update(JSON.stringify(args)).digest('hex').slice(0, 6);
    this.#labels = { remote_name: String(args.values['name'] ?? hash), url: this.#endpoint.url };
    for (const name of [
      'samples_total',
      'samples_failed_total',
      'samples_retried_total',
      'samples_pending',
    ]) {
      this.#add(name, 0);
    }
    this.#set('queue_highest_sent_timestamp_seconds', 0);
    this.#set('queue_highest_timestamp_seconds', 0);
    this.#set('shards', 1);
    this.#set('shards_min', Number(options['min_shards'] ?? 1));
    this.#set('shards_max', Number(options['max_shards'] ?? 50));
    this.#set('shards_desired', 1);
  }

  #add(name: string, amount: number): void {
    this.#scope.add(PREFIX + name, amount, this.#labels);
  }

  #set(name: string, value: number): void {
    this.#scope.set(PREFIX + name, value, this.#labels);
  }

  enqueue(samples: Sample[]): void {
    if (this.#stopping) return;
    const kept = samples.flatMap((sample) => {
      const labels = relabel(sample.labels, this.#rules);
      return labels ? [{ ...sample, labels }] : [];
    });
    if (kept.length === 0) return;
    this.#waiting.push(...kept);
    this.#add('samples_pending', kept.length);
    this.#set('queue_highest_timestamp_seconds', highest(kept));
    if (this.#waiting.length >= this.#limit) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), this.#deadline);
  }

  /** Lets the queue empty itself for as long as the flush deadline allows; what is left then is lost. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#send();
    const timer = setTimeout(() => this.#hardStop.abort(), this.#surroundings.flushMs);
    await this.#sending;
    clearTimeout(timer);
    this.#scope.remove(this.#labels);
  }

  /** Starts sending what waits, one batch after the other. */
  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#hardStop.signal.aborted) {
      const batch = this.#waiting.splice(0, this.#limit);
      await this.#sendBatch(batch);
      this.#add('samples_pending', -batch.length);
      this.#set('queue_highest_sent_timestamp_seconds', highest(batch));
    }
  }

  async #sendBatch(batch: Sample[]): Promise<void> {
    const body = snappy(writeRequest(batch));
    const headers = {
      'Content-Encoding': 'snappy',
      'Content-Type': 'application/x-protobuf',
      'X-Prometheus-Remote-Write-Version': '0.1.0',
    };
    let pause = this.#backoff.min;
    for (;;) {
      this.#add('samples_total', batch.length);
      const status = await post(this.#endpoint, headers, body, this.#hardStop.signal).catch(() => 0);
      if (status >= 200 && status < 300) {
        this.#set('shards_desired', 0.002);
        return;
      }
      const again = status === 0 || status >= 500 || (status === 429 && this.#retry429);
      if (!again) this.#surroundings.log('error', 'non-recoverable error', { ...this.#labels, status });
      if (!again || (await this.#interrupted(pause))) {
        this.#add('samples_failed_total', batch.length);
        return;
      }
      this.#add('samples_retried_total', batch.length);
      pause = Math.min(pause * 2, this.#backoff.max);
    }
  }

  /** Waits before a retry; true when the flush deadline ends the waiting. */
  #interrupted(ms: number): Promise<boolean> {
    const { signal } = this.#hardStop;
    if (signal.aborted) return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve(signal.aborted);
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
    });
  }
}

/** The newest timestamp, in whole seconds as Prometheus reports it. */
function highest(samples: Sample[]): number {
  return Math.floor(Math.max(...samples.map((sample) => sample.timestamp)) / 1000);
}
