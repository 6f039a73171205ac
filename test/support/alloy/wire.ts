/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): a remote-write request as
 * a real Prometheus accepts it: prometheus.WriteRequest 1.0 in protobuf, in the Snappy block format (which
 * allows a block of literals only, so nothing needs compressing). And the HTTP post that carries it.
 * https://prometheus.io/docs/specs/prw/remote_write_spec/, google/snappy format_description.txt
 */
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Args } from './evaluate.ts';
import { labelsOf, type Sample } from './flow.ts';

const LONGEST_LITERAL = 0x10000;

function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value);
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** A length-delimited field. */
function field(number: number, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content as string);
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

/** One series a sample; labels sorted by name, as the specification wants them. */
export function writeRequest(samples: Sample[]): Buffer {
  const series = samples.map(({ labels, value, timestamp }) => {
    const pairs = Object.keys(labels)
      .sort()
      .map((name) => field(1, Buffer.concat([field(1, name), field(2, labels[name]!)])));
    const double = Buffer.alloc(9);
    double[0] = (1 << 3) | 1;
    double.writeDoubleLE(value, 1);
    const sample = Buffer.concat([double, varint((2 << 3) | 0), varint(timestamp)]);
    return field(1, Buffer.concat([...pairs, field(2, sample)]));
  });
  return Buffer.concat(series);
}

export function snappy(content: Buffer): Buffer {
  const parts = [varint(content.length)];
  for (let at = 0; at < content.length; at += LONGEST_LITERAL) {
    const chunk = content.subarray(at, at + LONGEST_LITERAL);
    const length = Buffer.alloc(2);
    length.writeUInt16LE(chunk.length - 1);
    parts.push(Buffer.from([61 << 2]), length, chunk);
  }
  return Buffer.concat(parts);
}

export interface Endpoint {
  url: string;
  headers: Record<string, string>;
  timeout: number;
}

/** An endpoint block's address and credentials. */
export function endpointOf(args: Args, timeout: number): Endpoint {
  const { values, blocks } = args;
  const headers = labelsOf(values['headers']);
  const basic = blocks.find((block) => block.name === 'basic_auth')?.values;
  if (basic) {
    const pair = `${basic['username'] ?? ''}:${basic['password'] ?? ''}`;
    headers['Authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`;
  }
  if (values['bearer_token']) headers['Authorization'] = `Bearer ${String(values['bearer_token'])}`;
  return { url: String(values['url']), headers, timeout: Number(values['remote_timeout'] ?? timeout) };
}

const agents = {
  'http:': new HttpAgent({ keepAlive: true, maxSockets: 4 }),
  'https:': new HttpsAgent({ keepAlive: true, maxSockets: 4 }),
};

/** Resolves to the status; rejects when no answer comes (refused, unreachable, timeout, aborted). */
export function post(
  endpoint: Endpoint,
  headers: Record<string, string>,
  body: Buffer,
  signal: AbortSignal,
): Promise<number> {
  return exchange('POST', endpoint, headers, body, signal).then(({ status }) => status);
}

export async function get(url: string, timeout: number, signal: AbortSignal): Promise<string> {
  const { status, text } = await exchange('GET', { url, headers: {}, timeout }, {}, undefined, signal);
  if (status !== 200) throw new Error(`server returned HTTP status ${status}`);
  return text;
}

function exchange(
  method: string,
  endpoint: Endpoint,
  headers: Record<string, string>,
  body: Buffer | undefined,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  const url = new URL(endpoint.url);
  const secure = url.protocol === 'https:';
  const options: RequestOptions = {
    method,
    agent: agents[secure ? 'https:' : 'http:'],
    headers: { 'User-Agent': 'Alloy/v1.18.0 (homeostat stand-in)', ...headers, ...endpoint.headers },
    timeout: endpoint.timeout,
    signal,
  };
  return new Promise((resolve, reject) => {
    const request = (secure ? httpsRequest : httpRequest)(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
      );
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('context deadline exceeded')));
    request.on('error', reject);
    request.end(body);
  });
}
