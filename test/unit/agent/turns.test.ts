// Each test's name is a promise of the turns.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from '../../../agent/queue/turns.ts';

test('what asks for turns at the same time goes on in order, and events are read between what takes long', async () => {
  let now = 0;
  const turns = new Turns(() => (now += 10));
  const order: string[] = [];
  const { port1, port2 } = new MessageChannel();
  const read = new Promise<void>((resolve) => {
    port1.onmessage = () => {
      order.push('event');
      resolve();
    };
  });
  const take = async (name: string): Promise<void> => {
    await turns.next();
    order.push(name);
    if (name === 'a') port2.postMessage('the system has an event');
  };
  await Promise.all([take('a'), take('b'), take('c'), read]);
  port1.close();
  assert.deepEqual(order, ['a', 'event', 'b', 'c']);
});

test('what is quick shares a turn, with all that follows from it', async () => {
  const turns = new Turns(() => 0);
  const order: string[] = [];
  const take = async (name: string): Promise<void> => {
    await turns.next();
    order.push(name);
    for (let i = 0; i < 10; i++) await undefined;
    order.push(`${name} ends`);
  };
  const taken = [take('a'), take('b')];
  setImmediate(() => order.push('the next turn'));
  await Promise.all(taken);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(order, ['a', 'a ends', 'b', 'b ends', 'the next turn']);
});

test('a turn is there for whoever asks when nobody waits any more', async () => {
  const turns = new Turns(() => 0);
  await turns.next();
  await turns.next();
});
