// What a real host does to an agent: systemd executed anew, the system bus restarted and killed, journald and
// tailscaled restarted, tailscaled gone. On a booted host with real systemd and a real tailnet; drift of each kind is
// then healed as before, and what is gone is told for as long as it is.
import { type AgentStatus, findCondition } from '../../../api/status.ts';
import type { LabHost } from '../../lab/host.ts';
import { cleanup } from '../../lab/lifetime.ts';
import { type AgentHost, bootAgentHost, until } from '../../support/agent-host.ts';
import { resource } from '../../support/manifest.ts';
import { Tally } from '../support/tally.ts';

const UNIT = 'fault.service';
const FILE = '/etc/fault/f';
const CONTENT = 'kept\n';
const HEALED_WITHIN_MS = 20_000;

interface Case {
  readonly name: string;
  happen(on: AgentHost): Promise<void>;
}

async function run(host: LabHost, ...command: string[]): Promise<string> {
  return (await host.exec(command, { check: true })).stdout.trim();
}

function ready(status: AgentStatus | undefined, key: string) {
  const resource = status?.resources.find((r) => r.key === key);
  return resource && findCondition(resource.conditions, 'Ready');
}

async function comes(what: string, holds: () => Promise<boolean>): Promise<void> {
  if (!(await until(holds, HEALED_WITHIN_MS))) throw new Error(`not within ${HEALED_WITHIN_MS} ms: ${what}`);
}

const systemctl = (name: string, ...args: string[]): Case => ({
  name,
  happen: async ({ host }) => void (await run(host, 'systemctl', ...args)),
});

const cases: readonly Case[] = [
  systemctl('systemd executed anew', 'daemon-reexec'),
  systemctl('systemd’s units read anew', 'daemon-reload'),
  systemctl('the system bus restarted', 'restart', 'dbus.service'),
  systemctl('the system bus killed', 'kill', '--signal=KILL', 'dbus.service'),
  systemctl('journald restarted', 'restart', 'systemd-journald.service'),
  systemctl('tailscaled restarted', 'restart', 'tailscaled.service'),
  systemctl('tailscaled killed', 'kill', '--signal=KILL', 'tailscaled.service'),
  {
    name: 'tailscaled gone, and back',
    async happen({ host, status }) {
      await run(host, 'systemctl', 'stop', 'tailscaled.service');
      await comes('it is told', async () => ready(await status(), 'TailscaleClient/t')?.status !== 'True');
      await run(host, 'systemctl', 'start', 'tailscaled.service');
    },
  },
  {
    name: 'the agent killed',
    happen: async ({ host }) =>
      void (await run(host, 'systemctl', 'kill', '--signal=KILL', 'homeostat-agent.service')),
  },
];

/** Each kind of drift, told by the host itself to be gone again. */
async function healsEverything({ host, allReady }: AgentHost): Promise<void> {
  await allReady();
  await host.writeFile(FILE, 'tampered');
  await comes('the file is healed', async () => (await host.readFile(FILE)) === CONTENT);
  await host.exec(['systemctl', 'stop', UNIT]); // the start that heals may cancel it
  await comes('the unit runs again', async () => {
    const { stdout } = await host.exec(['systemctl', 'is-active', UNIT]);
    return stdout.trim() === 'active';
  });
  await run(host, 'tailscale', 'set', '--webclient=false');
  await comes('the webclient is on again', async () =>
    (await run(host, 'tailscale', 'debug', 'prefs')).includes('"RunWebClient": true'),
  );
  await allReady();
}

/** @param bundle the directory that scripts/bundle.ts made. */
export async function hostSuite(bundle: string): Promise<Tally> {
  const tally = new Tally('host');
  try {
    const on = await bootAgentHost(
      'fault',
      bundle,
      [
        resource('File', 'f', { path: FILE, content: CONTENT }),
        resource('Service', 's', { unit: UNIT, enabled: true }),
        resource('TailscaleClient', 't', { webclient: true }),
      ],
      {
        [`/etc/systemd/system/${UNIT}`]:
          '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n',
      },
      ['Restart=always', 'RestartSec=100ms'],
    );
    for (const { name, happen } of cases) {
      const began = performance.now();
      await tally.check(name, async () => {
        await happen(on);
        await healsEverything(on);
      });
      console.log(`  ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    }
    return tally;
  } finally {
    await cleanup();
  }
}
