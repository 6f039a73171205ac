// Check against an HTTP server of the test's, which outlives the kill. It writes nothing on a host; what is to be
// seen is that its record comes and goes, and that after a kill it is asked anew.
import { resource } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';
import { serve } from '../support/fakes.ts';
import { FaultHost } from '../support/host.ts';
import { HASTE, type Scenario } from './stage.ts';

export const check: Scenario = {
  name: 'Check (asked of the test)',
  async open(common) {
    const host = new FaultHost({ ...common, haste: HASTE });
    let asked = 0;
    const served = await serve((request, response) => {
      asked += 1;
      response.writeHead(request.url === '/bad' ? 500 : 200).end();
    }, 0);
    const key = 'Check/c';
    const spec = (path: string) => [
      resource('Check', 'c', { http: { url: `http://127.0.0.1:${served.port}${path}` }, interval: '1s' }),
    ];
    return {
      host,
      origins: { [key]: 'created' },
      revisions: [
        { name: 'v1', resources: spec('/one'), outcomes: { [key]: 'Ready' } },
        { name: 'v2', resources: spec('/two'), outcomes: { [key]: 'Ready' } },
        { name: 'fails', resources: spec('/bad'), outcomes: { [key]: 'CheckFailed' } },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => treeText(host.root),
      async settledCheck() {
        const before = asked;
        await new Promise((resolve) => setTimeout(resolve, 100));
        if (asked === before) throw new Error('it is not asked any more');
      },
      async close() {
        await host.destroy();
        await served.close();
      },
    };
  },
};
