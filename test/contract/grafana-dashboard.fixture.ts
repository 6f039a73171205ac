import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { grafanaDashboard } from '../../kinds/grafana-dashboard/index.ts';
import { StandInGrafana } from '../support/grafana/grafana.ts';
import type { Fixture } from './fixture.ts';
import { grafanaUnwell } from './grafana-unwell.ts';

const dashboard = (title: string, query: string) =>
  JSON.stringify({
    title,
    schemaVersion: 39,
    panels: [{ type: 'stat', title: 'Up', targets: [{ refId: 'A', expr: query }] }],
  });

export const grafanaDashboardFixture: Fixture = {
  kind: grafanaDashboard,
  async open(t) {
    const grafana = await new StandInGrafana().start();
    const http = createHttp();
    t.after(async () => {
      await http.close();
      await grafana.stop();
    });
    grafana.state.saveFolder('theirs', 'Theirs');
    grafana.state.saveDashboard('other', { title: 'Other' }, 'theirs');
    const base = {
      // Of a secret from the environment, the suite gives the variable's name.
      grafana: { url: grafana.url, user: 'contract', password: { secretFrom: { env: 'PASSWORD' } } },
      uid: 'contract',
      pollSeconds: 1,
      panels: { check: false },
    };
    grafana.users.set('contract', ['PASSWORD', 'Editor']);
    return {
      ports: { http, clock: systemClock },
      specs: [
        { ...base, folder: { title: 'Ours' }, content: dashboard('One', 'up') },
        { ...base, folder: { uid: 'theirs' }, content: dashboard('Two', 'sum(up)') },
      ],
      breakages: {
        deleted: () => void grafana.state.deleteDashboard('contract'),
        'a panel edited': () => grafana.edit('contract', (d) => Object.assign(d, { panels: [] })),
        renamed: () => grafana.edit('contract', (d) => Object.assign(d, { title: 'Mine' })),
        'moved to another folder': () => grafana.edit('contract', () => undefined, 'theirs'),
        'deleted with its folder': () => grafana.state.deleteFolder('homeostat-ours'),
      },
      unwell: grafanaUnwell(grafana),
      fingerprint: () => grafana.state.fingerprint(),
    };
  },
};
