// A controller that lies, and a real agent: it stays up and small, keeps what runs and goes on healing it, and says
// what it refused, on its socket and in its metric. Each lie is told once; what the agent made of it is read off
// homeostat_pull_total before the next is told.
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PULL_RESULTS, type PullResult } from '../../../agent/metrics.ts';
import { findCondition } from '../../../api/status.ts';
import { resource } from '../../support/timeline.ts';
import { FaultController } from '../support/controller.ts';
import { FaultHost, settled } from '../support/host.ts';
import { bundleInto } from '../support/real-controller.ts';
import { inParallel, Tally } from '../support/tally.ts';
import type { Cause } from './cause.ts';
import { gitCauses } from './git.ts';
import { hostCauses } from './hosts.ts';
import { httpCauses } from './http.ts';
import { cuts, flips, type Lie, lies, slow } from './lies.ts';
import { stateCauses } from './state.ts';

/** What befalls a real controller. */
const CAUSES: readonly Cause[] = [...stateCauses, ...hostCauses, ...gitCauses, ...httpCauses];
/** Each has a controller of its own. */
const AT_A_TIME = 3;

export interface ControllerOptions {
  readonly program: string;
  readonly flips: number;
  /** Real timeouts: a slow answer is given up after 30 s. Otherwise timeouts are thirty times shorter. */
  readonly realTimeouts: boolean;
}

/** The cap on an answer (32 MiB) some times over, as bytes and as text, above an agent of some 100. */
const MAX_RSS_MIB = 350;
/** An answer that does not end is given up after 85 s. */
const LONGEST_ANSWER_MS = 120_000;
const HASTE = 600;
const GOOD = 'as the last true bundle said\n';
const CONDITION: Partial<Record<PullResult, string>> = {
  unreachable: 'ControllerReachable',
  unassigned: 'Assigned',
};

interface Seen {
  readonly results: ReadonlyMap<string, number>;
}

async function pulls(host: FaultHost): Promise<Seen> {
  const text = await host.exposition();
  const results = PULL_RESULTS.map((result) => {
    const line = new RegExp(`^homeostat_pull_total\\{result="${result}"\\} (\\d+)`, 'm').exec(text);
    return [result, Number(line?.[1] ?? 0)] as const;
  });
  return { results: new Map(results) };
}

let highest = 0;

