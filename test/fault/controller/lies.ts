// What a controller can answer instead of the truth, and what the agent should call it.
import type http from 'node:http';
import { gzipSync } from 'node:zlib';
import type { PullResult } from '../../../agent/metrics.ts';
import type { SignedBundle } from '../../../api/bundle.ts';
import { payloadText, testBundle, testKey } from '../../support/bundle.ts';
import type { FaultController } from '../support/controller.ts';
import type { FaultHost } from '../support/host.ts';

export interface Lie {
  readonly name: string;
  readonly results: readonly PullResult[];
  /** The agent asks once more before it makes up its mind. */
  readonly askedTwice?: boolean;
  answer(request: http.IncomingMessage, response: http.ServerResponse): void;
}

const REFUSED: readonly PullResult[] = ['malformed', 'bad_signature', 'bad_digest', 'wrong_host', 'replayed'];
/** What flips and cuts leave may also be no HTTP any more, or what the agent has already. */
const ANY: readonly PullResult[] = [...REFUSED, 'unreachable', 'unchanged', 'new'];
const MIB = 1024 * 1024;

function send(body: string | Buffer, status = 200, headers: http.OutgoingHttpHeaders = {}): Lie['answer'] {
  return (_, response) => response.writeHead(status, headers).end(body);
}

/** On the socket itself: what node would not send. */
function raw(text: string): Lie['answer'] {
  return (_, response) => response.socket?.end(text);
}

/** @param announced whether content-length tells. @param total bytes; Infinity never ends. */
function flood(total: number, announced: boolean, status = 200, text = 'x'): Lie['answer'] {
  return (_, response) => {
    response.writeHead(status, announced ? { 'content-length': total } : {});
    const chunk = Buffer.alloc(MIB, text);
    let sent = 0;
    const more = (): void => {
      while (sent < total && !response.destroyed) {
        sent += chunk.length;
        if (!response.write(chunk)) return void response.once('drain', more);
      }
      response.end();
    };
    response.on('error', () => undefined);
    more();
  };
}

function drip(head: http.OutgoingHttpHeaders | undefined): Lie['answer'] {
  return (_, response) => {
    if (head === undefined) response.socket?.write('HTTP/1.1 200 OK\r\nx-drip: ');
    else response.writeHead(200, head);
    const timer = setInterval(() => {
      if (head === undefined) response.socket?.write('y');
      else response.write(' ');
    }, 1000);
    response.on('close', () => clearInterval(timer));
  };
}

/** A gigabyte of zeros: gzip members of 16 MiB each, one after the other. */
function gzipBomb(): Buffer {
  return Buffer.concat(Array(64).fill(gzipSync(Buffer.alloc(16 * MIB))));
}

