// PrometheusConfig beside a file that people edit, with a real Prometheus that reads it.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { prometheusConfig } from '../../kinds/prometheus-config/index.ts';
import { PROMTOOL } from '../support/capabilities.ts';
import { startPrometheus, writeNewer } from '../support/prometheus.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { treeText } from '../support/tree.ts';
import type { Fixture } from './fixture.ts';

const THEIRS = '# theirs\nscrape_configs:\n  - job_name: theirs\n\nrule_files:\n';
const RULES = 'groups: [{name: g, rules: [{record: "a:b", expr: up}]}]\n';

export const prometheusConfigFixture: Fixture = {
  kind: prometheusConfig,
  requires: [PROMTOOL],
  async open(t) {
    const root = temporaryDirectory(t);
    const ports = {
      files: createFiles({ root }),
      http: createHttp(),
      processes: createProcesses(),
      clock: systemClock,
    };
    t.after(() => Promise.all([ports.files.close(), ports.http.close(), ports.processes.close()]));
    const [file, rules] = [path.join(root, 'prometheus.yml'), path.join(root, 'alerts.yml')];
    // As they were for a while: what was written just now is waited for.
    const put = (text: string) => {
      fs.writeFileSync(file, text, { mode: 0o640 });
      fs.utimesSync(file, 1, 1);
    };
    const read = () => fs.readFileSync(file, 'utf8');
    const edit = (change: (text: string) => string) => put(change(read()));
    put(THEIRS);
    fs.writeFileSync(rules, RULES);
    const prometheus = await startPrometheus(t, file, ['--web.enable-lifecycle']);
    const { address } = prometheus;
    const reload = async () => void (await fetch(`${prometheus.url}/-/reload`, { method: 'POST' }));
    /** Loads another text, or tries to, and puts the file back. */
    const loadOther = async (change: (text: string) => string) => {
      const right = read();
      edit(change);
      await reload();
      put(right);
    };
    const broken = (text: string) => `${text}nonsense: true\n`;
    const base = { path: '/prometheus.yml', address };
    const port = Number(address.split(':')[1]);
    const stranger = http.createServer((_, response) => response.writeHead(401).end('Unauthorized'));
    t.after(() => stranger.close());
    return {
      ports,
      specs: [
        {
          ...base,
          scrapeConfigs: { content: "- job_name: ours\n  static_configs: [{targets: ['127.0.0.1:9']}]\n" },
          ruleFiles: ['alert*.yml'],
        },
        {
          ...base,
          scrapeConfigs: { content: '- job_name: ours\n  scrape_interval: 90s\n- job_name: more\n' },
        },
      ],
      breakages: {
        'a job edited': () => edit((text) => text.replace('job_name: ours', 'job_name: edited')),
        'the block cut out': () => edit((text) => text.replace(/ *# BEGIN[\s\S]*?# END.*\n/, '')),
        'a line added in the block': () =>
          edit((text) => text.replace('- job_name: ours', '- job_name: ours\n    honor_labels: true')),
        'the whole file overwritten by its old self': () => put(THEIRS),
        'another config loaded, and the file put back': () => loadOther(() => THEIRS),
        'a reload that failed, and the file put back': () => loadOther(broken),
        'a rule file changed': () => writeNewer(rules, RULES.replace('expr: up', 'expr: up + 1')),
        'a rule file added': () => writeNewer(path.join(root, 'alert2.yml'), RULES),
        'a rule file removed': () => fs.rmSync(path.join(root, 'alert2.yml')),
      },
      unwell: {
        'Prometheus stopped': { harm: () => prometheus.kill(), repair: () => prometheus.restart() },
        'its last reload failed': {
          harm: async () => {
            edit(broken);
            await reload();
          },
          repair: async () => {
            edit((text) => text.replace(broken(''), ''));
            await reload();
          },
        },
        'a rule file broken': {
          harm: () => writeNewer(rules, RULES.replace('expr: up', 'expr: up(')),
          repair: async () => {
            fs.writeFileSync(rules, RULES);
            await reload();
          },
        },
        'Prometheus reads another config': {
          harm: () => {
            fs.writeFileSync(path.join(root, 'other.yml'), THEIRS);
            return prometheus.restart(path.join(root, 'other.yml'));
          },
          repair: () => prometheus.restart(),
        },
        'Prometheus reads another config, with a job of this name': {
          harm: () => {
            const text = read().replace('127.0.0.1:9', '127.0.0.1:10');
            fs.writeFileSync(path.join(root, 'other.yml'), text);
            return prometheus.restart(path.join(root, 'other.yml'));
          },
          repair: () => prometheus.restart(),
        },
        'something else answers there': {
          harm: async () => {
            await prometheus.kill();
            await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve));
          },
          repair: async () => {
            stranger.closeAllConnections();
            await new Promise((resolve) => stranger.close(resolve));
            await prometheus.restart();
          },
        },
      },
      fingerprint: () => treeText(root),
    };
  },
};
