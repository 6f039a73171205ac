// On a real systemd host (test/lab): a unit that stops is started again, and the webclient that is turned off is
// turned on. The agent is the bundle, as a service of that host.
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../agent/providers/clock.ts';
import { connectBus } from '../../agent/providers/dbus.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { createTailscale } from '../../agent/providers/tailscale.ts';
import type { LabHost } from '../lab/host.ts';
import { cleanup } from '../lab/lifetime.ts';
import { bootAgentHost, until } from '../support/agent-host.ts';
import { resource } from '../support/manifest.ts';
import { percentileRows, type Row } from './statistics.ts';

const UNIT = 'bench.service';
/** Under the kinds' patience (kinds/service, kinds/tailscale-client): more in a row would count as a fight. */
const MOST_ROUNDS = 140;
const APART_MS = 100;
const LOST_AFTER_MS = 10_000;
const LOOK_MS = 20;

export async function onHost(bundle: string, rounds: number): Promise<Row[]> {
  try {
    const { host } = await bootAgentHost(
      'bench',
      bundle,
      [
        resource('Service', 'bench', { unit: UNIT, enabled: true }),
        resource('TailscaleClient', 'bench', { webclient: true }),
      ],
      {
        [`/etc/systemd/system/${UNIT}`]:
          '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n',
      },
    );
    const n = Math.min(rounds, MOST_ROUNDS);
    return [...(await unitStops(host, n)), ...(await webclientGoesOff(host, n))];
  } finally {
    await cleanup();
  }
}

/**
 * From the moment in which the unit left `active`, by systemd's own clock, until the job that starts it is told on the
 * bus; and, without a budget, until systemd had forked its process.
 */
async function unitStops(host: LabHost, rounds: number): Promise<Row[]> {
  const bus = await connectBus(`unix:path=${host.rootDir}/run/dbus/system_bus_socket`);
  const manager = { destination: 'org.freedesktop.systemd1', path: '/org/freedesktop/systemd1' };
  const ask = async (member: string, signature: string, body: readonly unknown[]) =>
    bus.call({ ...manager, interface: 'org.freedesktop.systemd1.Manager', member, signature, body }, 5000);
  // Both clocks are CLOCK_MONOTONIC: systemd's timestamps, and hrtime.
  let jobAtUs = 0;
  bus.onSignal(({ member, body }) => {
    if (member === 'JobNew' && (body as [number, string, string])[2] === UNIT)
      jobAtUs = Number(process.hrtime.bigint() / 1000n);
  });
  try {
    await bus.call(
      {
        destination: 'org.freedesktop.DBus',
        path: '/org/freedesktop/DBus',
        interface: 'org.freedesktop.DBus',
        member: 'AddMatch',
        signature: 's',
        body: ["type='signal',interface='org.freedesktop.systemd1.Manager',member='JobNew'"],
      },
      5000,
    );
    await ask('Subscribe', '', []);
    const [unit] = (await ask('LoadUnit', 's', [UNIT])) as [string];
    const get = async (name: string): Promise<unknown> => {
      const [variant] = await bus.call(
        {
          destination: manager.destination,
          path: unit,
          interface: 'org.freedesktop.DBus.Properties',
          member: 'Get',
          signature: 'ss',
          body: ['org.freedesktop.systemd1.Unit', name],
        },
        5000,
      );
      return (variant as { value: unknown }).value;
    };
    const number = async (name: string): Promise<number> => Number(await get(name));
    const runs = async () => (await get('ActiveState')) === 'active';
    const rows: Row[] = [];
    const breakings: Record<string, () => Promise<unknown>> = {
      stopped: () => ask('StopUnit', 'ss', [UNIT, 'replace']),
      killed: () => ask('KillUnit', 'ssi', [UNIT, 'all', 9]),
    };
    for (const [name, breakIt] of Object.entries(breakings)) {
      const requested: number[] = [];
      const forked: number[] = [];
      let lost = 0;
      for (let i = 0; i < rounds; i++) {
        await delay(APART_MS);
        const before = await number('ActiveExitTimestampMonotonic');
        await breakIt();
        const isBack = async () => {
          await delay(LOOK_MS); // systemd, which is asked, has the start to do
          return (await number('ActiveExitTimestampMonotonic')) !== before && (await runs());
        };
        if (!(await until(isBack, LOST_AFTER_MS))) {
          lost += 1;
          continue;
        }
        const left = await number('ActiveExitTimestampMonotonic');
        requested.push((jobAtUs - left) / 1000);
        forked.push(((await number('InactiveExitTimestampMonotonic')) - left) / 1000);
      }
      rows.push(
        ...percentileRows(`unit_${name}_start_requested`, '', requested, 'ms', { p50: 5, p99: 15 }),
        ...percentileRows(`unit_${name}_start_forked`, '', forked, 'ms', { p50: undefined, p99: undefined }),
        { name: `unit_${name}_lost`, value: lost, unit: `of ${rounds}`, budget: 0 },
      );
    }
    return rows;
  } finally {
    bus.close();
  }
}

/** From just before the request that turns it off until tailscaled says that it is on. */
async function webclientGoesOff(host: LabHost, rounds: number): Promise<Row[]> {
  const tailscale = createTailscale({
    socketPaths: [`${host.rootDir}/run/tailscale/tailscaled.sock`],
    processes: createProcesses(),
    clock: systemClock,
  });
  const isOn = async () => (await tailscale.prefs())['RunWebClient'] === true;
  try {
    const times: number[] = [];
    let lost = 0;
    for (let i = 0; i < rounds; i++) {
      await delay(APART_MS);
      const began = performance.now();
      await tailscale.setPrefs({ RunWebClient: false });
      if (await until(isOn, LOST_AFTER_MS)) times.push(performance.now() - began);
      else lost += 1;
    }
    return [
      ...percentileRows('webclient_off_to_on', '', times, 'ms', { p50: undefined, p99: 50 }),
      { name: 'webclient_lost', value: lost, unit: `of ${rounds}`, budget: 0 },
    ];
  } finally {
    await tailscale.close();
  }
}