export function lies(host: FaultHost, controller: FaultController): Lie[] {
  const sequence = host.sequence + 1000;
  const signed = (options: Partial<Parameters<typeof testBundle>[0]>): string =>
    JSON.stringify(testBundle({ key: controller.key, host: host.name, sequence, ...options }));
  const good = JSON.parse(signed({})) as SignedBundle;
  const other = payloadText('somebody-else');
  const lie = (name: string, results: PullResult | readonly PullResult[], answer: Lie['answer']): Lie => ({
    name,
    results: typeof results === 'string' ? [results] : results,
    answer,
  });
  const words = (code: string) => JSON.stringify({ error: { code, message: 'so they say' } });
  const skew = (date: string) => send(words('ClockSkew'), 401, { date });
  return [
    lie('signed by another key', 'bad_signature', send(signed({ key: testKey() }))),
    lie('no signature', 'malformed', send(JSON.stringify({ ...good, signature: undefined }))),
    lie(
      'an empty signature',
      'bad_signature',
      send(JSON.stringify({ ...good, signature: { keyId: '', value: '' } })),
    ),
    lie('for another host', 'wrong_host', send(signed({ host: 'somebody-else' }))),
    lie('for us, with another host’s payload', 'wrong_host', send(signed({ payload: other }))),
    lie('an older sequence', 'replayed', send(signed({ sequence: 1 }))),
    lie(
      'a payload that is not what its digest says',
      'bad_digest',
      send(JSON.stringify({ ...good, payload: other })),
    ),
    lie(
      'no payload, and not the one that is held',
      'malformed',
      send(JSON.stringify({ ...good, payload: undefined })),
    ),
    lie('signed nonsense', 'malformed', send(signed({ payload: '{"resources":"none"}' }))),
    lie('signed, and no JSON', 'malformed', send(signed({ payload: 'resources: none' }))),
    lie('null', 'malformed', send('null')),
    lie('nothing', 'malformed', send('')),
    lie('a page', 'malformed', send('<html>captive portal</html>', 200, { 'content-type': 'text/html' })),
    lie('UTF-16', 'malformed', send(Buffer.from(JSON.stringify(good), 'utf16le'))),
    lie('30 MB of brackets', 'malformed', send(`[${'[],'.repeat(10 * MIB)}1]`)),
    lie('30 MB of opening brackets', 'malformed', send('['.repeat(30 * MIB))),
    lie('30 MB in one text', 'malformed', send(`{"envelope":"${'x'.repeat(30 * MIB)}`)),
    lie('1 GB, announced', ['malformed', 'unreachable'], flood(1024 * MIB, true)),
    lie('1 GB, in chunks', 'malformed', flood(1024 * MIB, false)),
    lie('1 GB of backslashes', 'malformed', flood(1024 * MIB, false, 200, '\\')),
    lie('endless', 'malformed', flood(Number.POSITIVE_INFINITY, false)),
    lie('a gzip bomb', 'malformed', send(gzipBomb(), 200, { 'content-encoding': 'gzip' })),
    lie(
      'gzip, and not asked for',
      'malformed',
      send(gzipSync(JSON.stringify(good)), 200, { 'content-encoding': 'gzip' }),
    ),
    lie('gzip that is none', 'malformed', send('no gzip', 200, { 'content-encoding': 'gzip, br, deflate' })),
    ...[500, 502, 503, 599].map((s) => lie(`${s}`, 'unreachable', send(words('Broken'), s))),
    lie('500 with 1 GB', ['unreachable', 'malformed'], flood(1024 * MIB, false, 500)),
    ...[301, 302, 303, 307, 308].map((s) =>
      lie(
        `${s} to elsewhere`,
        'refused_by_controller',
        send('', s, { location: `${controller.url}/elsewhere` }),
      ),
    ),
    ...[400, 401, 403, 418].map((s) => lie(`${s}`, 'refused_by_controller', send(words('No'), s))),
    lie('404, not in git', 'unassigned', send(words('Unassigned'), 404)),
    {
      ...lie(
        '401, a clock of another century',
        'refused_by_controller',
        skew('Mon, 01 Jan 1900 00:00:00 GMT'),
      ),
      askedTwice: true,
    },
    lie('401, no clock at all', 'refused_by_controller', skew('noon')),
    lie('a header of 1 MB', 'unreachable', raw(`HTTP/1.1 200 OK\r\netag: ${'x'.repeat(MIB)}\r\n\r\n`)),
    lie('100,000 headers', 'unreachable', raw(`HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(100_000)}\r\n`)),
    lie('a negative length', 'unreachable', raw('HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}')),
    lie(
      'two lengths',
      'unreachable',
      raw('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x'),
    ),
    lie(
      'a length of 2^63',
      ['unreachable', 'malformed'],
      raw('HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\n{}'),
    ),
    lie(
      'status 999',
      ['unreachable', 'refused_by_controller', 'malformed'],
      raw('HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n'),
    ),
    lie(
      '101, and another protocol',
      'unreachable',
      raw('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    ),
    lie('SSH', 'unreachable', raw('SSH-2.0-OpenSSH_9.2\r\n')),
    lie(
      'binary noise',
      'unreachable',
      raw(String.fromCharCode(...Array.from({ length: 4096 }, (_, i) => (i * 37) % 256))),
    ),
    lie('a connection that closes at once', 'unreachable', (_, response) => response.socket?.destroy()),
    lie(
      'half a chunk',
      'unreachable',
      raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{"enve'),
    ),
    lie('what the agent has already', ['unchanged', 'replayed'], send(signed({ sequence: host.sequence }))),
  ];
}

/** Cut off at every tenth byte: as if that were all, and as a connection that breaks. */
export function cuts(bundle: SignedBundle): Lie[] {
  const body = JSON.stringify(bundle);
  const places = Array.from({ length: Math.ceil(body.length / 10) }, (_, i) => i * 10);
  return places.flatMap((n) => [
    { name: `cut off after ${n} bytes`, results: ['malformed'] as const, answer: send(body.slice(0, n)) },
    {
      name: `broken off after ${n} bytes`,
      results: ['unreachable'] as const,
      answer: (_: http.IncomingMessage, response: http.ServerResponse) => {
        response.writeHead(200, { 'content-length': body.length });
        response.write(body.slice(0, n), () => response.socket?.destroy());
        if (n === 0) response.socket?.destroy();
      },
    },
  ]);
}

export function flips(bundle: SignedBundle, count: number): Lie[] {
  const body = Buffer.from(JSON.stringify(bundle));
  return Array.from({ length: count }, (_, i) => {
    const bit = Math.floor(((i + Math.random()) / count) * body.length * 8);
    const flipped = Buffer.from(body);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    return { name: `bit ${bit} flipped`, results: ANY, answer: send(flipped) };
  });
}

/** One byte a second, in the body and in the head, and nothing at all: only a timeout ends them. */
export function slow(): Lie[] {
  return [
    { name: 'one byte a second', results: ['unreachable'], answer: drip({}) },
    {
      name: 'one byte a second, announced',
      results: ['unreachable'],
      answer: drip({ 'content-length': MIB }),
    },
    { name: 'one byte a second of a header', results: ['unreachable'], answer: drip(undefined) },
    { name: 'silence', results: ['unreachable'], answer: () => undefined },
  ];
}
