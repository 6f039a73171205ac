// A tailscaled without a tailnet: preferences and a status that a test sets, and /metrics of its web client.
import type { Http, Tailscale, TailscaleStatus } from '../../kinds/ports.ts';

export class FakeTailscale implements Tailscale {
  current: Record<string, unknown> = { RunWebClient: false, Hostname: '', PostureChecking: false };
  node: TailscaleStatus = {
    backendState: 'Running',
    addresses: ['100.64.0.8', 'fd7a:115c:a1e0::8'],
    keyExpiry: '',
    health: [],
    version: '1.98.9',
  };
  /** How the web client answers. */
  metrics: 'well' | 'refused' | 'silent' | 'error' | 'other' = 'well';
  readonly set: Record<string, unknown>[] = [];
  /** How often /metrics was asked. */
  asked = 0;
  readonly #wakes = new Set<() => void>();

  async prefs(): Promise<Readonly<Record<string, unknown>>> {
    return { ...this.current };
  }

  async setPrefs(prefs: Readonly<Record<string, unknown>>): Promise<void> {
    this.set.push(prefs);
    this.change(prefs);
  }

  async status(): Promise<TailscaleStatus> {
    return this.node;
  }

  async watch(wake: () => void, signal: AbortSignal): Promise<void> {
    this.#wakes.add(wake);
    wake();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#wakes.delete(wake);
  }

  /** tailscaled's state changes. */
  become(node: TailscaleStatus): void {
    this.node = node;
    for (const wake of this.#wakes) wake();
  }

  /** By anybody. */
  change(prefs: Readonly<Record<string, unknown>>): void {
    Object.assign(this.current, prefs);
    for (const wake of this.#wakes) wake();
  }

  readonly http: Http = {
    request: async (url) => {
      if (url !== 'http://100.64.0.8:5252/metrics') return { status: 302, headers: {}, body: '' };
      this.asked += 1;
      if (this.current['RunWebClient'] !== true || this.metrics === 'refused') {
        throw Object.assign(new Error('connect ECONNREFUSED 100.64.0.8:5252'), { code: 'ECONNREFUSED' });
      }
      if (this.metrics === 'silent') {
        throw Object.assign(new Error('it did not answer within 2000 ms'), { code: 'ETIMEDOUT' });
      }
      if (this.metrics === 'error') return { status: 502, headers: {}, body: '' };
      if (this.metrics === 'other') return { status: 200, headers: {}, body: 'go_goroutines 1\n' };
      return { status: 200, headers: {}, body: '# TYPE\ntailscaled_health_messages{type="warning"} 0\n' };
    },
  };
}
