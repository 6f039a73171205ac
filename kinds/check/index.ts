// Check: a promise that is asked for at an interval. It changes nothing; it says whether the promise holds, and
// when it has not held for long enough, why.
import * as z from 'zod';
import { milliseconds } from '../fields.ts';
import { type Concern, type Desired, defineKind, type Finding } from '../kind.ts';
import type { Ports } from '../ports.ts';
import { no, unknown, YES } from '../shared/verdicts.ts';
import { ask, hasSecret } from './ask.ts';
import { CheckSpec } from './schema.ts';

type Needs = 'http' | 'sockets' | 'clock';

interface Observed {
  /** Why it does not hold; undefined while it does. */
  readonly evidence: string | undefined;
  readonly failingForMs: number;
  /** It held at some time since the agent began to ask. */
  readonly held: boolean;
}

/** Since when a promise fails. In memory: after a restart it counts anew, as alerts of Prometheus do. */
interface Streak {
  readonly digest: string;
  readonly failingSince: number | undefined;
  readonly held: boolean;
}

/** By the ports of an agent, and by key: one process may run several agents. */
const streaks = new WeakMap<object, Map<string, Streak>>();

/** Checks that hang are at most so many of the agent's passes, however many they are: heals go on. */
const LANES = 3;

const forMs = (spec: CheckSpec) => milliseconds(spec.for ?? '0s');

export const check = defineKind<CheckSpec, Observed, Needs, null>({
  kind: 'Check',
  scope: 'either',
  spec: CheckSpec,
  before: { version: 1, schema: z.null() },
  needs: ['http', 'sockets', 'clock'],

  // Nothing on the host is its own: any number of documents may ask the same.
  owns: () => [],
  locks: (spec) => [`check/${laneOf(spec)}`],
  asks(spec) {
    const { http, promql, logql } = spec;
    return [http, promql, logql].flatMap((asked) => {
      if (asked === undefined) return [];
      const value = new URL(asked.url).origin;
      if (hasSecret(asked)) return [{ type: 'url' as const, value, why: 'it is sent a secret' }];
      return asked === http && http.method === 'POST'
        ? [{ type: 'url' as const, value, why: 'a POST may change something' }]
        : [];
    });
  },

  check(spec) {
    const given = (['http', 'tcp', 'promql', 'logql'] as const).filter((what) => spec[what] !== undefined);
    const findings: Finding[] = [];
    if (given.length === 0) {
      findings.push({ path: [], message: 'nothing is asked for; give one of http, tcp, promql and logql' });
    }
    for (const what of given.slice(1)) {
      findings.push({ path: [what], message: `a check asks one thing, and ${given[0]} is given: make two` });
    }
    for (const what of ['http', 'promql', 'logql'] as const) {
      const { username, password } = new URL(spec[what]?.url ?? 'http://none');
      if (username === '' && password === '') continue;
      const message = 'a password in a URL stands in git: use headers with secretFrom, or bearerToken';
      findings.push({ path: [what, 'url'], message });
    }
    findings.push(...wrongPattern(spec), ...wrongExpectation(spec));
    // Loki answers "log queries are not supported as an instant query type".
    if (spec.logql !== undefined && /^\s*\{/.test(spec.logql.query)) {
      const message = `this asks for lines; a check needs a number: count them, as in sum(count_over_time(${spec.logql.query.trim()}[15m]))`;
      findings.push({ path: ['logql', 'query'], message });
    }
    if (spec.interval !== undefined && milliseconds(spec.interval) < 1000) {
      findings.push({ path: ['interval'], message: 'an interval is 1s at least' });
    }
    if (
      spec.timeout !== undefined &&
      !(milliseconds(spec.timeout) > 0 && milliseconds(spec.timeout) <= 60_000)
    ) {
      findings.push({ path: ['timeout'], message: 'a timeout is more than 0s, and 1m at most' });
    }
    return findings;
  },

  async observe(d, io, signal) {
    return follow(d, io, await ask(d, io, signal));
  },

  diff: () => [],

  assess(d, { evidence, failingForMs, held }) {
    if (evidence === undefined) return YES;
    if (failingForMs >= forMs(d.spec)) return no('CheckFailed', evidence);
    return held ? YES : unknown('Pending', pending(d.spec, evidence, failingForMs));
  },

  conditions(d, { evidence, failingForMs, held }): Concern[] {
    if (evidence === undefined || !held || failingForMs >= forMs(d.spec)) return [];
    const message = pending(d.spec, evidence, failingForMs);
    return [{ type: 'Failing', status: 'True', reason: 'Pending', message }];
  },

  prepare: async () => ({ existed: false, before: null }),
  apply: async () => undefined,
  undo: async () => {},

  async watch(d, { clock }, wake, signal) {
    while (!signal.aborted) {
      wake();
      await clock.sleep(milliseconds(d.spec.interval ?? '1m'), signal).catch(() => undefined);
    }
  },
});

function follow(d: Desired<CheckSpec>, io: Pick<Ports, Needs>, evidence: string | undefined): Observed {
  const mine = streaks.get(io) ?? new Map<string, Streak>();
  streaks.set(io, mine);
  const known = mine.get(d.key);
  const before = known?.digest === d.digest ? known : undefined;
  const now = io.clock.monotonic();
  const failingSince = evidence === undefined ? undefined : (before?.failingSince ?? now);
  const held = evidence === undefined || before?.held === true;
  mine.set(d.key, { digest: d.digest, failingSince, held });
  return { evidence, held, failingForMs: failingSince === undefined ? 0 : now - failingSince };
}

function pending(spec: CheckSpec, evidence: string, failingForMs: number): string {
  return `${evidence} (for ${Math.floor(failingForMs / 1000)} s; it counts as failed after ${spec.for})`;
}

function wrongPattern({ http }: CheckSpec): Finding[] {
  if (http?.method === 'HEAD' && (http.contains ?? http.matches) !== undefined) {
    return [{ path: ['http', 'method'], message: 'the answer to a HEAD has no body to look into: use GET' }];
  }
  try {
    if (http?.matches !== undefined) new RegExp(http.matches, 'm');
    return [];
  } catch (error) {
    return [{ path: ['http', 'matches'], message: `no regular expression: ${(error as Error).message}` }];
  }
}

function wrongExpectation(spec: CheckSpec): Finding[] {
  return (['promql', 'logql'] as const).flatMap((what): Finding[] => {
    const { empty, of, ...thresholds } = spec[what]?.expect ?? {};
    const path = [what, 'expect'];
    const numbers = Object.keys(thresholds).length;
    if (empty === true && numbers > 0) {
      return [{ path, message: 'empty is given beside a threshold: keep one of them' }];
    }
    if (numbers > 0 || of === undefined) return [];
    return [{ path: [...path, 'of'], message: 'of needs a threshold: atLeast, atMost or equals' }];
  });
}

function laneOf(spec: CheckSpec): number {
  return [...JSON.stringify(spec)].reduce((sum, character) => sum + character.charCodeAt(0), 0) % LANES;
}
