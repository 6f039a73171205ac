// Whether a config that was put into force is one to keep. The gate asks what Alloy says of itself; whether
// telemetry still flows is the next question, and its place is `flows` below: counters of `baseline` (taken by
// prepare, kept in the snapshot) against those some scrape intervals later.
import type { Json } from '../../api/json.ts';
import type { Verdict } from '../kind.ts';
import { type AlloyIo, askAlloy, healthOf } from './alloy-api.ts';

const POLL_MS = 250;
const YES: Verdict = { verdict: 'Yes' };

export interface GateQuestion {
  readonly address: string;
  /** sha256 of the config's bytes. */
  readonly hash: string;
  /** How long components may take to become healthy. */
  readonly withinMs: number;
  /** Whether one that is stopped is waited for. */
  readonly awaitStart: boolean;
}

/**
 * Waits until Alloy runs our bytes and is healthy, at most `withinMs`.
 * The verdicts other than Yes have the reasons Unhealthy (No), AlloyStopped, AlloyStarting, AlloySilent and OtherConfig
 * (Unknown).
 */
export async function isHealthyWith(
  question: GateQuestion,
  io: AlloyIo,
  signal: AbortSignal,
): Promise<Verdict> {
  const deadline = io.clock.monotonic() + question.withinMs;
  for (;;) {
    const verdict = await look(question, io, signal);
    if (verdict.verdict === 'Yes' || io.clock.monotonic() >= deadline) return verdict;
    if (verdict.reason === 'AlloyStopped' && !question.awaitStart) return verdict;
    await io.clock.sleep(POLL_MS, signal);
  }
}

async function look({ address, hash }: GateQuestion, io: AlloyIo, signal: AbortSignal): Promise<Verdict> {
  const health = await healthOf(io, address, signal);
  switch (health.health) {
    case 'stopped':
      return { verdict: 'Unknown', reason: 'AlloyStopped', evidence: `nobody listens at ${address}` };
    case 'starting':
      return { verdict: 'Unknown', reason: 'AlloyStarting', evidence: health.why };
    case 'silent':
      return { verdict: 'Unknown', reason: 'AlloySilent', evidence: health.why };
    case 'unhealthy':
      return { verdict: 'No', reason: 'Unhealthy', evidence: health.why };
  }
  const alloy = await askAlloy(io, address, signal);
  if (alloy.state === 'answers' && alloy.hashes.length > 0 && !alloy.hashes.includes(hash)) {
    const evidence = `Alloy last loaded ${alloy.hashes.map((h) => h.slice(0, 12)).join(', ')}, and ours is ${hash.slice(0, 12)}`;
    return { verdict: 'Unknown', reason: 'OtherConfig', evidence };
  }
  return YES;
}

/** What the flow gate will compare with: the counters of the endpoints before the change. */
export async function baseline(): Promise<Json> {
  return null;
}

/** The flow gate's place. Until it is there, a config that loads and sends nothing passes. */
export async function flows(_baseline: Json): Promise<Verdict> {
  return YES;
}
