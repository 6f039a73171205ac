// GrafanaDatasource and GrafanaDashboard against the stand-in for Grafana, which outlives the kill.
import fs from 'node:fs';
import { StandInGrafana } from '../../support/grafana/grafana.ts';
import { resource } from '../../support/timeline.ts';
import { FaultHost } from '../support/host.ts';
import { HASTE, type Scenario } from './stage.ts';

const PASSWORD_FILE = 'grafana.password';

export const grafana: Scenario = {
  name: 'GrafanaDatasource and GrafanaDashboard (the stand-in for Grafana)',
  async open(common) {
    const host = new FaultHost({ ...common, haste: HASTE });
    const server = await new StandInGrafana('apis').start();
    const { state } = server;
    const secret = `${host.directory}/${PASSWORD_FILE}`;
    fs.writeFileSync(secret, server.token);
    state.refuse = (json) => (json['refused'] === true ? 'it is refused' : undefined);
    // Theirs: a dashboard of the same uid, in a folder of their own, and the default data source.
    state.saveFolder('theirs', 'Theirs');
    state.saveDashboard('d-uid', { title: 'Theirs', panels: [{ id: 3, type: 'text' }] }, 'theirs');
    const loki = { name: 'Loki', type: 'loki', access: 'proxy', url: 'http://127.0.0.1:9', isDefault: true };
    state.saveDatasource('loki', loki, true);

    // A person's word, as the controller renders it.
    const removed = { prune: 'delete', scope: 'fleet' } as const;
    const connection = { url: server.url, token: { secretFrom: { file: secret } } };
    const spec = (title: string, more: object = {}) => [
      resource(
        'GrafanaDatasource',
        's',
        {
          grafana: connection,
          uid: 's-uid',
          name: `Prometheus ${title}`,
          // Its health check asks nobody.
          type: 'grafana-testdata-datasource',
          url: 'http://127.0.0.1:9',
          isDefault: true,
        },
        removed,
      ),
      resource(
        'GrafanaDashboard',
        'd',
        {
          grafana: connection,
          uid: 'd-uid',
          folder: { title: 'Ours' },
          content: JSON.stringify({ title, panels: [{ type: 'stat', title: 'Up' }], ...more }),
          panels: { check: false },
        },
        removed,
      ),
    ];
    const outcomes = (dashboard: string) => ({
      'GrafanaDatasource/s': 'Ready',
      'GrafanaDashboard/d': dashboard,
    });
    const titles = ['Theirs', 'one', 'two', 'edited', undefined];
    return {
      host,
      origins: { 'GrafanaDatasource/s': 'created', 'GrafanaDashboard/d': 'adopted' },
      revisions: [
        { name: 'v1', resources: spec('one'), outcomes: outcomes('Ready') },
        { name: 'v2', resources: spec('two'), outcomes: outcomes('Ready') },
        { name: 'refused', resources: spec('three', { refused: true }), outcomes: outcomes('RolledBack') },
        {
          name: 'heal',
          resources: spec('three', { refused: true }),
          outcomes: outcomes('RolledBack'),
          tamper: () => server.edit('d-uid', (d) => Object.assign(d, { title: 'edited' })),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => state.fingerprint(),
      inspect() {
        const title = state.dashboards.get('d-uid')?.json['title'];
        if (!titles.includes(title as string)) throw new Error(`the dashboard is ${title}`);
      },
      async settledCheck() {
        const defaults = [...state.datasources.values()].filter((s) => s['isDefault'] === true);
        if (defaults.length !== 1) throw new Error(`${defaults.length} data sources are the default`);
      },
      async close() {
        await host.destroy();
        await server.stop();
      },
    };
  },
};
