import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { file } from '../../kinds/file/index.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';
import type { Fixture } from './fixture.ts';

export const fileFixture: Fixture = {
  kind: file,
  open(t) {
    const root = temporaryDirectory(t);
    const files = createFiles({ root });
    t.after(() => files.close());
    fs.mkdirSync(path.join(root, 'etc'));
    fs.writeFileSync(path.join(root, 'etc/motd'), 'as the user had it\n', { mode: 0o640 });
    const motd = path.join(root, 'etc/motd');
    return {
      ports: { files, clock: systemClock },
      specs: [
        { path: '/etc/motd', content: 'one\n', mode: '0600' },
        { path: '/etc/motd', content: 'two\n' },
      ],
      breakages: {
        write: () => fs.writeFileSync(motd, 'tampered'),
        truncate: () => fs.truncateSync(motd),
        chmod: () => fs.chmodSync(motd, 0o777),
        delete: () => fs.unlinkSync(motd),
        symlink: () => {
          fs.unlinkSync(motd);
          fs.symlinkSync('elsewhere', motd);
        },
      },
      fingerprint: () => treeText(root),
    };
  },
};
