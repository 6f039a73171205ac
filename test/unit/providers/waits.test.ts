// Waits leave nothing behind on what outlives them: no reaction, no listener, no match rule.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { createServer } from 'node:http';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import type { Bus, BusSignal } from '../../../agent/providers/dbus.ts';
import { createDocker } from '../../../agent/providers/docker.ts';
import { createPulls } from '../../../agent/providers/docker-pulls.ts';
import { createHttp } from '../../../agent/providers/http.ts';
import { createProcesses } from '../../../agent/providers/processes.ts';
import { sockets } from '../../../agent/providers/sockets.ts';
import { createSystemd } from '../../../agent/providers/systemd.ts';
import { createTailscale } from '../../../agent/providers/tailscale.ts';
import { Ending, firstOf, onAbort } from '../../../agent/providers/waits.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

test('the first that settles is told, and every source is left', async () => {
  const outcomes: unknown[] = [];
  for (const settle of [
    (resolve: (value: string) => void) => resolve('at once'),
    (resolve: (value: string) => void) => void setImmediate(() => resolve('later')),
    (_: unknown, reject: (reason: unknown) => void) => reject(new Error('refused')),
    () => {
      throw new Error('thrown');
    },
  ]) {
    const ending = new Ending<string>();
    const stop = new AbortController();
    const wait = firstOf<string>(
      (resolve) => ending.on(resolve),
      (_, reject) => onAbort(stop.signal, reject),
      (resolve, reject) => {
        settle(resolve, reject);
        return () => undefined;
      },
    );
    outcomes.push(await wait.catch((error: Error) => error.message));
    assert.equal(ending.size, 0);
    assert.equal(getEventListeners(stop.signal, 'abort').length, 0);
  }
  assert.deepEqual(outcomes, ['at once', 'later', 'refused', 'thrown']);
});

test('an ending is told once, to those who still wait and to those who come later', () => {
  const ending = new Ending<number>();
  const told: string[] = [];
  ending.on((value) => told.push(`a${value}`));
  ending.on((value) => told.push(`b${value}`))();
  ending.end(1);
  ending.end(2);
  ending.on((value) => told.push(`c${value}`));
  assert.deepEqual([told, ending.value, ending.size], [['a1', 'c1'], 1, 0]);
});

/** A system bus with a systemd that ends each job as soon as it is queued, or never. */
class FakeBus implements Bus {
  readonly ended = new Ending<Error>();
  readonly rules = new Map<string, number>();
  readonly references = new Map<string, number>();
  jobsEnd = true;
  #listener: ((signal: BusSignal) => void) | undefined;
  #jobs = 0;

  get isOpen(): boolean {
    return this.ended.value === undefined;
  }

