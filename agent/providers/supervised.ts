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
  /** To look only, maybe beside an agent that runs: nothing is taken over, ended, removed or made. */
  readonly readOnly?: boolean;
}

export function createSupervised(
  options: SupervisedOptions,
): Units & SupervisedUnits & { close(what?: 'stop' | 'leave'): Promise<void> } {
  const { stateDir, readOnly = false } = options;
  const environment = {
    ...options,
    stateDir: path.join(stateDir, 'supervised'),
    seal: createSeal(stateDir),
  };
  let units: Map<string, SupervisedUnit> | undefined;
  /** Last runs of units that are gone. */
  const gone = new Map<string, NonNullable<SupervisedUnit['lastRun']>>();

  /** All that are on disk, read with the first call. */
  function all(): Map<string, SupervisedUnit> {
    if (units !== undefined) return units;
    units = new Map();
    if (readOnly && !fs.existsSync(environment.stateDir)) return units;
    if (!readOnly) {
      fs.mkdirSync(environment.stateDir, { recursive: true, mode: 0o700 });
      removeUnfinished(environment.stateDir);
    }
    for (const file of fs.readdirSync(environment.stateDir)) {
      if (!file.endsWith('.unit.json')) continue;
      const name = file.slice(0, -'.unit.json'.length);
      units.set(name, new SupervisedUnit(name, environment));
    }
    for (const unit of units.values()) {
      if (readOnly) unit.read();
      else unit.load();
    }
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

  /** @throws Error when this is only to look. */
  function writable(name: string): SupervisedUnit {
    if (readOnly) throw new Error(`${name} is not changed: this only looks`);
    return unit(name);
  }

  function change(name: string, change: Partial<Definition>): void {
    const changed = writable(name);
    if (changed.definition === undefined) throw new Error(`there is no unit ${name}`);
    changed.define({ ...changed.definition, ...change });
  }

  return {
    manager: 'supervised',
    show: async (name) => unit(name).show(),
    run: async (job, name, signal) => writable(name).run(job, signal),
    daemonReload: async () => undefined,
    enable: async (name) => change(name, { enabled: true }),
    disable: async (name) => change(name, { enabled: false }),
    mask: async (name) => change(name, { masked: true }),
    unmask: async (name) => change(name, { masked: false }),
    resetFailed: async (name) => writable(name).resetFailed(),
    async output(name, sinceMs) {
      const { beganAtMs, text } = unit(name).lastRun ?? gone.get(name) ?? { beganAtMs: 0, text: '' };
      return beganAtMs < sinceMs ? '' : text;
    },
    watch: (name, wake, signal) => unit(name).watch(wake, signal),

    define(name, definition) {
      const defined = writable(name);
      defined.define({ ...definition, masked: defined.definition?.masked ?? false });
    },

    definition(name) {
      const definition = unit(name).definition;
      if (definition === undefined) return undefined;
      const { command, env, enabled } = definition;
      return JSON.stringify({ command, env, enabled });
    },

    async undefine(name) {
      // Its log goes with it, and what it ended with may still be asked for.
      const { lastRun } = writable(name);
      if (lastRun !== undefined) gone.set(name, lastRun);
      await unit(name).undefine();
      all().delete(name);
    },

    async close(what = options.onClose ?? 'stop') {
      if (units === undefined || readOnly) return;
      await Promise.all([...units.values()].map((u) => u.close(what)));
    },
  };
}
