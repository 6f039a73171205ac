// TailscaleClient: preferences of the node's tailscaled, and that its client metrics answer.
import { Waiting } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import { type Change, type Concern, type Desired, defineKind, type Verdict } from '../kind.ts';
import type { Ports, TailscaleStatus } from '../ports.ts';
import { keyExpiryConcern } from './key-expiry.ts';
import { TailscaleClientSpec } from './schema.ts';

type Needs = 'tailscale' | 'http' | 'clock';
type Io = Pick<Ports, Needs>;

interface Observed {
  readonly prefs: Readonly<Record<string, unknown>>;
  readonly status: TailscaleStatus;
  readonly nowMs: number;
}

/** The way back: the preferences that we own, as they were. */
type Before = { readonly prefs: Readonly<Record<string, string | boolean>> };

const METRICS_PORT = 5252;
const METRICS_TIMEOUT_MS = 2_000;
/** The web client begins to listen a moment after the preference is set. */
const METRICS_WITHIN_MS = 10_000;
const HEAL_METRICS_WITHIN_MS = 2_000;
const POLL_MS = 200;
const LOGIN_AGAIN_MS = 60_000;

/** ipn.Prefs by name: what is wanted, and how people call it. */
function wantedPrefs(spec: TailscaleClientSpec): { pref: string; what: string; value: string | boolean }[] {
  return [
    { pref: 'RunWebClient', what: 'webclient', value: spec.webclient },
    { pref: 'Hostname', what: 'hostname', value: spec.prefs?.hostname },
    { pref: 'PostureChecking', what: 'reportPosture', value: spec.prefs?.reportPosture },
  ].filter((p): p is { pref: string; what: string; value: string | boolean } => p.value !== undefined);
}

export const tailscaleClient = defineKind<TailscaleClientSpec, Observed, Needs>({
  kind: 'TailscaleClient',
  scope: 'host',
  spec: TailscaleClientSpec,
  needs: ['tailscale', 'http', 'clock'],
  patience: { burst: 300, perSecond: 5 },

  owns: (spec) => wantedPrefs(spec).map(({ pref }) => `tailscale:prefs/${pref}`),

  asks: (spec) => wantedPrefs(spec).map(({ pref }) => ({ type: 'tailscale', value: pref })),

  check(spec) {
    return wantedPrefs(spec).length === 0
      ? [{ path: [], message: 'nothing is asked for; name webclient or one of prefs' }]
      : [];
  },

  async observe(_d, { tailscale, clock }, signal) {
    const [prefs, status] = await Promise.all([tailscale.prefs(signal), tailscale.status(signal)]);
    return { prefs, status, nowMs: clock.now() };
  },

  diff(d, { prefs }): Change[] {
    return wantedPrefs(d.spec)
      .filter(({ pref, value }) => current(prefs, pref, value) !== value)
      .map(({ pref, what, value }) => ({ what, from: shown(current(prefs, pref, value)), to: shown(value) }));
  },

  async prepare(d, { prefs, status }) {
    if (status.backendState === 'NeedsLogin' || status.backendState === 'NoState') {
      throw new Waiting(
        'NeedsLogin',
        `tailscaled is ${status.backendState}: log this host in to the tailnet (tailscale up)`,
        LOGIN_AGAIN_MS,
      );
    }
    const before: Before = {
      prefs: Object.fromEntries(
        wantedPrefs(d.spec).map(({ pref, value }) => [pref, current(prefs, pref, value)]),
      ),
    };
    // A preference always has a value; there is nothing that could be created or removed.
    return { existed: true, data: before as unknown as Json };
  },

  async apply(changes, d, { tailscale }, signal) {
    if (changes.length === 0) return {}; // tailscaled puts a preference into force when it is set
    const changed = new Set(changes.map(({ what }) => what));
    const prefs = wantedPrefs(d.spec).filter(({ what }) => changed.has(what));
    await tailscale.setPrefs(Object.fromEntries(prefs.map(({ pref, value }) => [pref, value])), signal);
    return {};
  },

  async confirm(d, snapshot, io, signal) {
    if (d.spec.webclient !== true || d.spec.metrics?.check === false) return { verdict: 'Yes' };
    if (snapshot !== undefined) return await metricsAnswer(d, io, METRICS_WITHIN_MS, signal);
    // A heal: it answered when this was confirmed. A node that is off the tailnet is told by TailnetConnected.
    const verdict = await metricsAnswer(d, io, HEAL_METRICS_WITHIN_MS, signal);
    return verdict.verdict === 'Unknown' ? { verdict: 'Yes' } : verdict;
  },

  async undo(snapshot, _record, { tailscale }, signal) {
    await tailscale.setPrefs((snapshot.data as unknown as Before).prefs, signal);
  },

  watch: (_d, { tailscale }, wake, signal) => tailscale.watch(wake, signal),

  async version(_d, { tailscale }, signal) {
    return (await tailscale.status(signal)).version;
  },

  conditions(d, { status, nowMs }): Concern[] {
    const { backendState, keyExpiry } = status;
    const connected = backendState === 'Running';
    return [
      {
        type: 'TailnetConnected',
        status: connected ? 'True' : 'False',
        reason: backendState,
        message: connected
          ? status.addresses.join(', ')
          : `tailscaled is ${backendState}: ${status.health.join('; ')}`,
      },
      keyExpiryConcern(keyExpiry, nowMs, d.spec.keyExpiryWarningDays ?? 14),
    ];
  },
});