function peakMiB(host: FaultHost): number {
  const status = fs.readFileSync(`/proc/${host.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+)/m.exec(status)![1]) / 1024;
}

/** What is wrong with what the agent made of a lie. */
async function judge(lie: Lie, before: Seen, host: FaultHost): Promise<void> {
  if (host.isDown) throw new Error(`the agent ended: ${host.tail()}`);
  const now = await pulls(host);
  const rose = PULL_RESULTS.filter((r) => now.results.get(r)! > before.results.get(r)!);
  if (rose.length !== 1 || !lie.results.includes(rose[0]!))
    throw new Error(`it was counted as ${rose.join(', ') || 'nothing'}, not ${lie.results.join(' or ')}`);
  const peak = peakMiB(host);
  highest = Math.max(highest, peak);
  fs.writeFileSync(`/proc/${host.pid}/clear_refs`, '5'); // the peak begins anew, proc(5)
  if (peak > MAX_RSS_MIB) throw new Error(`the agent took ${peak.toFixed(0)} MiB`);
  if (rose[0] === 'unchanged' || rose[0] === 'new') return;
  const { conditions } = await host.status();
  const name = CONDITION[rose[0]!] ?? 'ManifestAccepted';
  const condition = findCondition(conditions, name);
  if (condition?.status !== 'False' || condition.message.length < 10)
    throw new Error(`the status says ${name} ${condition?.status} ${condition?.message}`);
}

/** Tells one lie after the other. */
async function tell(
  all: readonly Lie[],
  host: FaultHost,
  controller: FaultController,
  tally: Tally,
): Promise<void> {
  const rest = [...all];
  let told: { lie: Lie; before: Seen; repeated?: boolean } | undefined;
  const done = Promise.withResolvers<void>();
  controller.lie(host.name, async (request, response) => {
    try {
      if (told?.lie.askedTwice === true && !told.repeated) {
        told.repeated = true;
        return told.lie.answer(request, response);
      }
      if (told !== undefined) {
        const { lie, before } = told;
        await tally.check(lie.name, () => judge(lie, before, host));
        if (process.env['FAULT_VERBOSE'] !== undefined) console.log(`    ${lie.name}`);
      }
      const lie = rest.shift();
      told = lie === undefined ? undefined : { lie, before: await pulls(host) };
      if (lie !== undefined) return lie.answer(request, response);
      response.writeHead(503).end();
      done.resolve();
    } catch (error) {
      done.reject(error);
    }
  });
  let asked = performance.now();
  let before = 0;
  const watching = setInterval(() => {
    const now = controller.pulls(host.name);
    if (now !== before) asked = performance.now();
    before = now;
    if (host.isDown) done.reject(new Error(`the agent ended: ${host.tail()}`));
    if (performance.now() - asked > LONGEST_ANSWER_MS) {
      done.reject(new Error(`the agent asks no more, after ${told?.lie.name}: ${host.tail()}`));
    }
  }, 100);
  await tally.check(`${all.length} lies are told to the end`, () => done.promise);
  clearInterval(watching);
}

async function heals(host: FaultHost, tally: Tally, what: string): Promise<void> {
  await tally.check(`drift is healed ${what}`, async () => {
    const file = path.join(host.root, 'etc/f');
    fs.writeFileSync(file, 'tampered');
    const deadline = performance.now() + 5_000;
    while (fs.readFileSync(file, 'utf8') !== GOOD) {
      if (performance.now() > deadline) throw new Error(`it is not healed: ${host.tail()}`);
      await delay(2);
    }
  });
}

/** The agent under a controller that lies, and the controller under all that can befall it. */
export async function controllerSuite(options: ControllerOptions): Promise<Tally> {
  const tally = new Tally('controller');
  const only = process.env['FAULT_ONLY'] ?? '';
  const chosen = CAUSES.filter(({ name }) => name.includes(only));
  await bundleInto(path.dirname(options.program));
  await inParallel(chosen, AT_A_TIME, ({ name, run }) => tally.check(name, run));
  if (only === '') await lyingController(options, tally);
  return tally;
}

async function lyingController(options: ControllerOptions, tally: Tally): Promise<void> {
  const controller = new FaultController();
  await controller.start();
  const host = new FaultHost({ controller, program: options.program, haste: HASTE });
  const good = [resource('File', 'f', { path: '/etc/f', content: GOOD })];
  const faults = options.realTimeouts ? {} : { timeoutsDividedBy: 30 };
  try {
    for (let i = 0; i < 5; i++) host.publish(good);
    await host.start(faults);
    await host.reaches(settled(host.sequence, { 'File/f': 'Ready' }));

    await tell(lies(host, controller), host, controller, tally);
    await heals(host, tally, 'after all of that');
    await tell(cuts(host.bundle(good)), host, controller, tally);
    await tell(flips(host.bundle(good), options.flips), host, controller, tally);
    await heals(host, tally, 'after cuts and flips');
    const slowly = tell(slow(), host, controller, tally);
    await heals(host, tally, 'while an answer does not end');
    await slowly;
    console.log(`  the agent’s peak: ${highest.toFixed(0)} MiB resident`);

    await unchangedAtOnce(options, controller, tally, good);
    await restarts(host, controller, tally);
    await tally.check('the truth is taken again', async () => {
      controller.lie(host.name, undefined);
      host.publish(good);
      await host.reaches(settled(host.sequence, { 'File/f': 'Ready' }));
    });
  } finally {
    await host.destroy();
    await controller.stop();
  }
}

/** With its cache alone, while the controller lies from the first answer on. */
async function restarts(host: FaultHost, controller: FaultController, tally: Tally): Promise<void> {
  await host.stop();
  controller.lie(host.name, (_, response) => response.writeHead(200).end('{"lies":true}'));
  fs.writeFileSync(path.join(host.root, 'etc/f'), 'tampered while it was away');
  await host.start();
  await heals(host, tally, 'after a restart among lies');
}

/** An answer that a long poll should have waited for: the agent must not ask as fast as it is answered. */
async function unchangedAtOnce(
  { program }: ControllerOptions,
  controller: FaultController,
  tally: Tally,
  good: Parameters<FaultHost['publish']>[0],
): Promise<void> {
  const host = new FaultHost({ controller, program });
  try {
    host.publish(good);
    await host.start();
    await host.reaches(settled(host.sequence, { 'File/f': 'Ready' }));
    const bundle = JSON.stringify(host.bundle(good));
    const answers: [string, (response: import('node:http').ServerResponse) => void][] = [
      ['304 at once, again and again', (response) => void response.writeHead(304).end()],
      ['the same bundle at once, again and again', (response) => void response.writeHead(200).end(bundle)],
    ];
    for (const [name, answer] of answers) {
      await tally.check(name, async () => {
        controller.lie(host.name, (_, response) => answer(response));
        await delay(500);
        const before = controller.pulls(host.name);
        await delay(3000);
        const asked = controller.pulls(host.name) - before;
        if (asked > 10) throw new Error(`the agent asked ${asked} times in 3 s`);
      });
    }
  } finally {
    await host.destroy();
  }
}