  onSignal(listener: (signal: BusSignal) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  async call({ member, body = [] }: Parameters<Bus['call']>[0]): Promise<readonly unknown[]> {
    const add = (to: Map<string, number>, by: number): void => {
      const key = String(body[0]);
      to.set(key, (to.get(key) ?? 0) + by);
    };
    if (member === 'AddMatch') add(this.rules, 1);
    if (member === 'RemoveMatch') add(this.rules, -1);
    if (member === 'RefUnit') add(this.references, 1);
    if (member === 'UnrefUnit') add(this.references, -1);
    if (member !== 'StartUnit') return [];
    const job = `/org/freedesktop/systemd1/job/${++this.#jobs}`;
    const sender = 'org.freedesktop.systemd1';
    const signal = { sender, path: '/', interface: sender, member: 'JobRemoved' };
    if (this.jobsEnd) setImmediate(() => this.#listener?.({ ...signal, body: [0, job, '', 'done'] }));
    return [job];
  }

  close(why = new Error('closed')): void {
    this.ended.end(why);
  }
}

const kept = (counts: Map<string, number>): string[] =>
  [...counts].flatMap(([key, n]) => (n > 0 ? [key] : []));

test('jobs and watches leave nothing on the connection to systemd, nor on the signal', async () => {
  const bus = new FakeBus();
  const units = createSystemd({ open: async () => bus });
  const { signal } = new AbortController();
  await units.run('start', 'a.service', signal);
  const [waiting, rules] = [bus.ended.size, kept(bus.rules)];
  for (let i = 0; i < 1000; i++) await units.run('start', 'a.service', signal);
  bus.jobsEnd = false;
  for (let i = 0; i < 100; i++) {
    const stop = new AbortController();
    const job = units.run('start', 'a.service', stop.signal);
    setImmediate(() => stop.abort());
    await assert.rejects(job, { name: 'AbortError' });
  }
  for (let i = 0; i < 100; i++) {
    const stop = new AbortController();
    await units.watch('a.service', () => stop.abort(), stop.signal);
  }
  assert.equal(bus.ended.size, waiting);
  assert.deepEqual(kept(bus.rules), rules);
  assert.deepEqual(kept(bus.references), []);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  const watch = units.watch('a.service', () => bus.close(new Error('systemd was started anew')), signal);
  await assert.rejects(watch, /started anew/);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  await units.close();
});

test('passes that look after a pull leave nothing on it, nor on their signal', async () => {
  const over = Promise.withResolvers<{ status: number; headers: object; body: string }>();
  const pulls = createPulls(() => over.promise as never);
  const { signal } = new AbortController();
  for (let i = 0; i < 100; i++) {
    assert.equal((await pulls.pull('alloy', { waitMs: 0, signal })).state, 'pulling');
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  }
  over.resolve({ status: 200, headers: {}, body: '' });
  assert.deepEqual(await pulls.pull('alloy', { waitMs: 10_000, signal }), { state: 'done' });
});

/** Abort listeners that were added less those that were removed, of all signals, also of those that Node combines. */
function countListeners(t: TestContext): () => number {
  const add = t.mock.method(EventTarget.prototype, 'addEventListener');
  const remove = t.mock.method(EventTarget.prototype, 'removeEventListener');
  const listeners = (calls: typeof add.mock.calls) =>
    calls.filter(({ this: target, arguments: [type] }) => type === 'abort' && target instanceof AbortSignal);
  return () => {
    assert.ok(listeners(add.mock.calls).length > 0, 'listeners are seen at all');
    const standing = new Map<unknown, Set<unknown>>();
    const at = (target: unknown): Set<unknown> => standing.get(target) ?? new Set();
    for (const call of listeners(add.mock.calls))
      standing.set(call.this, at(call.this).add(call.arguments[1]));
    for (const call of listeners(remove.mock.calls)) at(call.this).delete(call.arguments[1]);
    return [...standing].reduce(
      (n, [target, set]) => n + ((target as AbortSignal).aborted ? 0 : set.size),
      0,
    );
  };
}

test('calls and watches of the other ports leave no listener on a signal, however they end', async (t) => {
  const directory = temporaryDirectory(t);
  const socket = path.join(directory, 'socket');
  const server = createServer((request, response) => {
    if (/events|watch-ipn-bus/.test(request.url ?? '')) response.write('{"State":1}\n');
    response.end('{}');
  }).listen(socket);
  const web = createServer((_, response) => response.end('{}')).listen(0, '127.0.0.1');
  await eventually(() => assert.ok(server.listening && web.listening));
  const address = web.address();
  const place = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const processes = createProcesses();
  const http = createHttp();
  const there = createDocker(`unix://${socket}`);
  const nowhere = createDocker(`unix://${directory}/none`);
  const tailscale = createTailscale({ socketPaths: [socket], processes, clock: systemClock });
  t.after(async () => {
    for (const port of [processes, http, there, nowhere, tailscale]) await port.close();
    server.close();
    web.close();
  });
  const { signal } = new AbortController();
  const calls: Record<string, () => Promise<unknown>> = {
    'a program': () => processes.run('/bin/true', [], { timeoutMs: 10_000, signal }),
    'a program that is not there': () => processes.run('/none', [], { timeoutMs: 10_000, signal }),
    'a request': () => http.request(`http://${place}/`, { timeoutMs: 10_000, signal }),
    'a connection': () => sockets.connect(place, 10_000, signal),
    'a request to Docker': () => there.request('GET', '/x', { timeoutMs: 10_000, signal }),
    'a watch of Docker that ends': () => there.watch({}, () => undefined, signal),
    'a watch of Docker where none is': () => nowhere.watch({}, () => undefined, signal),
    'a call to tailscaled': () => tailscale.prefs(signal),
    'a watch of tailscaled that ends': () => tailscale.watch(() => undefined, signal),
  };
  for (const call of Object.values(calls)) await call().catch(() => undefined); // loads what is loaded once
  const count = countListeners(t);
  for (const [name, call] of Object.entries(calls)) {
    for (let i = 0; i < 3; i++) await call().catch(() => undefined);
    await eventually(() => assert.equal(count(), 0, name));
  }
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});
