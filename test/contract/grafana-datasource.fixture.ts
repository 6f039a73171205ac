import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { grafanaDatasource } from '../../kinds/grafana-datasource/index.ts';
import { AnsweringServer } from '../support/grafana/answering.ts';
import { StandInGrafana } from '../support/grafana/grafana.ts';
import type { Fixture } from './fixture.ts';
import { grafanaUnwell } from './grafana-unwell.ts';

export const grafanaDatasourceFixture: Fixture = {
  kind: grafanaDatasource,
  async open(t) {
    const grafana = await new StandInGrafana().start();
    const http = createHttp();
    const prometheus = await new AnsweringServer().start();
    t.after(async () => {
      await prometheus.stop();
      await http.close();
      await grafana.stop();
    });
    const theirs = {
      name: 'Theirs',
      type: 'loki',
      access: 'proxy',
      url: 'http://127.0.0.1:9',
      isDefault: true,
    };
    grafana.state.saveDatasource('theirs', theirs, true);
    const base = {
      // Of a secret from the environment, the suite gives the variable's name.
      grafana: { url: grafana.url, user: 'contract', password: { secretFrom: { env: 'PASSWORD' } } },
      uid: 'contract',
      type: 'prometheus',
      url: prometheus.url,
      pollSeconds: 1,
    };
    grafana.users.set('contract', ['PASSWORD', 'Admin']);
    const edit = (change: object) => async () => {
      const now = await grafana.curl('GET', '/api/datasources/uid/contract');
      await grafana.curl('PUT', '/api/datasources/uid/contract', { ...now, ...change });
    };
    return {
      ports: { http, clock: systemClock },
      specs: [
        {
          ...base,
          name: 'One',
          isDefault: true,
          jsonData: { httpMethod: 'POST', timeInterval: '30s' },
          basicAuthUser: 'grafana',
          secureJsonData: { basicAuthPassword: { secretFrom: { env: 'PASSWORD' } } },
        },
        { ...base, name: 'Two', jsonData: { httpMethod: 'GET' } },
      ],
      breakages: {
        'its URL changed': edit({ url: 'http://127.0.0.1:10' }),
        deleted: () => void grafana.state.datasources.delete('contract'),
        renamed: edit({ name: 'Mine' }),
        'a setting changed': edit({ jsonData: { httpMethod: 'GET', timeInterval: '30s' } }),
        'no longer the default': edit({ isDefault: false }),
      },
      unwell: {
        ...grafanaUnwell(grafana),
        'its server stopped': {
          harm: () => prometheus.stop(),
          repair: async () => void (await prometheus.start()),
        },
        'its server broken': {
          harm() {
            prometheus.status = 500;
          },
          repair() {
            prometheus.status = 200;
          },
        },
      },
      fingerprint: () => grafana.state.fingerprint(),
    };
  },
};
