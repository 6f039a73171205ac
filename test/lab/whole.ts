/**
 * The whole monitoring stack by manifests alone, row by row of the system's table: it comes about, somebody breaks it
 * with the thing's own tool, and it is put back.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { repo } from './binaries.ts';
import { PROMETHEUS, STACK, serviceContainer, userBringsUp } from './central.ts';
import { docker, processOf } from './docker.ts';
import { pennies } from './droplet.ts';
import { grantsAreExact, readyAsGranted } from './grants.ts';
import { bootHost, type LabHost } from './host.ts';
import { assemble, NAMES, SECRETS, type Whole } from './owners.ts';
import type { RowState } from './rows.ts';
import { realAlloy } from './stack.ts';
import { allReady, isReady, step, tell, until } from './steps.ts';

/** Packages and Docker take their time on two shared cores, and checks are asked once a minute. */
const READY_MS = 180_000;
const HEALED_MS = 150_000;

/** @param shows is told of each row that has been shown. @throws Error at what does not hold */
export async function wholeStack(
  booted: LabHost[],
  shows: (row: number, state: RowState) => void,
): Promise<void> {
  const whole = await assemble(booted);
  const before = await pennies(whole.droplet);
  const enforcing = performance.now();
  for (const name of NAMES)
    await whole.fleet.edit(`hosts/${name}.yaml`, (text) => text.replace('# mode: enforce', 'mode: enforce'));
  await whole.fleet.commit('Enforce');
  await Promise.all(whole.hosts.map((host) => readyAsGranted(host, READY_MS)));
  tell('git says enforce: the whole stack is as it says, on all three', performance.now() - enforcing);
  await step('each host grants what `homeostat allow --from-plan` printed there, and no more', () =>
    Promise.all(whole.hosts.map(grantsAreExact)),
  );

  const alloy = realAlloy === undefined ? ['Alloy'] : [];
  await prometheusKept(whole);
  shows(1, { state: 'ok' });
  await telemetryArrives(whole);
  shows(4, { state: 'ok', standIns: [...alloy, 'Loki'] });
  await containerKept(whole);
  assert.deepEqual(await pennies(whole.droplet), before, 'penny-backtest and penny-web were touched');
  shows(5, { state: 'ok', standIns: alloy });
  await exporterKept(whole);
  shows(6, { state: 'ok', standIns: ['tailscale-exporter'] });
  await Promise.all(whole.hosts.map((host) => allReady(host, READY_MS)));
  await convertsPromtail(whole);
  await step('one label away: Fluent Bit and node-exporter instead of Alloy, and back, twice', () =>
    leanAndBack(whole),
  );
  shows(9, {
    state: 'ok',
    standIns: [...alloy, ...(process.env['FLUENT_BIT_BIN'] === undefined ? ['Fluent Bit'] : [])],
  });
}

/** Breaks it, and waits until it is right again. */
async function heals(
  what: string,
  breakIt: () => Promise<unknown>,
  isRight: () => Promise<boolean>,
): Promise<void> {
  const began = performance.now();
  await breakIt();
  tell(`${what}, healed`, await until(what, isRight, HEALED_MS, began));
}

const shell = (host: LabHost, command: string) =>
  host.exec(['sh', '-c', command], { check: true, timeout: 120_000 });

