// TailscaleClient with a real agent beside a real tailscaled. Runs inside a host of a tailnet
// (../tailscale.test.ts), whose node key expires in five and a half days.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, type TestContext, test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createHttp } from '../../../agent/providers/http.ts';
import { createProcesses } from '../../../agent/providers/processes.ts';
import { createTailscale } from '../../../agent/providers/tailscale.ts';
import { tailscaleClient } from '../../../kinds/tailscale-client/index.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const KEY = 'TailscaleClient/tailscale';
const processes = createProcesses();
const http = createHttp();
const tailscale = createTailscale({ processes, clock: systemClock });
after(() => Promise.all([tailscale.close(), http.close(), processes.close()]));

const cli = (...args: string[]): string => execFileSync('tailscale', args, { encoding: 'utf8' });

function agent(t: TestContext, port = tailscale): Timeline {
  return new Timeline(t, {
    kinds: new Map([[tailscaleClient.kind, tailscaleClient]]),
    ports: { tailscale: port, http },
  }).start();
}

test('the web client is turned on, answers, and is turned on again by whoever it is turned off', async (t) => {
  const line = agent(t).assign(resource('TailscaleClient', 'tailscale', { webclient: true }));
  await line.expect(KEY, 'True', 'Applied');
  const { addresses } = await tailscale.status();
  const { body } = await http.request(`http://${addresses[0]}:5252/metrics`, { timeoutMs: 5000 });
  assert.match(body, /^tailscaled_/m);
  for (let round = 0; round < 5; round++) {
    const healed = line.status(KEY).healedTotal;
    cli('set', '--webclient=false');
    await eventually(() => assert.ok(line.status(KEY).healedTotal > healed));
    assert.equal((await tailscale.prefs())['RunWebClient'], true);
    const seconds = line.status(KEY).lastHealSeconds!;
    t.diagnostic(`healed: webclient off, ${(seconds * 1000).toFixed(1)} ms after the wake`);
  }
});

test('the key’s expiry is seen coming, and the node is told to be connected', async (t) => {
  const line = agent(t).assign(resource('TailscaleClient', 'tailscale', { webclient: true }));
  await line.expect(KEY, 'True');
  await eventually(() => assert.equal(line.condition(KEY, 'KeyExpiry')?.reason, 'ExpiresSoon'));
  assert.match(line.condition(KEY, 'KeyExpiry')!.message, /expires in 5 days/);
  assert.equal(line.condition(KEY, 'TailnetConnected')?.status, 'True');
});

test('a tailscaled that is restarted or stopped is met again', async (t) => {
  const line = agent(t).assign(resource('TailscaleClient', 'tailscale', { webclient: true }));
  await line.expect(KEY, 'True');
  execFileSync('systemctl', ['restart', 'tailscaled']);
  cli('set', '--webclient=false');
  await eventually(async () => assert.equal((await tailscale.prefs())['RunWebClient'], true), 30_000);
  await line.expect(KEY, 'True');
  cli('down');
  await eventually(() => assert.equal(line.condition(KEY, 'TailnetConnected')?.reason, 'Stopped'));
  cli('set', '--webclient=false');
  await eventually(async () => assert.equal((await tailscale.prefs())['RunWebClient'], true));
  cli('up');
  await eventually(() => assert.equal(line.condition(KEY, 'TailnetConnected')?.status, 'True'));
  await line.expect(KEY, 'True');
});

test('without a socket the program does the same', async (t) => {
  const fallback = createTailscale({ socketPaths: ['/nonexistent.sock'], processes, clock: systemClock });
  t.after(() => fallback.close());
  cli('set', '--webclient=false', '--hostname=');
  const spec = { webclient: true, prefs: { hostname: 'by-program', reportPosture: true } };
  const line = agent(t, fallback).assign(resource('TailscaleClient', 'tailscale', spec));
  await line.expect(KEY, 'True');
  const prefs = await tailscale.prefs();
  assert.deepEqual(
    [prefs['RunWebClient'], prefs['Hostname'], prefs['PostureChecking']],
    [true, 'by-program', true],
  );
  assert.deepEqual(await fallback.status(), await tailscale.status());
  line.assign();
  await line.expectGone(KEY);
  const back = await tailscale.prefs();
  assert.deepEqual([back['RunWebClient'], back['Hostname'], back['PostureChecking']], [false, '', false]);
});
