import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { service } from '../../kinds/service/index.ts';
import { FakeSystemd } from '../support/fake-systemd.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';
import type { Fixture } from './fixture.ts';

const UNIT = 'web.service';
const FAILED = { activeState: 'failed', subState: 'failed', result: 'exit-code' } as const;
const WAITS = { activeState: 'activating', subState: 'auto-restart', result: 'signal' } as const;

/** Of what begins, or is put off, now. */
function timesOf({ activeState, subState }: { activeState: string; subState: string }) {
  if (subState === 'auto-restart') return { restartsAtMs: Date.now() + 60_000 };
  return activeState === 'inactive' || activeState === 'failed' ? {} : { startedAtMs: Date.now() };
}

export const serviceFixture: Fixture = {
  kind: service,
  open(t) {
    const root = temporaryDirectory(t);
    const files = createFiles({ root });
    t.after(() => files.close());
    const units = new FakeSystemd(root, systemClock);
    const file = path.join(root, 'etc/systemd/system', UNIT);
    const unwell = (state: Parameters<typeof units.happens>[1]) => ({
      harm: () => units.happens(UNIT, { ...state, ...timesOf(state) }),
      async repair() {
        await units.resetFailed(UNIT);
        await units.run('restart', UNIT);
      },
    });
    const text = (program: string) =>
      `[Service]\nExecStart=${program}\n\n[Install]\nWantedBy=multi-user.target\n`;
    return {
      ports: { files, units, clock: systemClock },
      specs: [
        {
          unit: UNIT,
          unitFile: { content: text('/bin/one') },
          dropIns: { '10-memory.conf': { content: '[Service]\nMemoryMax=1G\n' } },
          enabled: true,
        },
        { unit: UNIT, unitFile: { content: text('/bin/two') }, enabled: false, state: 'stopped' },
      ],
      breakages: {
        'unit file edited': () => fs.appendFileSync(file, '# edited\n'),
        'unit file deleted': () => fs.unlinkSync(file),
        'a mask in its place': () => {
          fs.unlinkSync(file);
          fs.symlinkSync('/dev/null', file);
        },
        'drop-in deleted': () => fs.unlinkSync(path.join(`${file}.d`, '10-memory.conf')),
        stopped: () => units.run('stop', UNIT),
        disabled: () => units.disable(UNIT),
        'failed after a long life': () => units.happens(UNIT, { ...FAILED, livedMs: 3_600_000 }),
        'ended and rested': () => units.happens(UNIT, { ...FAILED, inactiveSinceMs: Date.now() - 60_001 }),
      },
      unwell: {
        'started too often': unwell({ ...FAILED, result: 'start-limit-hit' }),
        'restarted until systemd gave up': unwell({ ...FAILED, restarts: 5 }),
        'ended by itself': unwell({
          activeState: 'inactive',
          subState: 'dead',
          result: 'success',
          endedItself: true,
        }),
        failed: unwell(FAILED),
        'waits for its restart': unwell(WAITS),
        'is being stopped': unwell({
          activeState: 'deactivating',
          subState: 'stop-sigterm',
          result: 'success',
        }),
        'is starting': unwell({ activeState: 'activating', subState: 'start', result: 'success' }),
        frozen: { harm: () => units.freeze(UNIT), repair: () => units.freeze(UNIT, false) },
        'a bad drop-in of another person': {
          async harm() {
            fs.writeFileSync(path.join(`${file}.d`, '90-bad.conf'), '[Service]\nExecStart=\n');
            await units.daemonReload();
          },
          async repair() {
            fs.unlinkSync(path.join(`${file}.d`, '90-bad.conf'));
            await units.daemonReload();
          },
        },
      },
      fingerprint: async () => {
        const { activeState, unitFileState, loadState, needDaemonReload } = await units.show(UNIT);
        return [
          treeText(root),
          activeState,
          unitFileState,
          loadState,
          needDaemonReload,
          units.runningText(UNIT),
        ].join('\n');
      },
    };
  },
};