/** Row 1, by what Prometheus itself says. */
async function prometheusKept({ mac }: Whole): Promise<void> {
  const config = `${STACK}/prometheus.yml`;
  const prometheus = async (path: string): Promise<string> =>
    (await mac.exec(['curl', '-s', `http://127.0.0.1:9090${path}`])).stdout;
  const jobs = async (): Promise<boolean> => {
    const text = await prometheus('/api/v1/status/config');
    return ['prometheus', 'ollama', 'tailscale-clients', 'tailscale-fleet'].every((job) =>
      text.includes(`job_name: ${job}`),
    );
  };
  const takesWrites = async (): Promise<boolean> => {
    const ask = [
      'curl',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      '-X',
      'POST',
      'http://127.0.0.1:9090/api/v1/write',
    ];
    return (await mac.exec(ask)).stdout === '400'; // and not 404: it is there, and this is no write
  };
  const isRight = async (): Promise<boolean> => (await jobs()) && (await takesWrites());
  await until('Prometheus has the jobs and takes remote writes', isRight, HEALED_MS);
  const theirs = (text: string): string =>
    text.replace(/^ *# BEGIN homeostat[\s\S]*?# END homeostat.*\n/gm, '');
  const untouched = async () => assert.equal(theirs(await mac.readFile(config)), PROMETHEUS);
  await untouched();

  await heals(
    'mac-mini: our jobs cut out of prometheus.yml, and reloaded',
    async () => {
      // In place: it is mounted as a single file.
      await mac.writeFile(config, PROMETHEUS);
      await mac.exec(['curl', '-s', '-X', 'POST', 'http://127.0.0.1:9090/-/reload']); // homeostat may be at it already
    },
    isRight,
  );
  await untouched();
  const others = await serviceContainer(mac, 'ollama-exporter');
  await userBringsUp(mac);
  assert.ok(await isRight(), 'a plain `docker compose up -d` of the owner lost our part');
  await heals(
    'mac-mini: our compose file deleted, and brought up',
    async () => {
      await shell(
        mac,
        `rm ${STACK}/compose.override.yaml ${STACK}/docker-compose.override.yml 2>/dev/null || true`,
      );
      await userBringsUp(mac).catch(() => undefined); // homeostat may be at it already
    },
    isRight,
  );
  assert.equal(
    await serviceContainer(mac, 'ollama-exporter'),
    others,
    'a service of the owner’s was recreated',
  );
}

/** Row 4, by what Prometheus and Loki say, and by the hosts' own checks. */
async function telemetryArrives({ mac, droplet, pi }: Whole): Promise<void> {
  const began = performance.now();
  for (const { name } of [droplet, pi]) {
    const query = encodeURIComponent(`node_uname_info{host="${name}"}`);
    await until(
      `metrics of ${name}`,
      async () => {
        const { stdout } = await mac.exec([
          'curl',
          '-s',
          `http://127.0.0.1:9090/api/v1/query?query=${query}`,
        ]);
        return stdout.includes(`"host":"${name}"`);
      },
      HEALED_MS,
    );
    const count = encodeURIComponent(`sum(count_over_time({job="journal", host="${name}"}[1h]))`);
    await until(
      `journal of ${name}`,
      async () => {
        const { stdout } = await mac.exec([
          'curl',
          '-s',
          `http://127.0.0.1:3100/loki/api/v1/query?query=${count}`,
        ]);
        return /"value":\[[^,]+,"[1-9]/.test(stdout);
      },
      HEALED_MS,
    );
  }
  for (const host of [droplet, pi])
    for (const check of ['Check/metrics-arrive', 'Check/journal-arrives'])
      await until(`${host.name}: ${check}`, () => isReady(host, check), HEALED_MS);
  tell('metrics and journals of droplet and Pi arrive, and their checks say so', performance.now() - began);
}

/** Row 5. */
async function containerKept({ droplet }: Whole): Promise<void> {
  const runs = async (): Promise<boolean> => {
    const { stdout } = await droplet.exec(['curl', '-s', 'http://127.0.0.1:12345/-/ready']);
    const { stdout: mounts } = await droplet.exec([
      'docker',
      'inspect',
      '--format',
      '{{json .Mounts}} {{.HostConfig.NetworkMode}}',
      'alloy',
    ]);
    return (
      stdout.includes('ready') &&
      mounts.includes('/host/root') &&
      mounts.includes('alloy-data') &&
      mounts.trim().endsWith(' host')
    );
  };
  await until('Alloy runs in its container', runs, HEALED_MS);
  const policy = async () =>
    docker(droplet, 'inspect', '--format', '{{.HostConfig.RestartPolicy.Name}}', 'alloy');
  await heals(
    'droplet: alloy: docker update --restart=no',
    () => docker(droplet, 'update', '--restart=no', 'alloy'),
    async () => (await policy()) === 'always' && (await runs()),
  );
  for (const command of ['stop alloy', 'rename alloy mine', 'rm --force alloy']) {
    const was = await processOf(droplet, 'alloy');
    await heals(
      `droplet: alloy: docker ${command}`,
      () => docker(droplet, ...command.split(' ')),
      async () =>
        (await runs()) && (command.startsWith('rename') || (await processOf(droplet, 'alloy')) !== was),
    );
  }
}

/** Row 6. */
async function exporterKept({ mac }: Whole): Promise<void> {
  const answers = async (): Promise<boolean> =>
    (await mac.exec(['curl', '-s', 'http://127.0.0.1:9250/metrics'])).stdout.includes('tailscale_up');
  await until('tailscale-exporter answers', answers, HEALED_MS);
  await heals(
    'mac-mini: tailscale-exporter removed',
    async () => {
      await docker(mac, 'rm', '--force', await serviceContainer(mac, 'tailscale-exporter'));
      assert.ok(!(await answers()));
    },
    answers,
  );
  const secret = (await mac.readFile(`${SECRETS}/tailscale-oauth-client-secret`)).trim();
  const { stdout } = await mac.exec([
    'grep',
    '-rl',
    secret,
    '/srv/fleet',
    '/var/lib/homeostat-controller',
    '/var/log/journal',
  ]);
  assert.equal(stdout, '', 'the secret stands in git, with the controller or in the journal');
}

const PROMTAIL = `server: { http_listen_port: 9080 }
positions: { filename: /var/lib/promtail/positions.yaml }
clients:
  - url: http://127.0.0.1:3100/loki/api/v1/push
scrape_configs:
  - job_name: system
    static_configs:
      - targets: [localhost]
        labels: { job: varlogs, __path__: /var/log/*.log }
`;

/** Row 9: a promtail config, by the host's own alloy. */
async function convertsPromtail({ pi }: Whole): Promise<void> {
  await pi.writeFile('/root/promtail.yaml', PROMTAIL);
  await shell(pi, 'homeostat convert promtail /root/promtail.yaml --out /root/converted');
  await shell(pi, 'alloy validate /root/converted/config.alloy');
  assert.match(await pi.readFile('/root/converted/config.alloy'), /loki\.source\.file/);
}

/** Row 9: a host of its own, and the test of the lean profile in it. */
async function leanAndBack({ network, workDir }: Whole): Promise<void> {
  const address = network.address(9);
  const host = await bootHost({ name: 'lean', address, bridge: network, workDir });
  const test = join(repo, 'test', 'integration', 'inside', 'lean.ts');
  const command = [process.execPath, '--test', '--test-reporter=spec', '--test-isolation=none', test];
  const { exitCode, stdout, stderr } = await host.exec(command, {
    timeout: 590_000,
    env: { NODE_TEST_CONTEXT: '', HOST_ADDRESS: address },
  });
  assert.equal(exitCode, 0, `${stdout}\n${stderr}`);
}
