// systemd, over D-Bus (org.freedesktop.systemd1(5)). One connection for everything, made by the first call and
// again by the first call after it ended; a watch does not wait for that, it rejects, and whoever supervises it
// arms it again.
//
// - Without Manager.Subscribe() no signal comes. It is undone when systemd re-executes or restarts, which ends in
//   a new owner of the bus name; the connection is then closed, so that everybody begins anew.
// - A unit must be loaded for its signals. One that nothing refers to is unloaded as soon as it is inactive, and what
//   systemd knew of its last run is gone: a watch refers to its unit (RefUnit), which ends with the connection.
// - One transition sends many PropertiesChanged: wakes are told once a turn of the event loop.
// - A job's return value is its path; how it ended is told by JobRemoved, which may come before the return value.

import { execFile } from 'node:child_process';
import { Stalled } from '../../api/errors.ts';
import { JobFailed, type UnitJob, type Units } from '../../kinds/ports.ts';
import { type Bus, BusError, connectBus } from './dbus.ts';
import { isStoppedBySignal, replacedProgram } from './process-identity.ts';
import {
  addMatch,
  type Connection,
  callManager,
  connect,
  removeMatch,
  SYSTEMD,
} from './systemd-connection.ts';
import {
  fromProperties,
  jobFailed,
  type Properties,
  pathOfUnit,
  type Variants,
  valuesOf,
} from './systemd-unit.ts';
import { after, firstOf, onAbort } from './waits.ts';

const SYSTEM_BUS = 'unix:path=/run/dbus/system_bus_socket';

const JOURNAL_TIMEOUT_MS = 10_000;
const MAX_JOURNAL = 4 * 1024 * 1024;
const PROPERTIES = 'org.freedesktop.DBus.Properties';

export interface SystemdOptions {
  readonly busAddress?: string;
  /** For calls that answer at once. A reload of all units on a small host takes seconds. */
  readonly callTimeoutMs?: number;
  /** For a job's end; above systemd's own DefaultTimeoutStartSec of 90 s, so that its word comes first. */
  readonly jobTimeoutMs?: number;
  /** For tests. */
  readonly open?: typeof connectBus;
}

