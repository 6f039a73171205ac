// An undo that fails: throws an Error, throws Stalled, hangs, or is killed; followed by a fix, by a revert, by a mended
// dependency, or by nothing; by the same agent, or by the next one. No word of it is green, the refused state is in
// quarantine, and every way on leads on.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { Stalled } from '../../../api/errors.ts';
import { Devices } from '../../support/device.ts';
import { eventually } from '../../support/eventually.ts';
import { detachedContext } from '../../support/fixture-host.ts';
import { journalIn } from '../../support/journal.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';
import { inParallel, Tally } from '../support/tally.ts';
import { keptIn, refusesBad } from './devices.ts';

const KEY = 'Device/d';
const FAILURES: Readonly<Record<string, () => void | Promise<void>>> = {
  'throws an Error': () => {
    throw new Error('no way');
  },
  'throws Stalled': () => {
    throw new Stalled('Unsolvable', 'apt finds no way');
  },
  hangs: () => new Promise(() => {}),
  'is killed': () => undefined,
};
type Failure = keyof typeof FAILURES;

interface Case {
  readonly failure: Failure;
  readonly then: keyof typeof WAYS_ON;
  readonly restarted: boolean;
}

const device = (value: string) => resource('Device', 'd', { value, restartOn: ['Device/config'] });
const config = (value: string) => resource('Device', 'config', { value });

interface Stage {
  readonly line: Timeline;
  readonly devices: Devices;
  /** Undo works from now on. */
  mend(): void;
}

/** What comes next while the undo still fails, but for the last one. */
const WAYS_ON = {
  async 'a fix'({ line, devices }: Stage) {
    line.assign(config('off'), device('better'));
    await line.expect(KEY, 'True');
    assert.equal(devices.values.get(KEY), 'better');
  },
  async 'a revert'({ line, devices }: Stage) {
    line.assign(config('off'), device('good'));
    await line.expect(KEY, 'True');
    assert.equal(devices.values.get(KEY), 'good');
  },
  async 'a mended dependency'({ line, devices }: Stage) {
    line.assign(config('good'), device('bad'));
    await line.expect(KEY, 'True');
    assert.equal(devices.values.get(KEY), 'bad');
  },
  async nothing({ line, devices, mend }: Stage) {
    const applied = () => devices.log.filter((entry) => entry === 'apply bad').length;
    const before = applied();
    for (let look = 0; look < 3; look++) {
      line.agent.reconcile();
      await line.agent.idle();
      assert.notEqual(line.condition(KEY, 'Ready')?.status, 'True', 'green while its rollback fails');
    }
    mend();
    line.agent.reconcile();
    await line.expect(KEY, 'False', 'RolledBack');
    await eventually(() => assert.equal(devices.values.get(KEY), 'good'));
    assert.equal(applied(), before, 'the refused state was applied again');
  },
};

export async function undoSuite(): Promise<Tally> {
  const tally = new Tally('undo');
  const cases = Object.keys(FAILURES).flatMap((failure) =>
    (Object.keys(WAYS_ON) as Case['then'][]).flatMap((then) =>
      [false, true].map((restarted): Case => ({ failure, then, restarted })),
    ),
  );
  const possible = cases.filter(({ failure, restarted }) => failure !== 'is killed' || restarted);
  await inParallel(possible, 4, ({ failure, then, restarted }) =>
    tally.check(`an undo that ${failure}, then ${then}${restarted ? ', by the next agent' : ''}`, () =>
      tried({ failure, then, restarted }),
    ),
  );
  return tally;
}

async function tried({ failure, then, restarted }: Case): Promise<void> {
  const { t, end } = detachedContext();
  try {
    const directory = temporaryDirectory(t);
    const file = path.join(directory, 'devices.json');
    if (failure === 'is killed') await killed(directory, file);
    const devices = new Devices(keptIn(file));
    refusesBad(devices);
    let fails = true;
    devices.undoing = () => (fails ? FAILURES[failure]!() : undefined);
    const begin = (): Timeline =>
      new Timeline(t, { kinds: devices.kinds, directory, passTimeoutMs: 300 }).start();
    let line = begin();
    if (failure !== 'is killed') {
      line.assign(config('off'), device('good'));
      await line.expect(KEY, 'True');
      line.assign(config('off'), device('bad'));
      await line.expect(KEY, 'False', 'UndoFailing');
      assert.match(line.condition(KEY, 'Ready')!.message, /NoFlow: nothing arrives/);
      if (restarted) {
        await line.stop();
        line = begin();
      }
    }
    const held = journalIn(path.join(directory, 'state'));
    assert.equal(held.entry(KEY)?.quarantined?.reason, 'NoFlow', 'not in quarantine before its undo');
    assert.equal(held.intent(KEY)?.phase, 'undoing');
    if (line.agent.status().resources.length === 0) line.assign(config('off'), device('bad'));
    await WAYS_ON[then]({ line, devices, mend: () => (fails = false) });
    await line.stop();
    assert.equal(journalIn(path.join(directory, 'state')).intent(KEY), undefined, 'a change is left open');
  } finally {
    await end();
  }
}

async function killed(directory: string, file: string): Promise<void> {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'process.ts'), directory, file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [, signal] = await once(child, 'exit');
  assert.equal(signal, 'SIGKILL', 'it did not come to its undo');
  assert.ok(fs.existsSync(file));
}
