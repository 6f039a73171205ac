// Each test's name is a promise of the turns.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from '../../../agent/queue/turns.ts';

test('what asks for turns at the same time gets one each, in order, and events are read between them', async () => {
  const turns = new Turns();
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

test('a turn is there for whoever asks when nobody waits any more', async () => {
  const turns = new Turns();
  await turns.next();
  await turns.next();
});
