// Check: a promise that is asked for at an interval. It changes nothing; it says whether the promise holds, and
// when it has not held for long enough, why.
import * as z from 'zod';
import { milliseconds } from '../fields.ts';
import { defineKind, type Permission } from '../kind.ts';
import { findings, type Mistake } from '../shared/findings.ts';
import { patternFault } from '../shared/linear-regexp.ts';
import { type Streak, Streaks } from '../shared/streak.ts';
import { connectPermission, originOf } from '../shared/urls.ts';
import { no, unknown, YES } from '../shared/verdicts.ts';
import { ask, hasSecret } from './ask.ts';
import { CheckSpec, type Expectation } from './schema.ts';

interface Observed extends Streak {
  /** Why it does not hold; undefined while it does. */
  readonly evidence: string | undefined;
}

/** Checks that hang are at most so many of the agent's passes, however many they are: heals go on. */
const LANES = 3;
const REQUESTS = ['http', 'promql', 'logql'] as const;

const streaks = new Streaks();

export const check = defineKind<CheckSpec, Observed, 'http' | 'sockets' | 'clock', null>({
  kind: 'Check',
  scope: 'either',
  spec: CheckSpec,
  before: { version: 1, schema: z.null() },
  needs: ['http', 'sockets', 'clock'],

  // Nothing on the host is its own: any number of documents may ask the same.
  owns: () => [],
  locks: (spec) => [`check/${laneOf(spec)}`],
  // A plain question, too: whoever may ask any address learns what answers in this host's networks.
  permissions: (spec) => [
    ...REQUESTS.flatMap((what): Permission[] => {
      const request = spec[what];
      if (request === undefined) return [];
      const isPost = what === 'http' && spec.http?.method === 'POST';
      const why = hasSecret(request)
        ? 'it is sent a secret'
        : isPost
          ? 'a POST may change something'
          : 'it is asked';
      return [{ type: 'url', value: originOf(request.url), why }];
    }),
    ...(spec.tcp === undefined ? [] : [connectPermission(spec.tcp.address)]),
  ],

  check(spec) {
    const { http, logql, interval = '1m', timeout = '10s' } = spec;
    const [first, ...others] = (['http', 'tcp', 'promql', 'logql'] as const).filter((what) => spec[what]);
    const fault = http?.matches === undefined ? undefined : patternFault(http.matches);
    return findings(
      [first === undefined, [], 'nothing is asked for; give one of http, tcp, promql and logql'],
      ...others.map((what): Mistake => {
        return [true, [what], `a check asks one thing, and ${first} is given: make two`];
      }),
      ...REQUESTS.map((what): Mistake => {
        const { username, password } = new URL(spec[what]?.url ?? 'http://none');
        const message = 'a password in a URL stands in git: use headers with secretFrom, or bearerToken';
        return [`${username}${password}` !== '', [what, 'url'], message];
      }),
      [
        http?.method === 'HEAD' && (http.contains ?? http.matches) !== undefined,
        ['http', 'method'],
        'the answer to a HEAD has no body to look into: use GET',
      ],
      [fault !== undefined, ['http', 'matches'], `no regular expression: ${fault}`],
      ...(['promql', 'logql'] as const).flatMap((what) => wrongExpectation(what, spec[what]?.expect)),
      [
        // Loki answers "log queries are not supported as an instant query type".
        /^\s*\{/.test(logql?.query ?? ''),
        ['logql', 'query'],
        `this asks for lines; a check needs a number: count them, as in sum(count_over_time(${logql?.query.trim()}[15m]))`,
      ],
      [milliseconds(interval) < 1000, ['interval'], 'an interval is 1s at least'],
      [
        milliseconds(timeout) === 0 || milliseconds(timeout) > 60_000,
        ['timeout'],
        'a timeout is more than 0s, and 1m at most',
      ],
    );
  },

  async observe(d, io, signal) {
    const evidence = await ask(d, io, signal);
    const streak = streaks.look(io, d.key, evidence !== undefined, io.clock.monotonic(), d.digest);
    return { evidence, ...streak };
  },

  diff: () => [],

  assess({ spec }, observed) {
    if (observed.evidence !== undefined && isOver(spec, observed))
      return no('CheckFailed', observed.evidence);
    const message = pending(spec, observed);
    return message === undefined || observed.wasWell ? YES : unknown('Pending', message);
  },

  conditions({ spec }, observed) {
    const message = pending(spec, observed);
    if (message === undefined || !observed.wasWell) return [];
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

function isOver(spec: CheckSpec, { failingForMs }: Observed): boolean {
  return failingForMs >= milliseconds(spec.for ?? '0s');
}

/** What is said while it fails, and not for long enough. */
function pending(spec: CheckSpec, observed: Observed): string | undefined {
  const { evidence, failingForMs } = observed;
  if (evidence === undefined || isOver(spec, observed)) return undefined;
  return `${evidence} (for ${Math.floor(failingForMs / 1000)} s; it counts as failed after ${spec.for})`;
}

function wrongExpectation(what: 'promql' | 'logql', expect: Expectation = {}): Mistake[] {
  const { empty, of, ...thresholds } = expect;
  const hasThreshold = Object.keys(thresholds).length > 0;
  const both = 'empty is given beside a threshold: keep one of them';
  return [
    [empty === true && hasThreshold, [what, 'expect'], both],
    [
      of !== undefined && !hasThreshold,
      [what, 'expect', 'of'],
      'of needs a threshold: atLeast, atMost or equals',
    ],
  ];
}

function laneOf(spec: CheckSpec): number {
  return [...JSON.stringify(spec)].reduce((sum, character) => sum + character.charCodeAt(0), 0) % LANES;
}
