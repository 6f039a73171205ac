/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): loki.write. Its counters
 * follow logs-good, logs-loki-down and logs-wrong-path: an answer that is refused for good (404) drops the
 * batch with reason ingester_error, no answer is retried (at most max_backoff_retries times). It pushes
 * Loki's JSON form where real Alloy pushes protobuf; Loki takes both.
 */
import { type Component, type Surroundings, scopeOf } from './component.ts';
import { type Args, Capsule } from './evaluate.ts';
import { type Entry, labelsOf, type Receiver } from './flow.ts';
import type { Histogram, Labels, Scoped } from './metrics.ts';
import { type Endpoint, endpointOf, post } from './wire.ts';

const REASONS = ['ingester_error', 'line_too_long', 'queue_is_full', 'rate_limited', 'stream_limited'];
const LATENCY = [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600];
const DURATION = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const KIB = 1024;
const SIZE = [1, 4, 16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 20480].map((kib) => kib * KIB);

export class LokiWrite implements Component {
  readonly exports: Component['exports'];
  readonly #scope: Scoped;
  readonly #surroundings: Surroundings;
  #clients = new Map<string, Client>();
  #external: Labels = {};

  constructor(id: string, args: Args, surroundings: Surroundings) {
    this.#surroundings = surroundings;
    this.#scope = scopeOf(id, surroundings);
    this.exports = { receiver: new Capsule<Receiver<Entry>>({ append: (entries) => this.#append(entries) }) };
    this.#apply(args);
  }

  #apply(args: Args): Client[] {
    this.#external = labelsOf(args.values['external_labels']);
    const before = this.#clients;
    this.#clients = new Map();
    for (const block of args.blocks.filter(({ name }) => name === 'endpoint')) {
      const key = JSON.stringify(block);
      const client = before.get(key) ?? new Client(block, this.#scope, this.#surroundings);
      before.delete(key);
      this.#clients.set(key, client);
    }
    return [...before.values()];
  }

  async update(args: Args): Promise<void> {
    for (const client of this.#apply(args)) void client.stop();
  }

  async stop(): Promise<void> {
    this.#scope.dispose();
    await Promise.all([...this.#clients.values()].map((client) => client.stop()));
  }

  #append(entries: Entry[]): void {
    const labelled = entries.map((entry) => ({ ...entry, labels: { ...this.#external, ...entry.labels } }));
    for (const client of this.#clients.values()) client.append(labelled);
  }
}

class Client {
  readonly #endpoint: Endpoint;
  readonly #scope: Scoped;
  readonly #surroundings: Surroundings;
  readonly #labels: Labels;
  readonly #wait: number;
  readonly #backoff: { min: number; max: number; retries: number };
  readonly #hardStop = new AbortController();
  readonly #latency: Histogram;
  readonly #size: Histogram;
  #stopping = false;
  #batch: Entry[] = [];
  #since = 0;
  #timer: NodeJS.Timeout | undefined;
  #tail: Promise<void> = Promise.resolve();

  constructor(args: Args, scope: Scoped, surroundings: Surroundings) {
    this.#endpoint = endpointOf(args, 10_000);
    this.#scope = scope;
    this.#surroundings = surroundings;
    const { values } = args;
    if (values['tenant_id']) this.#endpoint.headers['X-Scope-OrgID'] = String(values['tenant_id']);
    this.#labels = { host: new URL(this.#endpoint.url).host, tenant: String(values['tenant_id'] ?? '') };
    this.#wait = Number(values['batch_wait'] ?? 1000);
    this.#backoff = {
      min: Number(values['min_backoff_period'] ?? 500),
      max: Number(values['max_backoff_period'] ?? 300_000),
      retries: Number(values['max_backoff_retries'] ?? 10),
    };
    for (const name of ['batch_retries', 'sent_bytes', 'sent_entries']) this.#add(`${name}_total`, 0);
    for (const reason of REASONS) {
      this.#add('dropped_bytes_total', 0, { reason });
      this.#add('dropped_entries_total', 0, { reason });
    }
    this.#latency = scope.histogram('loki_write_entry_propagation_latency_seconds', LATENCY, this.#labels);
    this.#size = scope.histogram('loki_write_request_size_bytes', SIZE, this.#labels);
  }

  #add(name: string, amount: number, labels: Labels = {}): void {
    this.#scope.add(`loki_write_${name}`, amount, { ...this.#labels, ...labels });
  }

  append(entries: Entry[]): void {
    if (this.#stopping || entries.length === 0) return;
    if (this.#batch.length === 0) this.#since = performance.now();
    this.#batch.push(...entries);
    this.#timer ??= setTimeout(() => this.#flush(), this.#wait);
  }

  /** What waits is sent after what is being sent: Loki wants the entries of a stream in order. */
  #flush(): void {
    this.#timer = undefined;
    const batch = this.#batch;
    const since = this.#since;
    this.#batch = [];
    this.#tail = this.#tail.then(() => this.#send(batch, since));
  }

  async #send(batch: Entry[], since: number): Promise<void> {
    const body = Buffer.from(JSON.stringify({ streams: streams(batch) }));
    let pause = this.#backoff.min;
    for (let attempt = 0; !this.#hardStop.signal.aborted; attempt += 1) {
      const status = await this.#attempt(body);
      if (status >= 200 && status < 300) {
        this.#add('sent_entries_total', batch.length);
        this.#add('sent_bytes_total', body.length);
        this.#latency.observe((performance.now() - since) / 1000, batch.length);
        return;
      }
      const again = status === -1 || status === 429 || status >= 500;
      if (!again || attempt >= this.#backoff.retries) break;
      this.#add('batch_retries_total', 1);
      await delay(pause, this.#hardStop.signal);
      pause = Math.min(pause * 2, this.#backoff.max);
    }
    if (this.#hardStop.signal.aborted) return;
    this.#add('dropped_entries_total', batch.length, { reason: 'ingester_error' });
    this.#add('dropped_bytes_total', body.length, { reason: 'ingester_error' });
    this.#surroundings.log(
      'error',
      'final error sending batch, no retries left, dropping data',
      this.#labels,
    );
  }

  async #attempt(body: Buffer): Promise<number> {
    const started = performance.now();
    this.#size.observe(body.length);
    const headers = { 'Content-Type': 'application/json' };
    const status = await post(this.#endpoint, headers, body, this.#hardStop.signal).catch(() => -1);
    const labels = { ...this.#labels, status_code: String(status) };
    const duration = this.#scope.histogram('loki_write_request_duration_seconds', DURATION, labels);
    duration.observe((performance.now() - started) / 1000);
    return status;
  }

  /**
   * What waits is still sent, beside the reload. How long real Alloy tries was not recorded: here as long as
   * a remote_write queue. The series stay: they are the host's, and logs-wrong-path still counts what went to
   * the right path before.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const timer = setTimeout(() => this.#hardStop.abort(), this.#surroundings.flushMs);
    if (this.#batch.length > 0) this.#flush();
    await this.#tail;
    clearTimeout(timer);
  }
}

function streams(batch: Entry[]): { stream: Labels; values: [string, string][] }[] {
  const groups = Map.groupBy(batch, ({ labels }) => JSON.stringify(labels));
  return [...groups.values()].map((entries) => ({
    stream: entries[0]!.labels,
    values: entries.map(({ timestamp, line }) => [timestamp, line]),
  }));
}

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
