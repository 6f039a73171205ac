// tailscaled's status document, as far as kinds ask for it. Pure.
import type { TailscaleStatus } from '../../kinds/ports.ts';

/** What is kept of ipnstate.Status; the LocalAPI and `tailscale status --json` give the same document. */
export function statusOf(status: Record<string, unknown>): TailscaleStatus {
  const self = (status['Self'] ?? {}) as Record<string, unknown>;
  const strings = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);
  return {
    backendState: String(status['BackendState'] ?? 'NoState'),
    addresses: strings(status['TailscaleIPs'] ?? self['TailscaleIPs']),
    keyExpiry: typeof self['KeyExpiry'] === 'string' ? self['KeyExpiry'] : '',
    health: strings(status['Health']),
    version: String(status['Version'] ?? ''),
  };
}
