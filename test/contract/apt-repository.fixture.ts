// AptRepository with the machine's own apt below a sandbox root, and a repository signed for the test.
import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { aptRepository } from '../../kinds/apt-repository/index.ts';
import { AptArchive, emptySystem } from '../support/apt-archive.ts';
import { APT } from '../support/capabilities.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';
import type { Fixture } from './fixture.ts';

export const aptRepositoryFixture: Fixture = {
  kind: aptRepository,
  requires: [APT],
  open(t) {
    const root = temporaryDirectory(t);
    const archive = new AptArchive(temporaryDirectory(t));
    const [files, http, processes] = [createFiles({ root }), createHttp(), createProcesses()];
    t.after(() => Promise.all([archive.close(), files.close(), http.close(), processes.close()]));
    emptySystem(root);
    archive.publish([{ name: 'hello', version: '1.0' }]);
    const at = (place: string) => path.join(root, place);
    const source = at('etc/apt/sources.list.d/test.sources');
    const keyring = at('etc/apt/keyrings/test.gpg');
    const { fingerprint, armoured, binary } = archive.key;
    const other = archive.newKey('other');
    return {
      ports: { files, http, processes, clock: systemClock },
      specs: [
        { ...archive.source(), key: { fingerprint, content: armoured } },
        {
          ...archive.source(),
          architectures: ['amd64', 'arm64'],
          key: { fingerprint, content: binary.toString('base64') },
        },
      ],
      breakages: {
        'the source edited': () => fs.appendFileSync(source, 'Enabled: no\n'),
        'the source deleted': () => fs.unlinkSync(source),
        'the keyring deleted': () => fs.unlinkSync(keyring),
        'the keyring replaced': () => fs.writeFileSync(keyring, other.binary),
        'a key added to the keyring': () => fs.appendFileSync(keyring, other.binary),
        'the lists emptied': () => {
          fs.rmSync(at('var/lib/apt/lists'), { recursive: true });
          fs.mkdirSync(at('var/lib/apt/lists/partial'), { recursive: true });
        },
      },
      unwell: {
        'somebody adds the repository again, with another key': {
          harm() {
            fs.writeFileSync(at('etc/apt/keyrings/theirs.gpg'), binary);
            fs.writeFileSync(
              at('etc/apt/sources.list.d/theirs.list'),
              `deb [signed-by=${at('etc/apt/keyrings/theirs.gpg')}] ${archive.uri} stable main\n`,
            );
          },
          repair() {
            fs.unlinkSync(at('etc/apt/keyrings/theirs.gpg'));
            fs.unlinkSync(at('etc/apt/sources.list.d/theirs.list'));
          },
        },
      },
      fingerprint: () => treeText(at('etc')),
    };
  },
};
