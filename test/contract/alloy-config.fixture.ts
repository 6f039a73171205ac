import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { alloyConfig } from '../../kinds/alloy-config/index.ts';
import { AlloyUnit, FakeAlloy } from '../support/fake-alloy.ts';
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
    const units = new AlloyUnit(alloy, temporaryDirectory(t), systemClock);
    const spec = { path: config, content: 'prometheus.scrape "one" { }\n', mode: '0600' };
    /** Something happens to Alloy, and somebody mends it. */
    const way = (harm: () => void, repair: () => void = () => alloy.start()) => ({ harm, repair });
    return {
      ports: { files, units, clock: systemClock, http: alloy.http, processes: alloy.processes },
      specs: [spec, { path: config, content: 'prometheus.scrape "two" { }\n' }],
      breakages: {
        write: () => fs.writeFileSync(config, 'tampered'),
        truncate: () => fs.truncateSync(config),
        delete: () => fs.unlinkSync(config),
        chmod: () => fs.chmodSync(config, 0o777),
        'loaded with another text': () => {
          alloy.loaded = '// another\n';
        },
        'loaded with a text that closes its API': () => {
          alloy.loaded = 'http { auth { } }\n';
        },
        'loaded with a text that speaks TLS': () => {
          alloy.loaded = 'http { tls { } }\n';
        },
        'refused for a reference': () => alloy.refuse('reference to nothing'),
        'refused for its syntax': () => alloy.refuse('syntax'),
      },
      silent: [
        'loaded with another text',
        'loaded with a text that closes its API',
        'loaded with a text that speaks TLS',
        'refused for a reference',
        'refused for its syntax',
      ],
      unwell: {
        stopped: way(() => {
          alloy.running = false;
        }),
        'ended by itself': way(
          () => {
            alloy.running = false;
            units.ended = { activeState: 'failed', subState: 'failed', result: 'exit-code' };
          },
          () => alloy.start(),
        ),
        hanging: way(
          () => {
            alloy.hangs = true;
          },
          () => {
            alloy.hangs = false;
          },
        ),
        'not ready': way(
          () => {
            alloy.ready = false;
          },
          () => {
            alloy.ready = true;
          },
        ),
        'just started, and not ready': way(
          () => {
            Object.assign(alloy, { ready: false, startedAtMs: systemClock.now() });
          },
          () => {
            Object.assign(alloy, { ready: true, startedAtMs: 0 });
          },
        ),
        'a component is not healthy': way(() => {
          alloy.unhealthy = [{ localID: 'prometheus.scrape.one', message: 'no such file' }];
        }),
        'evaluation refused, and torn down': way(
          () => alloy.refuse('evaluation'),
          () => void alloy.reload(),
        ),
        'another program at its address': way(
          () => {
            alloy.impostor = true;
          },
          () => {
            alloy.impostor = false;
          },
        ),
      },
      fingerprint: () => `${treeText(root)}loaded: ${alloy.loaded}`,
    };
  },
};