export function createSystemd(options: SystemdOptions = {}): Units & { close(): Promise<void> } {
  const address = options.busAddress ?? SYSTEM_BUS;
  const open = options.open ?? connectBus;
  const callTimeoutMs = options.callTimeoutMs ?? 30_000;
  const jobTimeoutMs = options.jobTimeoutMs ?? 150_000;
  let connecting: Promise<Connection> | undefined;
  let closed = false;

  function connection(): Promise<Connection> {
    if (closed) return Promise.reject(new Error('the agent stops, and makes no more calls to systemd'));
    if (connecting === undefined) {
      const attempt = connect(open, address, callTimeoutMs);
      connecting = attempt;
      const forget = (): void => {
        if (connecting === attempt) connecting = undefined;
      };
      attempt.then(({ bus }) => void bus.ended.on(forget), forget);
    }
    return connecting;
  }

  async function manager(member: string, signature = '', body: readonly unknown[] = []) {
    const { bus } = await connection();
    return callManager(bus, member, signature, body, callTimeoutMs);
  }

  async function show(unit: string) {
    const { bus } = await connection();
    // Asking an object loads its unit. Every interface in one answer, as systemctl(1) asks, so that what is said of the
    // unit and of its process is of one moment; property by property it took as long.
    const all = {
      path: pathOfUnit(unit),
      interface: PROPERTIES,
      member: 'GetAll',
      signature: 's',
      body: [''],
    };
    const [properties] = (await bus.call({ destination: SYSTEMD, ...all }, callTimeoutMs)) as [Variants];
    const facts = valuesOf(properties);
    const state = fromProperties(facts, await unitFileState(unit, facts));
    return {
      ...state,
      ...(isStoppedBySignal(state.mainPID) ? { freezer: 'stopped' } : {}),
      replacedProgram: replacedProgram(state.mainPID),
    };
  }

  /**
   * The unit's own property is a copy from when it was loaded; the manager looks at the disk, and takes longer
   * (3.5 ms) than all the rest. systemctl always reloads, so only a link that was made or removed by hand makes a
   * difference. That can wait for the pass that finds the unit running; starting a stopped one can't.
   */
  async function unitFileState(unit: string, properties: Properties): Promise<string> {
    if (properties['ActiveState'] !== 'active') return String(properties['UnitFileState'] ?? '');
    try {
      return String((await manager('GetUnitFileState', 's', [unit]))[0]);
    } catch (error) {
      if (error instanceof BusError) return ''; // no unit file
      throw error;
    }
  }

  /** Queues a job and waits for its end. */
  async function run(job: UnitJob, unit: string, signal?: AbortSignal): Promise<void> {
    const { bus, jobs, finished } = await connection();
    signal?.throwIfAborted();
    const members = { start: 'StartUnit', stop: 'StopUnit', restart: 'RestartUnit', reload: 'ReloadUnit' };
    const [path] = (await callManager(bus, members[job], 'ss', [unit, 'replace'], callTimeoutMs)) as [string];
    const result = await firstOf<string>(
      (resolve) => {
        const early = finished.get(path);
        if (early !== undefined) resolve(early);
        jobs.set(path, resolve);
        return () => jobs.delete(path);
      },
      (_, reject) => onAbort(signal, reject),
      (_, reject) => bus.ended.on(reject),
      (_, reject) =>
        after(jobTimeoutMs, () =>
          reject(new Error(`${job} of ${unit} did not end within ${jobTimeoutMs} ms`)),
        ),
    );
    if (result !== 'done') throw new JobFailed(result, jobFailed(job, unit, result));
  }

  async function watch(unit: string, wake: () => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { bus, wakes } = await connection();
    const path = pathOfUnit(unit);
    let isArmed = false;
    const wakeSoon = oncePerTurn(() => {
      if (isArmed) wake();
    });
    const rule = `type='signal',sender='${SYSTEMD}',path='${path}',interface='${PROPERTIES}',member='PropertiesChanged'`;
    const existing = wakes.get(path);
    const set = existing ?? new Set();
    wakes.set(path, set);
    set.add(wakeSoon);
    let isReferred = false;
    try {
      if (existing === undefined) await addMatch(bus, rule, callTimeoutMs);
      await manager('LoadUnit', 's', [unit]);
      isReferred = await referTo(bus, 'RefUnit', unit, callTimeoutMs);
      isArmed = true;
      wakeSoon();
      await firstOf<void>(
        (resolve) => onAbort(signal, () => resolve()),
        (_, reject) => bus.ended.on(reject),
      );
    } finally {
      if (isReferred && bus.isOpen)
        await referTo(bus, 'UnrefUnit', unit, callTimeoutMs).catch(() => undefined);
      set.delete(wakeSoon);
      if (set.size === 0) {
        wakes.delete(path);
        if (bus.isOpen) await removeMatch(bus, rule, callTimeoutMs).catch(() => undefined);
      }
    }
  }

  return {
    manager: 'systemd',
    show,
    run,
    watch,
    output: journalOf,
    daemonReload: async () => void (await manager('Reload')),
    async enable(unit) {
      const [hasInstall] = await manager('EnableUnitFiles', 'asbb', [[unit], false, true]);
      if (hasInstall === true) return;
      throw new Stalled(
        'CannotBeEnabled',
        `${unit} has no [Install] section; give it one, or leave enabled out`,
      );
    },
    disable: async (unit) => {
      await manager('DisableUnitFiles', 'asb', [[unit], false]);
      await manager('DisableUnitFiles', 'asb', [[unit], true]);
    },
    mask: async (unit) => void (await manager('MaskUnitFiles', 'asbb', [[unit], false, false])),
    unmask: async (unit) => {
      await manager('UnmaskUnitFiles', 'asb', [[unit], false]);
      await manager('UnmaskUnitFiles', 'asb', [[unit], true]);
    },
    resetFailed: async (unit) => void (await manager('ResetFailedUnit', 's', [unit])),
    async close() {
      closed = true;
      const connected = await connecting?.catch(() => undefined);
      connected?.bus.close();
    },
  };
}

function oncePerTurn(wake: () => void): () => void {
  let told = false;
  return () => {
    if (told) return;
    told = true;
    setImmediate(() => {
      told = false;
      wake();
    });
  };
}

/** @returns false where systemd refuses: an agent that may not manage units, or a unit that can't be loaded. */
async function referTo(bus: Bus, member: 'RefUnit' | 'UnrefUnit', unit: string, timeoutMs: number) {
  try {
    await callManager(bus, member, 's', [unit], timeoutMs);
    return true;
  } catch (error) {
    if (error instanceof BusError) return false;
    throw error;
  }
}

/** journalctl(1); of a unit that writes elsewhere there is nothing. */
async function journalOf(unit: string, sinceMs: number, signal: AbortSignal): Promise<string> {
  const since = `--since=@${(sinceMs / 1000).toFixed(3)}`;
  const args = ['--unit', unit, since, '--lines=100', '--output=cat', '--no-pager', '--quiet'];
  const options = { timeout: JOURNAL_TIMEOUT_MS, maxBuffer: MAX_JOURNAL, signal };
  return await new Promise((resolve) => {
    execFile('journalctl', args, options, (_, stdout) => resolve(stdout));
  });
}
