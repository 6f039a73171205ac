// TailnetPolicy against a stand-in of Tailscale's API, broken as in the admin console and by curl.
import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { tailnetPolicy } from '../../kinds/tailnet-policy/index.ts';
import { TailscaleApi } from '../support/tailscale-api/server.ts';
import type { Fixture } from './fixture.ts';

const policy = (ports: string) => `{
  // ${ports} and nothing else
  "acls": [{"action": "accept", "src": ["*"], "dst": ["*:${ports}"]}],
  "tests": [{"src": "100.64.0.4", "accept": ["100.64.0.8:22"], "deny": ["100.64.0.8:23"]}]
}`;

export const tailnetPolicyFixture: Fixture = {
  kind: tailnetPolicy,
  async open(t) {
    const served = new TailscaleApi({ tailnet: { devices: [], users: [] } });
    const api = await served.start();
    const http = createHttp();
    t.after(async () => {
      await http.close();
      await served.stop();
    });
    const { id, secret } = served.addClient('policy_file');
    const spec = {
      api,
      oauth: { clientID: id, clientSecret: { secretFrom: { env: secret } } },
      importedFrom: served.etag,
      pollSeconds: 10,
    };
    // Ten seconds of polling take ten milliseconds.
    const clock = { ...systemClock, sleep: (ms: number, s?: AbortSignal) => systemClock.sleep(ms / 1000, s) };
    return {
      ports: { http, clock },
      specs: [
        { ...spec, content: policy('22') },
        { ...spec, content: policy('22,443') },
      ],
      breakages: {
        'a rule widened': () =>
          served.edit((text) => text.replace('*:22', '*:*').replace('"deny"', '"accept"')),
        'a comment taken out': () => served.edit((text) => text.replace(/\/\/.*\n/, '\n')),
        'its tests taken out': () => served.edit((text) => text.replace(/"tests"[\s\S]*\]\s*,?\s*\}/, '}')),
        'another section added': () =>
          served.edit((text) => text.replace('"tests"', '"groups": {}, "tests"')),
        'overwritten by curl': async () => {
          const response = await fetch(`${api}/api/v2/tailnet/-/acl`, {
            method: 'POST',
            headers: {
              authorization: `Bearer ${served.apiKey('policy_file')}`,
              'if-match': `"${served.etag}"`,
            },
            body: '{"acls": []}',
          });
          if (!response.ok) throw new Error(await response.text());
        },
      },
      fingerprint: () => served.text,
    };
  },
};
