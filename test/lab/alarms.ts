// The alarms, for their real causes: a real Prometheus pulls the controller, evaluates deploy/prometheus/ with
// minutes made seconds, and sends to a real Alertmanager; each alert is looked for there, and looked for again
// once its cause is gone.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rawPublicKey } from '../../api/bundle.ts';
import { repo } from './binaries.ts';
import { grantDocument } from './grants.ts';
import type { LabHost } from './host.ts';

const AGENT_CONFIG = '/etc/homeostat/agent.json';

/** Puts Prometheus and Alertmanager on the host. @param controller address:port */
export async function installAlarms(host: LabHost, controller: string): Promise<void> {
  const rules = readFileSync(join(repo, 'deploy', 'prometheus', 'homeostat.rules.yml'), 'utf8');
  await host.writeFile('/srv/prometheus/homeostat.rules.yml', rules.replace(/^(\s+for: \d+)m$/gm, '$1s'));
  await host.writeFile(
    '/srv/prometheus/prometheus.yml',
    `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [homeostat.rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]}
scrape_configs:
  - job_name: homeostat-controller
    static_configs: [{targets: ['${controller}']}]
`,
  );
  // An alert that is sent no more counts as resolved after resolve_timeout; Prometheus sends resolved ones itself.
  await host.writeFile(
    '/srv/prometheus/alertmanager.yml',
    'route: {receiver: nobody}\nreceivers: [{name: nobody}]\n',
  );
  await host.start(
    [
      'prometheus-alertmanager',
      '--config.file=/srv/prometheus/alertmanager.yml',
      '--storage.path=/srv/alertmanager',
      '--web.listen-address=127.0.0.1:9093',
      '--cluster.listen-address=',
    ],
    { unit: 'lab-alertmanager' },
  );
  await host.exec(['systemctl', 'stop', 'lab-prometheus'], { check: true });
  await host.start(
    [
      'prometheus',
      '--config.file=/srv/prometheus/prometheus.yml',
      '--storage.tsdb.path=/srv/prometheus/data',
      '--web.listen-address=127.0.0.1:9090',
      '--rules.alert.resend-delay=1s',
    ],
    { unit: 'lab-prometheus' },
  );
}

/** Alerts that Alertmanager holds as active, as `Name` or `Name{host}`. */
export async function activeAlerts(host: LabHost): Promise<Set<string>> {
  const { stdout } = await host.exec(['curl', '-fsS', 'http://127.0.0.1:9093/api/v2/alerts?active=true'], {
    check: true,
  });
  const alerts = JSON.parse(stdout) as { labels: Record<string, string>; endsAt: string }[];
  const now = Date.now();
  return new Set(
    alerts
      .filter((a) => Date.parse(a.endsAt) > now)
      .map(({ labels }) =>
        labels['host'] === undefined ? labels['alertname']! : `${labels['alertname']}{${labels['host']}}`,
      ),
  );
}

export interface Cause {
  readonly alert: string;
  readonly what: string;
  bringAbout(): Promise<void>;
  takeAway(): Promise<void>;
}

function generateKey(): string {
  return rawPublicKey(generateKeyPairSync('ed25519').privateKey);
}

export interface Git {
  edit(file: string, change: (text: string) => string): Promise<void>;
  commit(message: string): Promise<void>;
}

