import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { alloyConfig } from '../../kinds/alloy-config/index.ts';
import { FakeAlloy } from '../support/fake-alloy.ts';
import { FakeSystemd } from '../support/fake-systemd.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';
import type { Fixture } from './fixture.ts';

export const alloyConfigFixture: Fixture = {
  kind: alloyConfig,
  open(t) {
    // Alloy and its validator see the real path: the files have no sandbox root.
    const root = temporaryDirectory(t);
    const config = path.join(root, 'config.alloy');
    fs.writeFileSync(config, '// as the user had it\n', { mode: 0o640 });
    const files = createFiles();
    t.after(() => files.close());
    const alloy = new FakeAlloy(config);
    alloy.start();
    const units = new FakeSystemd(temporaryDirectory(t), systemClock);
    const spec = { path: config, content: '// one\n', mode: '0600' };
    return {
      ports: { files, units, clock: systemClock, http: alloy.http, processes: alloy.processes },
      specs: [spec, { path: config, content: '// two\n' }],
      breakages: {
        write: () => fs.writeFileSync(config, 'tampered'),
        truncate: () => fs.truncateSync(config),
        delete: () => fs.unlinkSync(config),
        chmod: () => fs.chmodSync(config, 0o777),
        'loaded with another text': () => {
          alloy.loaded = '// another\n';
        },
      },
      silent: ['loaded with another text'],
      fingerprint: () => `${treeText(root)}loaded: ${alloy.loaded}`,
    };
  },
};
