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

export const serviceFixture: Fixture = {
  kind: service,
  open(t) {
    const root = temporaryDirectory(t);
    const files = createFiles({ root });
    t.after(() => files.close());
    const units = new FakeSystemd(root, systemClock);
    const file = path.join(root, 'etc/systemd/system', UNIT);
    const text = (program: string) =>
      `[Service]\nExecStart=${program}\n\n[Install]\nWantedBy=multi-user.target\n`;
    return {
      // Nothing here needs a second to settle.
      ports: { files, units, clock: { ...systemClock, sleep: async () => undefined } },
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
        crashed: () =>
          units.happens(UNIT, { activeState: 'failed', subState: 'failed', result: 'start-limit-hit' }),
        'waits for its restart': () =>
          units.happens(UNIT, { activeState: 'activating', subState: 'auto-restart', result: 'signal' }),
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
