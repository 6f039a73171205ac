// TailscaleClient: preferences of the node's tailscaled, and that its client metrics answer.
import * as z from 'zod';
import { Waiting } from '../../api/errors.ts';
import { type Concern, defineKind } from '../kind.ts';
import type { Http, TailscaleStatus } from '../ports.ts';
import { excerpt } from '../shared/excerpt.ts';
import { Streaks } from '../shared/streak.ts';
import { addressPermission } from '../shared/urls.ts';
import { no, unknown, YES } from '../shared/verdicts.ts';
import { keyExpiryConcern } from './key-expiry.ts';
import {
  changedPrefs,
  claimOf,
  currentPrefs,
  Memory,
  namesMore,
  namesOf,
  Prefs,
  pick,
  prefChanges,
  remember,
  wantedPrefs,
} from './prefs.ts';
import { TailscaleClientSpec } from './schema.ts';

interface Observed {
  readonly prefs: Readonly<Record<string, unknown>>;
  readonly status: TailscaleStatus;
  readonly nowMs: number;
  /** Not asked while a preference differs, or where nobody could answer. */
  readonly metrics: { readonly fault: string | undefined; readonly failingForMs: number } | undefined;
}

const Before = z.object({ prefs: Prefs });
type Before = z.infer<typeof Before>;

const METRICS_PORT = 5252;
const METRICS_TIMEOUT_MS = 2_000;
/** The web client begins to listen a moment after the preference is set, or tailscaled started. */
const GRACE_MS = 10_000;
const AGAIN_MS = 1_000;
const LOGIN_AGAIN_MS = 60_000;

const streaks = new Streaks();

export const tailscaleClient = defineKind<
  TailscaleClientSpec,
  Observed,
  'tailscale' | 'http' | 'clock',
  Before,
  Memory
>({
  kind: 'TailscaleClient',
  scope: 'host',
  spec: TailscaleClientSpec,
  before: { version: 1, schema: Before },
  memory: { version: 1, schema: Memory },
  needs: ['tailscale', 'http', 'clock'],
  healLimit: { burst: 300, perSecond: 5 },
  gate: () => ({ withinMs: GRACE_MS, settleMs: 0 }),

  owns: (spec) => namesOf(spec).map(claimOf),

  permissions: (spec) => [
    ...namesOf(spec).map((pref) => ({ type: 'tailscale' as const, value: pref })),
    // Its own address is not the manifest's to choose.
    ...(spec.metrics?.address === undefined
      ? []
      : [addressPermission(spec.metrics.address, 'the client’s metrics are asked for there')]),
  ],

  check(spec) {
    if (namesOf(spec).length > 0) return [];
    return [{ path: [], message: 'nothing is asked for; name webclient or one of prefs' }];
  },

  async observe(d, io, signal) {
    const [prefs, status] = await Promise.all([io.tailscale.prefs(signal), io.tailscale.status(signal)]);
    const seen = { prefs, status, nowMs: io.clock.now(), metrics: undefined };
    const address = metricsAddress(d.spec, status);
    if (address === undefined || prefChanges(wantedPrefs(d), prefs).length > 0) return seen;
    const fault = await metricsFault(address, io.http, signal);
    const { failingForMs } = streaks.look(io, d.key, fault !== undefined, io.clock.monotonic());
    return { ...seen, metrics: { fault, failingForMs } };
  },

  diff: (d, { prefs }) => prefChanges(wantedPrefs(d), prefs),

  assess({ spec }, { status, metrics }, trial) {
    if (spec.webclient !== true) return YES;
    const { backendState, health } = status;
    if (backendState !== 'Running') {
      const reason = backendState === 'NeedsLogin' ? 'NeedsLogin' : 'NotRunning';
      return unknown(reason, `tailscaled is ${[backendState, ...health].join('; ')}`);
    }
    if (spec.metrics?.check === false) return YES;
    if (metrics === undefined) return unknown('NoAddress', 'this node has no Tailscale address yet');
    const { fault, failingForMs } = metrics;
    if (fault === undefined) return YES;
    const isOver = (trial?.elapsedMs ?? failingForMs) >= GRACE_MS;
    return isOver ? no('MetricsDoNotAnswer', fault) : unknown('MetricsDoNotAnswer', fault, AGAIN_MS);
  },

  async prepare(d, { prefs, status }) {
    if (status.backendState === 'NeedsLogin' || status.backendState === 'NoState') {
      const message = `tailscaled is ${status.backendState}: log this host in to the tailnet (tailscale up)`;
      throw new Waiting('NeedsLogin', message, LOGIN_AGAIN_MS);
    }
    // A preference always has a value; there is nothing that could be created or removed.
    return { existed: true, before: { prefs: currentPrefs(wantedPrefs(d), prefs) } };
  },

  async apply(changes, d, { tailscale }, signal) {
    if (changes.length === 0) return d.memory; // tailscaled puts a preference into force when it is set
    const wanted = wantedPrefs(d);
    // A heal is quick: it sets what was ours already.
    const before = namesMore(d) ? currentPrefs(wanted, await tailscale.prefs(signal)) : {};
    await tailscale.setPrefs(changedPrefs(changes, wanted), signal);
    return remember(d, before);
  },

  async undo(before, { memory, owns }, { tailscale }, signal) {
    // A removal undoes the first document; preferences that a later one added are in the memory alone.
    const names = Object.keys(memory?.original ?? {}).filter((pref) => owns.includes(claimOf(pref)));
    await tailscale.setPrefs({ ...pick(memory?.original ?? {}, names), ...before.prefs }, signal);
  },

  watch: (_d, { tailscale }, wake, signal) => tailscale.watch(wake, signal),

  async version(_d, { tailscale }, signal) {
    return (await tailscale.status(signal)).version;
  },

  conditions(d, { status, nowMs }): Concern[] {
    const { backendState, keyExpiry, addresses, health } = status;
    const connected = backendState === 'Running';
    const message = connected ? addresses.join(', ') : `tailscaled is ${backendState}: ${health.join('; ')}`;
    return [
      { type: 'TailnetConnected', status: connected ? 'True' : 'False', reason: backendState, message },
      keyExpiryConcern(keyExpiry, nowMs, d.spec.keyExpiryWarningDays ?? 14),
    ];
  },
});

/** Where /metrics is asked; undefined where it is not, or can't be. */
function metricsAddress(spec: TailscaleClientSpec, status: TailscaleStatus): string | undefined {
  const { webclient, metrics } = spec;
  if (webclient !== true || metrics?.check === false || status.backendState !== 'Running') return undefined;
  const ip = status.addresses[0];
  if (metrics?.address !== undefined || ip === undefined) return metrics?.address;
  return ip.includes(':') ? `[${ip}]:${METRICS_PORT}` : `${ip}:${METRICS_PORT}`;
}

async function metricsFault(address: string, http: Http, signal: AbortSignal): Promise<string | undefined> {
  const url = `http://${address}/metrics`;
  try {
    const { status, body } = await http.request(url, { timeoutMs: METRICS_TIMEOUT_MS, signal });
    if (status !== 200) return `${url} answers ${status}`;
    return /^tailscaled_/m.test(body) ? undefined : `${url} answers without any tailscaled_ metric`;
  } catch (error) {
    signal.throwIfAborted();
    return `${url}: ${excerpt((error as Error).message)}`;
  }
}
