// The one connection to systemd and what comes in on it: who waits for a job, and whom a unit's signal wakes.
import { errnoOf, Waiting } from '../../api/errors.ts';
import type { Bus, BusSignal, connectBus } from './dbus.ts';

export const SYSTEMD = 'org.freedesktop.systemd1';
const MANAGER = 'org.freedesktop.systemd1.Manager';
const MANAGER_PATH = '/org/freedesktop/systemd1';
const BUS = 'org.freedesktop.DBus';

export interface Connection {
  readonly bus: Bus;
  /** What each finished job said, and who waits for it; results nobody has asked for yet are kept briefly. */
  readonly jobs: Map<string, (result: string) => void>;
  readonly finished: Map<string, string>;
  readonly wakes: Map<string, Set<() => void>>;
}

export async function connect(
  open: typeof connectBus,
  address: string,
  timeoutMs: number,
): Promise<Connection> {
  let bus: Bus;
  try {
    bus = await open(address);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ECONNREFUSED') throw error;
    throw new Waiting(
      'NoSystemBus',
      `there is no system bus at ${address}; systemd and dbus must run`,
      60_000,
    );
  }
  const connection: Connection = { bus, jobs: new Map(), finished: new Map(), wakes: new Map() };
  bus.onSignal((signal) => dispatch(connection, signal));
  try {
    const manager = `type='signal',sender='${SYSTEMD}',path='${MANAGER_PATH}',interface='${MANAGER}'`;
    for (const member of ['JobRemoved', 'Reloading', 'UnitFilesChanged']) {
      await addMatch(bus, `${manager},member='${member}'`, timeoutMs);
    }
    await addMatch(
      bus,
      `type='signal',sender='${BUS}',interface='${BUS}',member='NameOwnerChanged',arg0='${SYSTEMD}'`,
      timeoutMs,
    );
    await callManager(bus, 'Subscribe', '', [], timeoutMs);
  } catch (error) {
    bus.close();
    throw error;
  }
  return connection;
}

function dispatch(connection: Connection, signal: BusSignal): void {
  const { bus, jobs, finished, wakes } = connection;
  switch (signal.member) {
    case 'PropertiesChanged':
      for (const wake of wakes.get(signal.path) ?? []) wake();
      break;
    case 'JobRemoved': {
      const [, path, , result] = signal.body as [number, string, string, string];
      const waiting = jobs.get(path);
      if (waiting !== undefined) {
        waiting(result);
        break;
      }
      // Most are other people's; the few of ours whose return value is still on its way are among the last.
      finished.set(path, result);
      if (finished.size > 256) finished.delete(finished.keys().next().value!);
      break;
    }
    case 'UnitFilesChanged':
      wakeAll(wakes);
      break;
    case 'Reloading':
      // true when it begins, false when it is done.
      if (signal.body[0] === false) wakeAll(wakes);
      break;
    case 'NameOwnerChanged':
      // Who had the name: '' when systemd only now joins a bus that was started anew.
      if (signal.sender === BUS && signal.body[1] !== '') bus.close(new Error('systemd was started anew'));
      break;
  }
}

function wakeAll(wakes: Connection['wakes']): void {
  for (const set of wakes.values()) for (const wake of set) wake();
}

export function callManager(
  bus: Bus,
  member: string,
  signature: string,
  body: readonly unknown[],
  timeoutMs: number,
) {
  return bus.call(
    { destination: SYSTEMD, path: MANAGER_PATH, interface: MANAGER, member, signature, body },
    timeoutMs,
  );
}

export function addMatch(bus: Bus, rule: string, timeoutMs: number) {
  return matchCall(bus, 'AddMatch', rule, timeoutMs);
}

export function removeMatch(bus: Bus, rule: string, timeoutMs: number) {
  return matchCall(bus, 'RemoveMatch', rule, timeoutMs);
}

function matchCall(bus: Bus, member: string, rule: string, timeoutMs: number) {
  return bus.call(
    { destination: BUS, path: '/org/freedesktop/DBus', interface: BUS, member, signature: 's', body: [rule] },
    timeoutMs,
  );
}
