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
  /** What is wrong with the web client, if anything. */
  deaf = false;
  readonly set: Record<string, unknown>[] = [];
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

  /** By anybody. */
  change(prefs: Readonly<Record<string, unknown>>): void {
    Object.assign(this.current, prefs);
    for (const wake of this.#wakes) wake();
  }

  readonly http: Http = {
    request: async (url) => {
      if (url !== 'http://100.64.0.8:5252/metrics') return { status: 302, headers: {}, body: '' };
      if (this.current['RunWebClient'] !== true || this.deaf) {
        throw Object.assign(new Error('connect ECONNREFUSED 100.64.0.8:5252'), { code: 'ECONNREFUSED' });
      }
      return { status: 200, headers: {}, body: '# TYPE\ntailscaled_health_messages{type="warning"} 0\n' };
    },
  };
}
