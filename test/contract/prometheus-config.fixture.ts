// PrometheusConfig beside a file that people edit. Prometheus itself is in test/integration/prometheus.test.ts; here
// nobody answers, which is a host where it is stopped.
import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { prometheusConfig } from '../../kinds/prometheus-config/index.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';
import type { Fixture } from './fixture.ts';

export const prometheusConfigFixture: Fixture = {
  kind: prometheusConfig,
  open(t) {
    const root = temporaryDirectory(t);
    const [files, http, processes] = [createFiles({ root }), createHttp(), createProcesses()];
    t.after(() => Promise.all([files.close(), http.close(), processes.close()]));
    const file = path.join(root, 'prometheus.yml');
    fs.writeFileSync(file, '# theirs\nscrape_configs:\n  - job_name: theirs\n\nrule_files:\n', {
      mode: 0o640,
    });
    fs.writeFileSync(path.join(root, 'alerts.yml'), 'groups: []\n');
    const edit = (change: (text: string) => string) =>
      fs.writeFileSync(file, change(fs.readFileSync(file, 'utf8')));
    // Port 9 of loopback: nobody listens there.
    const base = { path: '/prometheus.yml', address: '127.0.0.1:9' };
    return {
      ports: { files, http, processes, clock: systemClock },
      specs: [
        { ...base, scrapeConfigs: { content: '- job_name: ours\n' }, ruleFiles: ['alerts.yml'] },
        {
          ...base,
          scrapeConfigs: { content: '- job_name: ours\n  scrape_interval: 30s\n- job_name: more\n' },
        },
      ],
      breakages: {
        'a job edited': () => edit((text) => text.replace('job_name: ours', 'job_name: edited')),
        'the block cut out': () => edit((text) => text.replace(/ *# BEGIN[\s\S]*?# END.*\n/, '')),
        'a line added in the block': () =>
          edit((text) => text.replace('- job_name: ours', '- job_name: ours\n    honor_labels: true')),
        'the whole file overwritten by its old self': () =>
          edit(() => '# theirs\nscrape_configs:\n  - job_name: theirs\n\nrule_files:\n'),
      },
      fingerprint: () => treeText(root),
    };
  },
};