/** One real cause for each alert. The controller and Prometheus are on `mac`; `pi` is what breaks. */
export function causes(mac: LabHost, pi: LabHost, silent: LabHost, git: Git): Cause[] {
  const on = (host: LabHost, ...command: string[]) => host.exec(command, { check: true, timeout: 60_000 });
  /** The agent trusts these keys instead; undefined for those that it was enrolled with. */
  let enrolled: string[] = [];
  const trust = async (keys: string[] | undefined) => {
    const config = JSON.parse(await pi.readFile(AGENT_CONFIG)) as { trustedKeys: string[] };
    if (keys !== undefined) enrolled = config.trustedKeys;
    await pi.writeFile(AGENT_CONFIG, JSON.stringify({ ...config, trustedKeys: keys ?? enrolled }), '600');
    await on(pi, 'systemctl', 'restart', 'homeostat-agent');
  };
  /** @param key of what the host gets, and its owner grants. */
  const addDocument = (name: string, text: string, key?: string) => async () => {
    await mac.writeFile(`/srv/fleet/${name}.yaml`, text);
    await git.commit(`Add ${name}`);
    if (key !== undefined) await grantDocument(pi, key);
  };
  const removeDocument = (name: string) => async () => {
    await on(mac, 'rm', `/srv/fleet/${name}.yaml`);
    await git.commit(`Remove ${name}`);
  };
  const document = (kind: string, name: string, spec: string, more = '') =>
    `apiVersion: homeostat.dev/v1\nkind: ${kind}\nmetadata: {name: ${name}}\nhosts: {names: [raspberry-pi]}\n${more}spec: ${spec}\n`;

  return [
    {
      alert: 'HomeostatHostUnseen{digitalocean}',
      what: 'an agent is stopped',
      bringAbout: () => on(silent, 'systemctl', 'stop', 'homeostat-agent').then(() => {}),
      takeAway: () => on(silent, 'systemctl', 'start', 'homeostat-agent').then(() => {}),
    },
    {
      alert: 'HomeostatReconcileFailing{raspberry-pi}',
      what: 'a directory is read-only, and a file is to be written there',
      async bringAbout() {
        await on(pi, 'mkdir', '-p', '/etc/alloy/ro');
        await on(pi, 'mount', '-t', 'tmpfs', '-o', 'ro', 'tmpfs', '/etc/alloy/ro');
        await addDocument(
          'stuck',
          document('File', 'stuck', '{path: /etc/alloy/ro/file, content: x}'),
          'File/stuck',
        )();
      },
      takeAway: () => on(pi, 'mount', '-o', 'remount,rw', '/etc/alloy/ro').then(() => {}),
    },
    {
      alert: 'HomeostatRevisionStuck{raspberry-pi}',
      what: 'the same again: the revision can’t be reached',
      async bringAbout() {
        await on(pi, 'mount', '-o', 'remount,ro', '/etc/alloy/ro');
        await git.edit('stuck.yaml', (text) => text.replace('content: x', 'content: y'));
        await git.commit('Another content');
      },
      async takeAway() {
        await on(pi, 'mount', '-o', 'remount,rw', '/etc/alloy/ro');
      },
    },
    {
      alert: 'HomeostatChangeRolledBack{raspberry-pi}',
      what: 'a service that ends as soon as it starts',
      bringAbout: addDocument(
        'broken-unit',
        document(
          'Service',
          'broken',
          '{unit: lab-broken.service, unitFile: {content: "[Service]\\nExecStart=/bin/false\\n"}}',
        ),
        'Service/broken',
      ),
      takeAway: removeDocument('broken-unit'),
    },
    {
      alert: 'HomeostatDriftNotHealed{raspberry-pi}',
      what: 'drift of a resource that is drift: warn',
      bringAbout: addDocument(
        'warned',
        document('File', 'warned', '{path: /etc/motd, content: wanted}', 'drift: warn\n'),
        'File/warned',
      ),
      takeAway: removeDocument('warned'),
    },
    {
      alert: 'HomeostatManifestRefused',
      what: 'a commit with a misspelt field',
      bringAbout: addDocument('misspelt', document('File', 'misspelt', '{pth: /etc/motd, content: x}')),
      takeAway: removeDocument('misspelt'),
    },
    {
      alert: 'HomeostatBundleRefused{raspberry-pi}',
      what: 'the agent trusts another key than the controller’s',
      bringAbout: () => trust([generateKey()]),
      takeAway: () => trust(undefined),
    },
    {
      alert: 'HomeostatWatchDown{raspberry-pi}',
      what: 'the system bus is stopped',
      bringAbout: () => on(pi, 'systemctl', 'stop', 'dbus.socket', 'dbus.service').then(() => {}),
      takeAway: () => on(pi, 'systemctl', 'start', 'dbus.socket', 'dbus.service').then(() => {}),
    },
    {
      alert: 'HomeostatSourceDown',
      what: 'the repository is gone',
      bringAbout: () => on(mac, 'mv', '/srv/fleet', '/srv/fleet.away').then(() => {}),
      takeAway: () => on(mac, 'mv', '/srv/fleet.away', '/srv/fleet').then(() => {}),
    },
    {
      alert: 'HomeostatControllerDown',
      what: 'the controller is stopped',
      bringAbout: () => on(mac, 'systemctl', 'stop', 'homeostat-controller').then(() => {}),
      takeAway: () => on(mac, 'systemctl', 'start', 'homeostat-controller').then(() => {}),
    },
  ];
}
