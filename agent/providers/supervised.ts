// Units without systemd: children of the agent, for the demo and for containers. They are told by the same
// UnitState, are restarted when they end, and outlive an agent that was killed: the next one finds them by what
// is in its state directory and takes them over, instead of starting a second of each.
import fs from 'node:fs';
import path from 'node:path';
import type { SupervisedUnits, Units } from '../../kinds/ports.ts';
import { removeUnfinished } from '../journal/durable.ts';
import { createSeal } from '../secrets/seal.ts';
import type { Definition, UnitEnvironment } from './supervised-state.ts';
import { SupervisedUnit } from './supervised-unit.ts';

export interface SupervisedOptions extends Omit<UnitEnvironment, 'stateDir' | 'seal'> {
  /** The agent's state directory; what belongs here is kept in its folder `supervised`. */
  readonly stateDir: string;
  /** What becomes of the children when the agent is told to stop. Default: they stop with it. */
  readonly onClose?: 'stop' | 'leave';
}

export function createSupervised(
  options: SupervisedOptions,
): Units & SupervisedUnits & { close(): Promise<void> } {
  const { stateDir } = options;
  const environment = {
    ...options,
    stateDir: path.join(stateDir, 'supervised'),
    seal: createSeal(stateDir),
  };
  let units: Map<string, SupervisedUnit> | undefined;

  /** All that are on disk, read with the first call. */
  function all(): Map<string, SupervisedUnit> {
    if (units !== undefined) return units;
    fs.mkdirSync(environment.stateDir, { recursive: true, mode: 0o700 });
    removeUnfinished(environment.stateDir);
    units = new Map();
    for (const file of fs.readdirSync(environment.stateDir)) {
      if (!file.endsWith('.unit.json')) continue;
      const name = file.slice(0, -'.unit.json'.length);
      units.set(name, new SupervisedUnit(name, environment));
    }
    for (const unit of units.values()) unit.load();
    return units;
  }

  function unit(name: string): SupervisedUnit {
    if (!/^[A-Za-z0-9:_.@-]+$/.test(name)) throw new Error(`${name} can't name a unit`);
    let found = all().get(name);
    if (found === undefined) {
      found = new SupervisedUnit(name, environment);
      all().set(name, found);
    }
    return found;
  }

  function change(name: string, change: Partial<Definition>): void {
    const definition = unit(name).definition;
    if (definition === undefined) throw new Error(`there is no unit ${name}`);
    unit(name).define({ ...definition, ...change });
  }

  return {
    manager: 'supervised',
    show: async (name) => unit(name).show(),
    run: (job, name, signal) => unit(name).run(job, signal),
    daemonReload: async () => undefined,
    enable: async (name) => change(name, { enabled: true }),
    disable: async (name) => change(name, { enabled: false }),
    mask: async (name) => change(name, { masked: true }),
    unmask: async (name) => change(name, { masked: false }),
    resetFailed: async (name) => unit(name).resetFailed(),
    watch: (name, wake, signal) => unit(name).watch(wake, signal),

    define(name, definition) {
      unit(name).define({ ...definition, masked: unit(name).definition?.masked ?? false });
    },

    definition(name) {
      const definition = unit(name).definition;
      if (definition === undefined) return undefined;
      const { command, env, enabled } = definition;
      return JSON.stringify({ command, env, enabled });
    },

    async undefine(name) {
      await unit(name).undefine();
      all().delete(name);
    },

    async close() {
      if (units === undefined) return;
      await Promise.all([...units.values()].map((u) => u.close(options.onClose ?? 'stop')));
    },
  };
}
