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
    const client = served.addClient('policy_file');
    const { id, secret } = client;
    const spec = {
      api,
      oauth: { clientID: id, clientSecret: { secretFrom: { env: secret } } },
      importedFrom: served.etag,
      pollSeconds: 10,
    };
    // Ten seconds of polling take ten milliseconds.
    const clock = { ...systemClock, sleep: (ms: number, s?: AbortSignal) => systemClock.sleep(ms / 1000, s) };
    const fails = (status: number, body: string) => ({
      harm() {
        served.failing = { status, body: JSON.stringify({ message: body }) };
      },
      repair() {
        served.failing = undefined;
      },
    });
    const port = Number(new URL(api).port);
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
      unwell: {
        'the API stopped': {
          harm: () => served.stop(),
          repair: async () => void (await served.start('127.0.0.1', port)),
        },
        'the API broken': fails(503, 'upstream'),
        'too many requests': fails(429, 'slow down'),
        'a scope taken away': fails(403, 'calling actor does not have enough permissions'),
        'the client deleted': {
          harm() {
            served.clients.delete(id);
            served.revokeTokens();
          },
          repair: () => void served.clients.set(id, client),
        },
      },
      fingerprint: () => served.text,
    };
  },
};