/** A preference that tailscaled leaves out has its type's zero value. */
function current(prefs: Observed['prefs'], pref: string, like: string | boolean): string | boolean {
  const value = prefs[pref];
  return typeof value === typeof like ? (value as string | boolean) : typeof like === 'string' ? '' : false;
}

function shown(value: string | boolean): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : value === '' ? '""' : value;
}

/** Asks until it answers, at most withinMs. */
async function metricsAnswer(
  d: Desired<TailscaleClientSpec>,
  io: Io,
  withinMs: number,
  signal: AbortSignal,
): Promise<Verdict> {
  const deadline = io.clock.monotonic() + withinMs;
  for (;;) {
    const verdict = await askMetrics(d.spec, io, signal);
    if (verdict.verdict === 'Yes' || io.clock.monotonic() >= deadline) return verdict;
    await io.clock.sleep(POLL_MS, signal);
  }
}

async function askMetrics(spec: TailscaleClientSpec, io: Io, signal: AbortSignal): Promise<Verdict> {
  const { backendState, addresses } = await io.tailscale.status(signal);
  if (backendState !== 'Running') {
    return { verdict: 'Unknown', reason: 'NotRunning', evidence: `tailscaled is ${backendState}` };
  }
  const ip = addresses[0];
  const address = spec.metrics?.address ?? (ip === undefined ? undefined : withPort(ip));
  if (address === undefined)
    return { verdict: 'Unknown', reason: 'NoAddress', evidence: 'no Tailscale address yet' };
  const url = `http://${address}/metrics`;
  const reason = 'MetricsDoNotAnswer';
  try {
    const response = await io.http.request(url, { timeoutMs: METRICS_TIMEOUT_MS, signal });
    if (response.status !== 200)
      return { verdict: 'No', reason, evidence: `${url} answers ${response.status}` };
    if (/^tailscaled_/m.test(response.body)) return { verdict: 'Yes' };
    return { verdict: 'No', reason, evidence: `${url} answers without any tailscaled_ metric` };
  } catch (error) {
    signal.throwIfAborted();
    return { verdict: 'No', reason, evidence: `${url}: ${(error as Error).message}` };
  }
}

function withPort(ip: string): string {
  return ip.includes(':') ? `[${ip}]:${METRICS_PORT}` : `${ip}:${METRICS_PORT}`;
}
