// TailnetPolicy against the stand-in of Tailscale's API, which outlives the kill.
import fs from 'node:fs';
import path from 'node:path';
import { TailscaleApi } from '../../support/tailscale-api/server.ts';
import { resource } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';
import { FaultHost } from '../support/host.ts';
import { HASTE, type Scenario } from './stage.ts';

const policy = (comment: string) =>
  `{\n  // ${comment}\n  "acls": [{"action": "accept", "src": ["*"], "dst": ["*:22"]}],\n}\n`;

export const tailnetPolicy: Scenario = {
  name: 'TailnetPolicy (stand-in of Tailscale’s API)',
  async open(common) {
    const host = new FaultHost({ ...common, haste: HASTE });
    const served = new TailscaleApi({ tailnet: { devices: [], users: [] } });
    const api = await served.start();
    served.refuses = (text) => text.includes('refused');
    const original = served.text;
    const importedFrom = served.etag;
    const client = served.addClient('policy_file');
    // The same name in every round: the snapshots of all rounds are compared.
    served.clients.set('crash', client);
    const file = path.join(host.directory, 'secret');
    fs.writeFileSync(file, client.secret, { mode: 0o600 });
    const key = 'TailnetPolicy/p';
    const spec = (comment: string) => [
      resource('TailnetPolicy', 'p', {
        api,
        content: policy(comment),
        importedFrom,
        oauth: { clientID: 'crash', clientSecret: { secretFrom: { file } } },
        pollSeconds: 10,
      }),
    ];
    return {
      host,
      origins: { [key]: 'adopted' },
      revisions: [
        { name: 'v1', resources: spec('one'), outcomes: { [key]: 'Ready' } },
        { name: 'v2', resources: spec('two'), outcomes: { [key]: 'Ready' } },
        { name: 'refused', resources: spec('refused'), outcomes: { [key]: 'RolledBack' } },
        {
          name: 'heal',
          resources: spec('refused'),
          outcomes: { [key]: 'RolledBack' },
          tamper: () => served.edit((text) => text.replace('// two', '// theirs')),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      // Removing the document leaves the policy as it was last.
      fingerprint: async () => treeText(host.root),
      inspect() {
        const blind = served.asked.filter((asked) => /^POST \S+\/acl$/.test(asked));
        if (blind.length > 0) throw new Error(`written without If-Match: ${blind}`);
        if (!/\/\/ (?:one|two|theirs)$/m.test(served.text) && served.text !== original)
          throw new Error(`nobody wrote this policy: ${served.text.slice(0, 80)}`);
      },
      async settledCheck() {
        if (/refused|theirs/.test(served.text))
          throw new Error(`this policy was to go: ${served.text.slice(0, 80)}`);
      },
      async close() {
        await host.destroy();
        await served.stop();
      },
    };
  },
};
