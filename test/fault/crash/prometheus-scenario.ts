// PrometheusConfig beside a file that people edit. Prometheus's API is played by the test, which outlives the kill;
// promtool is the real one, where there is one.
import fs from 'node:fs';
import path from 'node:path';
import { resource } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';
import { ServedPrometheus } from '../support/fakes.ts';
import { FaultHost } from '../support/host.ts';
import { HASTE, type Scenario } from './stage.ts';

const THEIRS = `# ${'theirs to edit '.repeat(200)}\nglobal: {}\n\nscrape_configs:\n    - job_name: theirs\n\n# the end\n`;

function scenario(name: string, version: string): Scenario {
  return {
    name,
    async open(common) {
      const host = new FaultHost({ ...common, haste: HASTE });
      const file = path.join(host.root, 'prometheus.yml');
      fs.writeFileSync(file, THEIRS);
      fs.utimesSync(file, 1, 1); // what was written just now is waited for
      const served = await new ServedPrometheus(file, version).start();
      const key = 'PrometheusConfig/p';
      const spec = (...jobs: string[]) => [
        resource('PrometheusConfig', 'p', {
          path: '/prometheus.yml',
          address: served.address,
          scrapeConfigs: { content: jobs.map((job) => `- job_name: ${job}\n`).join('') },
        }),
      ];
      return {
        host,
        origins: { [key]: 'created' },
        revisions: [
          { name: 'v1', resources: spec('ours'), outcomes: { [key]: 'Ready' } },
          { name: 'v2', resources: spec('ours', 'more'), outcomes: { [key]: 'Ready' } },
          { name: 'refused', resources: spec('refused'), outcomes: { [key]: 'RolledBack' } },
          { name: 'removal', resources: [], outcomes: {} },
        ],
        fingerprint: async () => `${treeText(host.root)}\nloaded ${served.loaded}`,
        inspect() {
          const now = fs.readFileSync(file, 'utf8');
          const outside = now
            .replace(/ *# BEGIN homeostat[\s\S]*?# END homeostat.*\n/g, '')
            .replace('scrape_config_files: # homeostat\n', '');
          if (outside !== THEIRS) throw new Error(`what is theirs was changed: ${outside.slice(-80)}`);
        },
        async settledCheck() {
          if (served.loaded !== served.whole()) throw new Error('Prometheus runs another config');
          if (served.loaded.includes('refused')) throw new Error('Prometheus runs a config that it refused');
        },
        async close() {
          await host.destroy();
          await served.close();
        },
      };
    },
  };
}

export const prometheus: readonly Scenario[] = [
  scenario('PrometheusConfig (Prometheus’s API played by the test)', '2.42.0'),
  scenario('PrometheusConfig with a file of jobs (Prometheus’s API played by the test)', '2.55.0'),
];
