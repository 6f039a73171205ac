// The kind File: created and adopted, in each of its types.
import fs from 'node:fs';
import path from 'node:path';
import { resource } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';
import { FaultHost } from '../support/host.ts';
import { HASTE, LONG, type Scenario, USERS, wholeOneOf } from './stage.ts';

function fileScenario(
  name: string,
  specs: readonly { readonly path?: string; readonly [field: string]: unknown }[],
  before: (root: string) => void,
  origin: 'created' | 'adopted',
  inspect: (host: FaultHost) => void = () => undefined,
): Scenario {
  return {
    name,
    async open(common) {
      const host = new FaultHost({ ...common, haste: HASTE });
      fs.mkdirSync(path.join(host.root, 'etc'));
      before(host.root);
      const ready = { 'File/f': 'Ready' };
      const managed = path.join(host.root, specs.at(-1)?.path ?? 'etc/f');
      return {
        host,
        origins: { 'File/f': origin },
        moves: specs.some((spec) => spec.path !== undefined),
        revisions: [
          ...specs.map((spec, i) => ({
            name: `v${i + 1}`,
            resources: [resource('File', 'f', { path: '/etc/f', ...spec })],
            outcomes: ready,
          })),
          {
            name: 'heal',
            resources: [resource('File', 'f', { path: '/etc/f', ...specs.at(-1) })],
            outcomes: ready,
            tamper() {
              if (fs.lstatSync(managed).isDirectory()) fs.chmodSync(managed, 0o700);
              else fs.unlinkSync(managed);
            },
          },
          { name: 'removal', resources: [], outcomes: {} },
        ],
        fingerprint: async () => treeText(host.root),
        inspect: () => inspect(host),
        close: () => host.destroy(),
      };
    },
  };
}

const put = (text: string) => (root: string) =>
  fs.writeFileSync(path.join(root, 'etc/f'), text, { mode: 0o640 });

export const files: readonly Scenario[] = [
  fileScenario(
    'File created',
    [{ content: LONG, mode: '0600' }, { content: `${LONG}two` }],
    () => undefined,
    'created',
    (host) => wholeOneOf(host, 'etc/f', [undefined, LONG, `${LONG}two`]),
  ),
  fileScenario(
    'File adopted',
    [{ content: LONG }, { content: `${LONG}two`, mode: '0600' }],
    put(USERS),
    'adopted',
    (host) => wholeOneOf(host, 'etc/f', [undefined, USERS, LONG, `${LONG}two`]),
  ),
  // A reader may see a part of it: that is what inPlace says. It must only become whole again.
  fileScenario('File in place', [{ content: LONG, inPlace: true }], put(USERS), 'adopted'),
  fileScenario(
    'File symlink',
    [
      { type: 'symlink', target: 'one' },
      { type: 'symlink', target: 'two' },
    ],
    (root) => fs.symlinkSync('users', path.join(root, 'etc/f')),
    'adopted',
  ),
  fileScenario(
    'File moved',
    [{ content: LONG }, { path: '/etc/g', content: `${LONG}two` }],
    () => undefined,
    'created',
    (host) => {
      wholeOneOf(host, 'etc/f', [undefined, LONG]);
      wholeOneOf(host, 'etc/g', [undefined, `${LONG}two`]);
    },
  ),
  fileScenario('File made a directory', [{ type: 'directory', mode: '0755' }], put(USERS), 'adopted'),
  fileScenario('File directory', [{ type: 'directory', mode: '0755' }], () => undefined, 'created'),
];
