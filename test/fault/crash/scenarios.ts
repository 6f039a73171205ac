// What is applied while the agent is killed: for every kind a host, and the revisions that it goes through. The
// last one is always the empty manifest, after which the host must be as it was.
import fs from 'node:fs';
import path from 'node:path';
import { STANDIN } from '../../support/alloy/harness.ts';
import { journalIn } from '../../support/journal.ts';
import { resource } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';
import { quietPort, ServedAlloy, ServedSystemd, ServedTailscale } from '../support/fakes.ts';
import { FaultHost } from '../support/host.ts';
import { apt } from './apt-scenarios.ts';
import { check } from './check-scenario.ts';
import { compose } from './compose-scenario.ts';
import { container } from './container-scenario.ts';
import { files } from './file-scenarios.ts';
import { grafana } from './grafana-scenario.ts';
import { prometheus } from './prometheus-scenario.ts';
import { HASTE, LONG, type Scenario, USERS, wholeOneOf } from './stage.ts';
import { tailnetPolicy } from './tailnet-policy-scenario.ts';

const alloyApi: Scenario = {
  name: 'AlloyConfig (Alloy’s API played by the test)',
  async open(common) {
    const host = new FaultHost({ ...common, haste: HASTE });
    const config = path.join(host.root, 'etc/alloy/config.alloy');
    fs.mkdirSync(path.dirname(config), { recursive: true });
    fs.writeFileSync(config, USERS);
    const served = await new ServedAlloy(config, host.directory).start();
    const { alloy } = served;
    const texts = { v1: `// one\n${LONG}`, v2: `// two\n${LONG}`, refused: `// refused\n${LONG}` };
    const spec = (content: string) => [
      resource('AlloyConfig', 'a', {
        path: '/etc/alloy/config.alloy',
        content,
        address: served.address,
        binary: served.validator,
        manager: 'none',
      }),
    ];
    const key = 'AlloyConfig/a';
    return {
      host,
      origins: { [key]: 'adopted' },
      revisions: [
        { name: 'v1', resources: spec(texts.v1), outcomes: { [key]: 'Ready' } },
        { name: 'v2', resources: spec(texts.v2), outcomes: { [key]: 'Ready' } },
        { name: 'refused', resources: spec(texts.refused), outcomes: { [key]: 'RolledBack' } },
        {
          name: 'heal',
          resources: spec(texts.refused),
          outcomes: { [key]: 'RolledBack' },
          tamper: () => fs.writeFileSync(config, 'tampered'),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => `${treeText(host.root)}\nloaded ${alloy.loaded}`,
      inspect: () =>
        wholeOneOf(host, 'etc/alloy/config.alloy', [USERS, 'tampered', undefined, ...Object.values(texts)]),
      async settledCheck() {
        const text = fs.readFileSync(config, 'utf8');
        if (alloy.loaded !== text) throw new Error('Alloy does not run what stands in the file');
        if (alloy.unhealthy.length > 0) throw new Error('Alloy was left torn down');
        if (text === texts.refused) throw new Error('Alloy runs a config that it refused');
        // A heal that was cut off puts back what was confirmed, and need not be gated again.
        if (!alloy.gated.has(text)) throw new Error('the config that it runs was never gated');
      },
      async close() {
        await host.destroy();
        await served.close();
      },
    };
  },
};

const supervised: Scenario = {
  name: 'Service supervised (real children)',
  async open(common) {
    const host = new FaultHost({ ...common, haste: HASTE });
    const spec = (...command: string[]) => [
      resource('Service', 's', {
        unit: 'web.service',
        manager: 'supervised',
        command,
        env: { FAULT_HOST: host.name },
      }),
    ];
    const key = 'Service/s';
    const commands = () =>
      host
        .children()
        .map(({ pid }) => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim());
    return {
      host,
      origins: { [key]: 'created' },
      revisions: [
        { name: 'v1', resources: spec('/bin/sleep', '1001'), outcomes: { [key]: 'Ready' } },
        { name: 'v2', resources: spec('/bin/sleep', '1002'), outcomes: { [key]: 'Ready' } },
        { name: 'refused', resources: spec('/nonexistent'), outcomes: { [key]: 'RolledBack' } },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => `${treeText(host.root)}\nruns ${commands()}`,
      async settledCheck() {
        const running = commands();
        if (running.length !== 1) throw new Error(`${running.length} processes of one unit: ${running}`);
        const { confirmed } = journalIn(host.state).entry(key)!;
        const wanted = (confirmed!.spec as { command: string[] }).command.join(' ');
        if (running[0] !== wanted) throw new Error(`it runs ${running[0]}, and ${wanted} was confirmed`);
      },
      close: () => host.destroy(),
    };
  },
};

const systemd: Scenario = {
  name: 'Service systemd (systemd played by the test)',
  async open(common) {
    const host = new FaultHost(common);
    const served = await new ServedSystemd(host.root, host.directory).start();
    const { systemd: fake } = served;
    fake.outcome = (text) => (text.includes('/bin/bad') ? 'fails' : 'stays');
    host.use({ systemd: served.socket, haste: HASTE });
    const unit = 'web.service';
    const text = (program: string) =>
      `[Service]\nExecStart=${program}\n\n[Install]\nWantedBy=multi-user.target\n`;
    const spec = (program: string, dropIns?: object) => [
      resource('Service', 's', {
        unit,
        unitFile: { content: text(program) },
        enabled: true,
        ...(dropIns === undefined ? {} : { dropIns }),
      }),
    ];
    const key = 'Service/s';
    const v1 = spec('/bin/one', { '10-memory.conf': { content: '[Service]\nMemoryMax=1G\n' } });
    return {
      host,
      origins: { [key]: 'created' },
      revisions: [
        { name: 'v1', resources: v1, outcomes: { [key]: 'Ready' } },
        { name: 'v2', resources: spec('/bin/two'), outcomes: { [key]: 'Ready' } },
        { name: 'refused', resources: spec('/bin/bad'), outcomes: { [key]: 'RolledBack' } },
        {
          name: 'heal',
          resources: spec('/bin/bad'),
          outcomes: { [key]: 'RolledBack' },
          tamper: () => fake.run('stop', unit),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => {
        const { activeState, unitFileState, loadState } = await fake.show(unit);
        return [treeText(host.root), activeState, unitFileState, loadState].join('\n');
      },
      async settledCheck() {
        const state = await fake.show(unit);
        if (state.activeState !== 'active') throw new Error(`the unit is ${state.activeState}`);
        if (state.needDaemonReload) throw new Error('systemd was not reloaded');
        const onDisk = host.read(`etc/systemd/system/${unit}`)!;
        if (!fake.runningText(unit).startsWith(onDisk)) throw new Error('it runs what is not on disk');
      },
      async close() {
        await host.destroy();
        await served.close();
      },
    };
  },
};

const tailscale: Scenario = {
  name: 'TailscaleClient (tailscaled played by the test)',
  async open(common) {
    const host = new FaultHost(common);
    const served = await new ServedTailscale(host.directory).start();
    host.use({ haste: HASTE, config: { tailscaleSockets: [served.socket] } });
    const { tailscale: fake } = served;
    const key = 'TailscaleClient/t';
    const spec = (more: object) => [
      resource('TailscaleClient', 't', { webclient: true, metrics: { address: served.metrics }, ...more }),
    ];
    const named = { prefs: { hostname: 'one' } };
    const renamed = { prefs: { hostname: 'two' } };
    const bad = { prefs: { hostname: 'three' }, metrics: { address: '127.0.0.1:1' } };
    return {
      host,
      origins: { [key]: 'adopted' },
      revisions: [
        { name: 'v1', resources: spec(named), outcomes: { [key]: 'Ready' } },
        { name: 'v2', resources: spec(renamed), outcomes: { [key]: 'Ready' } },
        { name: 'refused', resources: spec(bad), outcomes: { [key]: 'RolledBack' } },
        {
          name: 'heal',
          resources: spec(bad),
          outcomes: { [key]: 'RolledBack' },
          tamper: () => fake.change({ RunWebClient: false }),
        },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => JSON.stringify(fake.current),
      async settledCheck() {
        if (fake.current['RunWebClient'] !== true) throw new Error('the webclient is off');
      },
      async close() {
        await host.destroy();
        await served.close();
      },
    };
  },
};

/** The demo's pair, with the stand-in for Alloy as a child of the agent. */
const standin: Scenario = {
  name: 'AlloyConfig and Service (the stand-in for Alloy, supervised)',
  slow: true,
  async open(common) {
    const host = new FaultHost(common);
    const address = `127.0.0.1:${await quietPort()}`;
    const file = path.join(host.root, 'etc/alloy/config.alloy');
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const unit = 'alloy.service';
    const write = (argument: string) =>
      `prometheus.remote_write "central" {\n\tendpoint {\n\t\turl = "http://127.0.0.1:9/write"\n${argument}\t}\n}\n`;
    const config = (content: string) => [
      resource('AlloyConfig', 'a', {
        path: '/etc/alloy/config.alloy',
        content,
        address,
        binary: '/nonexistent/alloy', // not validated, so that the refusal is the reload's
        unit,
        manager: 'supervised',
      }),
      resource(
        'Service',
        'a',
        {
          unit,
          manager: 'supervised',
          command: [
            STANDIN,
            'run',
            `--server.http.listen-addr=${address}`,
            `--storage.path=${host.directory}/data`,
            file,
          ],
          env: { FAULT_HOST: host.name, HOMEOSTAT_NODE: process.execPath, HOMEOSTAT_STANDIN_FLUSH_MS: '100' },
        },
        { dependsOn: [{ ref: 'AlloyConfig/a', until: 'Applied' }] },
      ),
    ];
    const both = (outcome: string) => ({ 'AlloyConfig/a': outcome, 'Service/a': 'Ready' });
    const ask = async (p: string) => (await fetch(`http://${address}${p}`)).text();
    return {
      host,
      origins: { 'AlloyConfig/a': 'created', 'Service/a': 'created' },
      revisions: [
        { name: 'v1', resources: config(write('')), outcomes: both('Ready') },
        { name: 'v2', resources: config(write('\t\tname = "two"\n')), outcomes: both('Ready') },
        { name: 'refused', resources: config(write('\t\tno_such = 1\n')), outcomes: both('RolledBack') },
        { name: 'removal', resources: [], outcomes: {} },
      ],
      fingerprint: async () => `${treeText(host.root)}\nruns ${host.children().length}`,
      async settledCheck() {
        const running = host.children();
        if (running.length !== 1) throw new Error(`${running.length} Alloys run`);
        const { sha256 } = await import('../../../api/json.ts');
        const metrics = await ask('/metrics');
        if (!metrics.includes(sha256(fs.readFileSync(file, 'utf8'))))
          throw new Error('Alloy runs another config');
        if (!(await ask('/-/healthy')).includes('healthy.')) throw new Error('Alloy is not healthy');
        if (fs.readFileSync(file, 'utf8').includes('no_such'))
          throw new Error('the refused config is in place');
      },
      close: () => host.destroy(),
    };
  },
};

export const scenarios: readonly Scenario[] = [
  ...files,
  alloyApi,
  ...apt,
  check,
  grafana,
  ...prometheus,
  supervised,
  systemd,
  tailnetPolicy,
  tailscale,
  container,
  compose,
  standin,
];
