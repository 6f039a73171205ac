// What strangers may cost: token buckets in bounded memory, connections that nobody vouched for, turns of the loop.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import fc from 'fast-check';
import { CONNECTION_LIMITS, Connections } from '../../../controller/http/connections.ts';
import { Nonces } from '../../../controller/http/nonces.ts';
import { RateLimits, sourceOf } from '../../../controller/http/rate-limits.ts';
import { RefusedAudit } from '../../../controller/http/refused-audit.ts';
import { Turns } from '../../../controller/http/turns.ts';

test('a bucket holds its burst, fills again with time, and takes back what turned out well', () => {
  const limits = new RateLimits({ perSecond: 2, burst: 3 });
  const took = (n: number, at: number) => Array.from({ length: n }, () => limits.take('a', at));
  assert.deepEqual(took(4, 0), [true, true, true, false]);
  assert.equal(limits.take('b', 0), true, 'others have their own');
  assert.deepEqual(took(3, 1000), [true, true, false]);
  limits.giveBack('a', 1000);
  assert.equal(limits.take('a', 1000), true);
  assert.equal(limits.take('a', -1_000_000), false, 'a clock that is set back gives nothing');
  assert.equal(limits.take('a', 1_000_000), true);
});

test('no bucket ever gives more than its burst and its rate, whatever comes when', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 200 }), (gaps) => {
      const limits = new RateLimits({ perSecond: 5, burst: 10 });
      let at = 0;
      let taken = 0;
      for (const gap of gaps) {
        at += gap;
        if (limits.take('k', at)) taken += 1;
      }
      assert.ok(taken <= 10 + (at / 1000) * 5 + 1);
    }),
  );
});

test('memory is bounded: a million sources leave as many buckets as there is room for', () => {
  const limits = new RateLimits({ perSecond: 1, burst: 1 }, 100);
  for (let i = 0; i < 1_000_000; i++) limits.take(`source-${i}`, 0);
  assert.equal(limits.size, 100);
  assert.equal(limits.take('source-999999', 0), false, 'the newest are those that are kept');
});

test('one source is an IPv4 address, a network of 64 bits, or one node of a tailnet', () => {
  assert.equal(sourceOf('::ffff:10.0.0.1'), '10.0.0.1');
  assert.equal(sourceOf('2001:db8::1'), sourceOf('2001:0DB8:0:0:ffff::2'));
  assert.notEqual(sourceOf('2001:db8::1'), sourceOf('2001:db8:0:1::1'));
  assert.notEqual(sourceOf('fd7a:115c:a1e0::1'), sourceOf('fd7a:115c:a1e0::2'));
  assert.equal(sourceOf('fe80::1%eth0'), sourceOf('fe80::2'));
  assert.equal(sourceOf(undefined), '');
});

type Socket = IncomingMessage['socket'];
class FakeSocket extends EventEmitter {
  readonly remoteAddress: string;
  destroyed = false;
  constructor(remoteAddress: string) {
    super();
    this.remoteAddress = remoteAddress;
  }
  destroy(): this {
    this.destroyed = true;
    this.emit('close');
    return this;
  }
}

test('of connections that nobody vouched for the oldest makes room; proven ones are never closed for others', () => {
  let now = 0;
  const limits = { ...CONNECTION_LIMITS, perSource: 3, unproven: 5, graceMs: 0 };
  const connections = new Connections(limits, () => now);
  const open = (address: string) => {
    const fake = new FakeSocket(address);
    const socket: Pick<Socket, 'remoteAddress'> & EventEmitter = fake;
    connections.opened(socket as Socket);
    return { fake, socket: socket as Socket };
  };
  const fleet = Array.from({ length: 50 }, () => {
    const agent = open('192.0.2.1');
    connections.prove(agent.socket);
    return agent;
  });
  const strangers = Array.from({ length: 100 }, () => open('192.0.2.1'));
  const late = open('192.0.2.1');
  connections.prove(late.socket);
  for (let i = 0; i < 100; i++) open('192.0.2.1');
  assert.deepEqual([...fleet, late].filter(({ fake }) => fake.destroyed).length, 0);
  assert.equal(
    strangers.every(({ fake }) => fake.destroyed),
    true,
  );
  assert.equal(connections.unproven, 3);
  for (let i = 0; i < 100; i++) open(`198.51.100.${i}`);
  assert.equal(connections.unproven, 5);
  for (const { fake } of fleet) fake.destroy();
  assert.equal(connections.isProven(late.socket), true);
  now += 1;
});

test('a fleet that comes back all at once from behind one address is let in; who never proves himself is not', () => {
  let now = 0;
  const connections = new Connections({ ...CONNECTION_LIMITS, perSource: 10, most: 100 }, () => now);
  const open = () => {
    const fake = new FakeSocket('192.0.2.1');
    const socket: Pick<Socket, 'remoteAddress'> & EventEmitter = fake;
    connections.opened(socket as Socket);
    return { fake, socket: socket as Socket };
  };
  const fleet = Array.from({ length: 90 }, open);
  assert.equal(fleet.filter(({ fake }) => fake.destroyed).length, 0);
  for (const { socket } of fleet) connections.prove(socket);
  const flood = Array.from({ length: 500 }, open);
  assert.equal(connections.unproven, 100, 'however young they are');
  now += CONNECTION_LIMITS.graceMs;
  for (let i = 0; i < 95; i++) open();
  assert.equal(flood.filter(({ fake }) => !fake.destroyed).length, 5);
  assert.equal(fleet.filter(({ fake }) => fake.destroyed).length, 0);
});

test('nonces: a second use is a replay for as long as the clock would be taken, and no longer remembered', () => {
  const nonces = new Nonces();
  assert.equal(nonces.isFirst('key', 'n', 1000), true);
  assert.equal(nonces.isFirst('key', 'n', 1600), false);
  assert.equal(nonces.isFirst('other', 'n', 1600), true);
  assert.equal(nonces.isFirst('key', 'n', 1601), true);
});

test('refused requests: the first are written one by one, the rest is counted in one line', () => {
  const entries: { detail: string }[] = [];
  let now = 0;
  const timers: (() => void)[] = [];
  const clock = {
    now: () => now,
    setTimeout: (run: () => void) => {
      timers.push(run);
      return { cancel: () => {} };
    },
  };
  const audit = new RefusedAudit((entry) => entries.push(entry), clock);
  for (let i = 0; i < 300; i++) audit.refused('10.0.0.1', 'pi', 'TokenUnknown');
  assert.equal(entries.length, 10);
  timers[0]!();
  assert.equal(entries.at(-1)!.detail, 'and more: 290 TokenUnknown');
  audit.flush();
  assert.deepEqual([entries.length, timers.length], [11, 1]);
  now = 61_000;
  audit.refused('10.0.0.1', 'pi', 'TokenExpired');
  assert.equal(entries.length, 12);
});

test('a few requests a turn of the loop, in their order, and timers in between', async () => {
  const turns = new Turns(4);
  const order: string[] = [];
  for (let i = 0; i < 12; i++) turns.run(() => order.push(`${i}`));
  assert.equal(order.length, 4);
  await new Promise<void>((resolve) => setImmediate(resolve));
  order.push('other');
  await new Promise<void>((resolve) => setImmediate(resolve));
  assert.deepEqual(order.slice(0, 9), ['0', '1', '2', '3', '4', '5', '6', '7', 'other']);
  assert.equal(order.length, 13);
  turns.run(() => order.push('later'));
  await new Promise<void>((resolve) => setImmediate(resolve));
  assert.equal(order.at(-1), 'later');
});
