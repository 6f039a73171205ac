// What Prometheus and Loki answer to an instant query, held against what is expected of it. Pure. The format is
// that of their HTTP APIs: prometheus.io/docs/prometheus/latest/querying/api, grafana.com/docs/loki (query).
import * as z from 'zod';
import type { Expectation } from './schema.ts';

const Value = z.tuple([z.number(), z.string()]);

const Answer = z.object({
  data: z.discriminatedUnion('resultType', [
    z.object({
      resultType: z.literal('vector'),
      // A native histogram has no value.
      result: z.array(
        z.object({ metric: z.record(z.string(), z.string()).default({}), value: Value.optional() }),
      ),
    }),
    z.object({ resultType: z.literal('scalar'), result: Value }),
    z.object({ resultType: z.enum(['matrix', 'streams', 'string']) }),
  ]),
});

interface Sample {
  /** As people write it: up{host="pi"}. */
  readonly series: string;
  readonly value: number;
}

const SHOWN = 3;

/**
 * @param said what the answer says is wrong, as evidence has it
 * @returns why the answer is not as expected, as a message; undefined when it is.
 */
export function judgeAnswer(
  query: string,
  body: string,
  expect: Expectation = {},
  said = '',
): string | undefined {
  const samples = samplesIn(body, said);
  if (typeof samples === 'string') return samples;
  const name = oneLine(query, 300);
  if (expect.empty === true) {
    return samples.length === 0 ? undefined : `${name} is to return nothing, and returns ${list(samples)}`;
  }
  if (samples.length === 0) return `${name} returns nothing`;
  const isAny = expect.of === 'any';
  const bad = samples.filter(({ value }) => !fits(value, expect));
  if (bad.length === 0 || (isAny && bad.length < samples.length)) return undefined;
  const which = samples.length === 1 ? ', and' : isAny ? '; one' : '; each';
  return `${list(bad)}${which} is to be ${thresholds(expect)}`;
}

/** NaN fits nothing that is asked of it. */
function fits(value: number, { atLeast, atMost, equals }: Expectation): boolean {
  return (
    (atLeast === undefined || value >= atLeast) &&
    (atMost === undefined || value <= atMost) &&
    (equals === undefined || value === equals)
  );
}

function thresholds({ atLeast, atMost, equals }: Expectation): string {
  const parts = [
    ...(equals === undefined ? [] : [`${equals}`]),
    ...(atLeast === undefined ? [] : [`at least ${atLeast}`]),
    ...(atMost === undefined ? [] : [`at most ${atMost}`]),
  ];
  return parts.join(' and ');
}

function list(samples: readonly Sample[]): string {
  const shown = samples.slice(0, SHOWN).map(({ series, value }) => `${series} is ${value}`);
  const more = samples.length - shown.length;
  return more === 0 ? shown.join(', ') : `${shown.join(', ')} and ${more} more`;
}

/** @returns a text when this is no answer that can be judged. */
function samplesIn(body: string, said: string): Sample[] | string {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return `the answer is no JSON${said}`;
  }
  const answer = Answer.safeParse(json).data?.data;
  if (answer === undefined) return `the answer has no result${said}`;
  switch (answer.resultType) {
    case 'vector':
      return answer.result.map(({ metric, value }) => ({
        series: seriesName(metric),
        value: number(value),
      }));
    case 'scalar':
      return [{ series: 'the value', value: number(answer.result) }];
    default:
      return `the query returns a ${answer.resultType}: a check needs samples of one instant, as sum(…) or count_over_time(…[5m]) give`;
  }
}

/** Go's formatting has +Inf where JavaScript has Infinity. */
function number(value: z.infer<typeof Value> | undefined): number {
  return value === undefined ? Number.NaN : Number(value[1].replace(/Inf$/, 'Infinity'));
}

function seriesName({ __name__: name = '', ...labels }: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return pairs.length === 0 && name !== '' ? name : `${name}{${pairs.join(', ')}}`;
}

/** The beginning of a text, on one line; for people. */
export function oneLine(text: string, most = 160): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= most ? line : `${line.slice(0, most)}…`;
}
