// What Prometheus and Loki answer to an instant query, held against what is expected of it. Pure. The format is
// that of their HTTP APIs: prometheus.io/docs/prometheus/latest/querying/api, grafana.com/docs/loki (query).
import type { Expectation } from './schema.ts';

interface Sample {
  /** As people write it: up{host="pi"}. */
  readonly series: string;
  readonly value: number;
}

const SHOWN = 3;
const MOST_CHARACTERS = 300;

/** @returns why the answer is not as expected, in words; undefined when it is. */
export function judgeAnswer(query: string, body: string, expect: Expectation = {}): string | undefined {
  const samples = samplesIn(body);
  if (typeof samples === 'string') return samples;
  if (expect.empty === true) {
    return samples.length === 0
      ? undefined
      : `${shorten(query)} is to return nothing, and returns ${list(samples)}`;
  }
  if (samples.length === 0) return `${shorten(query)} returns nothing`;
  const bad = samples.filter(({ value }) => !fits(value, expect));
  const isFine = expect.of === 'any' ? bad.length < samples.length : bad.length === 0;
  if (isFine) return undefined;
  const wanted = `${expect.of === 'any' ? 'one' : 'each'} is to be ${words(expect)}`;
  return samples.length === 1 ? `${list(bad)}, and is to be ${words(expect)}` : `${list(bad)}; ${wanted}`;
}

function fits(value: number, { atLeast, atMost, equals }: Expectation): boolean {
  // NaN fits nothing that is asked of it.
  return (
    (atLeast === undefined || value >= atLeast) &&
    (atMost === undefined || value <= atMost) &&
    (equals === undefined || value === equals)
  );
}

function words({ atLeast, atMost, equals }: Expectation): string {
  const parts = [
    equals === undefined ? '' : `${equals}`,
    atLeast === undefined ? '' : `at least ${atLeast}`,
    atMost === undefined ? '' : `at most ${atMost}`,
  ];
  return parts.filter((part) => part !== '').join(' and ');
}

function list(samples: readonly Sample[]): string {
  const shown = samples.slice(0, SHOWN).map(({ series, value }) => `${series} is ${value}`);
  const more = samples.length - shown.length;
  return more === 0 ? shown.join(', ') : `${shown.join(', ')} and ${more} more`;
}

/** @returns a text when this is no answer that can be judged. */
function samplesIn(body: string): Sample[] | string {
  let data: { resultType?: string; result?: unknown } | undefined;
  try {
    data = (JSON.parse(body) as { data?: typeof data }).data;
  } catch {
    return `the answer is no JSON: ${excerpt(body)}`;
  }
  const result = data?.result;
  if (!Array.isArray(result)) return `the answer has no result: ${excerpt(body)}`;
  switch (data?.resultType) {
    case 'vector':
      return result.map(({ metric, value }) => ({
        series: seriesName(metric ?? {}),
        value: number(value?.[1]),
      }));
    case 'scalar':
      return [{ series: 'the value', value: number(result[1]) }];
    default:
      return `the query returns a ${data?.resultType}: a check needs samples of one instant, as sum(…) or count_over_time(…[5m]) give`;
  }
}

/** Go's formatting has +Inf where JavaScript has Infinity; a native histogram has no number. */
function number(text: unknown): number {
  const infinite = /^([+-]?)Inf$/.exec(String(text));
  if (infinite !== null) return infinite[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return typeof text === 'string' ? Number(text) : Number.NaN;
}

function seriesName({ __name__: name = '', ...labels }: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return pairs.length === 0 && name !== '' ? name : `${name}{${pairs.join(', ')}}`;
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= MOST_CHARACTERS ? line : `${line.slice(0, MOST_CHARACTERS)}…`;
}

/** The beginning of an answer, on one line; for people. */
export function excerpt(body: string): string {
  const line = body.replace(/\s+/g, ' ').trim();
  return line.length <= 160 ? line : `${line.slice(0, 160)}…`;
}
