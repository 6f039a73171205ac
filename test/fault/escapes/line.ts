// The agent of an escape, on the host's real ports; its loop's clock is fast, and what it judged can be swapped just after.
import assert from 'node:assert/strict';
import type pino from 'pino';
import { Agent } from '../../../agent/agent.ts';
import type { AgentConfig } from '../../../agent/config.ts';
import { openPorts, ownThings } from '../../../agent/main.ts';
import type { Resource } from '../../../api/bundle.ts';
import { findCondition, type ResourceStatus } from '../../../api/status.ts';
import { kinds } from '../../../kinds/index.ts';
import type { AnyKind } from '../../../kinds/kind.ts';
import type { Clock, Ports } from '../../../kinds/ports.ts';

/** How many times faster than the real one the loop's clock runs. */
const HASTE = 5;

/** What somebody with rights in the allowed directory does between a judgement and the use of what was judged. */
export interface Swap {
  /** `prepare`: after the first judgement; `apply`: after the last one, just before it is used. */
  readonly at: 'prepare' | 'apply';
  do(): void;
}

/** An agent, as long as it runs. */
export class Line {
  readonly agent: Agent;
  readonly #ports: ReturnType<typeof openPorts>;
  #sequence = 0;
  #resources: readonly Resource[] = [];
  #stopped = false;

  constructor(config: AgentConfig, log: pino.Logger, swap: Swap | undefined) {
    this.#ports = openPorts(config, log);
    const ports: Ports = { ...this.#ports, clock: hasty(this.#ports.clock) };
    this.agent = new Agent({
      config,
      kinds: swap === undefined ? kinds : swapped(swap),
      ports,
      log,
      env: process.env,
      version: 'fault',
      random: Math.random,
      ...ownThings(config),
    });
    this.agent.start();
  }

  assign(resources: readonly Resource[]): void {
    this.#resources = resources;
    this.#sequence += 1;
    const host = { name: 'victim', labels: {}, decommission: false, confirmRemovals: [] };
    const payload = {
      apiVersion: 'homeostat.dev/v1' as const,
      host: { ...host, mode: 'enforce' as const },
      resources: [...resources],
    };
    this.agent.assign({ sequence: this.#sequence, commit: `c${this.#sequence}`, payload });
  }

  /** What each of the resources came to. @throws as long as one of them has no verdict yet */
  settled(): ResourceStatus[] {
    const keys = this.#resources.map(({ kind, name }) => `${kind}/${name}`);
    const found = this.agent.status().resources.filter(({ key }) => keys.includes(key));
    assert.equal(found.length, keys.length);
    const reasons = found.map(({ conditions }) => findCondition(conditions, 'Ready')?.reason);
    // What waits for one that is refused waits for good.
    const isStuck = reasons.some((reason) => reason === 'NotAllowed');
    const open = isStuck ? ['Reconciling'] : ['Reconciling', 'Dependency'];
    for (const { key, conditions } of found) {
      const ready = findCondition(conditions, 'Ready');
      const isOpen = ready === undefined || open.includes(ready.reason);
      assert.ok(!isOpen, `${key} has no verdict: ${ready?.reason} ${ready?.message}`);
    }
    return found;
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.agent.stop();
    await this.#ports.close();
  }
}

function hasty(clock: Clock): Clock {
  return {
    now: clock.now,
    monotonic: () => clock.monotonic() * HASTE,
    setTimeout: (callback, ms) => clock.setTimeout(callback, ms / HASTE),
    sleep: (ms, signal) => clock.sleep(ms / HASTE, signal),
  };
}

/** Each kind, with somebody who swaps what it judged just after that. */
function swapped(swap: Swap): ReadonlyMap<string, AnyKind> {
  let isDone = false;
  const once = (): void => {
    if (isDone) return;
    isDone = true;
    swap.do();
  };
  const wrap = (kind: AnyKind): AnyKind => ({
    ...kind,
    prepare(...args) {
      if (swap.at === 'prepare') once();
      return kind.prepare(...args);
    },
    apply(...args) {
      if (swap.at === 'apply') once();
      return kind.apply(...args);
    },
  });
  return new Map([...kinds].map(([name, kind]) => [name, wrap(kind)]));
}
