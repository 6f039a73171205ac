// The longest that the controller's event loop stands still at 5,000 hosts, all of which wait for their bundles and ask
// again: for a commit of one variable, a renamed folder, /metrics and the page. The controller is the bundle in a process
// of its own; the statuses of all hosts are there.
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { scratch } from './agents.ts';
import { git, startController } from './controllers.ts';
import type { Row } from './statistics.ts';
import { BenchedAgent } from './waiting-agents.ts';

const DOCUMENTS = 20;
const WAIT_SECONDS = 55;
const BUDGET_MS = 200;
const SETTLED_MS = 3_000;

const file = (name: string, content: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\nhosts: {all: true}\nspec: {path: /etc/${name}, contentFrom: "${content}"}\n---\n`;

class Repository {
  readonly directory: string;

  constructor(directory: string, agents: readonly BenchedAgent[]) {
    this.directory = directory;
    fs.mkdirSync(path.join(directory, 'configs/files'), { recursive: true });
    fs.mkdirSync(path.join(directory, 'hosts'));
    git(directory, 'init', '-q', '-b', 'main');
    for (const { host, publicKey } of agents) {
      fs.writeFileSync(
        path.join(directory, `hosts/${host}.yaml`),
        `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${host}}\nspec: {mode: enforce, publicKey: "${publicKey}"}\n`,
      );
      fs.writeFileSync(path.join(directory, `configs/files/${host}.conf`), `of ${host}\n`);
    }
    const documents = Array.from({ length: DOCUMENTS }, (_, n) => {
      const name = `f${n}`;
      fs.writeFileSync(
        path.join(directory, `configs/${name}.conf`),
        '${host.name} ${vars.round}\n'.repeat(20),
      );
      return file(name, `${name}.conf`);
    });
    documents.push(file('own', 'files/${host.name}.conf'));
    fs.writeFileSync(path.join(directory, 'configs/all.yaml'), documents.join(''));
    this.variable('first');
  }

  variable(value: string): void {
    fs.writeFileSync(
      path.join(this.directory, 'fleet.yaml'),
      `apiVersion: homeostat.dev/v1\nkind: Fleet\nmetadata: {name: bench}\nspec: {vars: {round: "${value}"}}\n`,
    );
    this.#commit(value);
  }

  rename(from: string, to: string): void {
    git(this.directory, 'mv', from, to);
    this.#commit(`${from} → ${to}`);
  }

  #commit(message: string): void {
    git(this.directory, 'add', '-A');
    git(this.directory, 'commit', '-q', '-m', message);
  }
}

/** Asks as an agent does: again as soon as it was answered. */
class Fleet {
  readonly #agents: readonly BenchedAgent[];
  #answers = 0;
  #stopped = false;

  constructor(agents: readonly BenchedAgent[]) {
    this.#agents = agents;
  }

  /** Everybody has reported, and waits. */
  async start(port: number): Promise<void> {
    for (let i = 0; i < this.#agents.length; i += 200) {
      const some = this.#agents.slice(i, i + 200);
      await Promise.all(
        some.map(async (agent) => {
          await agent.connect(port);
          await agent.report(status());
          await agent.ask(0);
        }),
      );
    }
    for (const agent of this.#agents) void this.#poll(agent);
  }

  /** Everybody was answered once more since `before`. */
  async answeredSince(before: number): Promise<void> {
    while (this.#answers - before < this.#agents.length) await delay(20);
  }

  get answers(): number {
    return this.#answers;
  }

  stop(): void {
    this.#stopped = true;
    for (const agent of this.#agents) agent.close();
  }

  async #poll(agent: BenchedAgent): Promise<void> {
    while (!this.#stopped) if ((await agent.ask(WAIT_SECONDS)).status === 200) this.#answers += 1;
  }
}

function status(): object {
  const ready = { type: 'Ready', status: 'True', reason: 'InSync', message: '', lastTransitionTime: '' };
  const at = new Date().toISOString();
  return {
    at,
    agent: { version: '1', kinds: ['File'], platform: 'linux-x64', startedAt: at },
    mode: 'enforce',
    sequence: { desired: 1, attempted: 1, running: 1 },
    commit: { desired: 'a', running: 'a' },
    conditions: ['Healthy', 'Stable', 'WatchesUp', 'ManifestAccepted'].map((type) => ({ ...ready, type })),
    resources: Array.from({ length: DOCUMENTS }, (_, n) => ({
      key: `File/f${n}`,
      conditions: [ready],
      ...{ desiredDigest: 'a', runningDigest: 'a', drift: [], healedTotal: 0, source: 'configs/all.yaml:1' },
    })),
    events: [],
  };
}

export async function loopRows(bundle: string, hosts: number, rounds: number): Promise<Row[]> {
  const directory = scratch();
  const agents = Array.from({ length: hosts }, (_, i) => new BenchedAgent(`h${i}`));
  const repository = new Repository(path.join(directory, 'repo'), agents);
  const probe = path.join(import.meta.dirname, 'loop-probe.mjs');
  const controller = await startController(bundle, directory, repository.directory, [], probe);
  const fleet = new Fleet(agents);
  const stops = new Map<string, { longestMs: number; cpuMs: number }[]>();
  const measure = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    await controller.longestStop();
    await work();
    // What a commit leaves to be done (payloads are written in portions) is a part of it.
    await delay(SETTLED_MS);
    stops.set(name, [...(stops.get(name) ?? []), await controller.longestStop()]);
  };
  const ask = async (where: string): Promise<void> => {
    const answer = await fetch(`http://127.0.0.1:${controller.port}${where}`);
    if (answer.status !== 200) throw new Error(`${where} answers ${answer.status}`);
    await answer.arrayBuffer();
  };
  const commit = async (change: () => void, message = 'revision published'): Promise<void> => {
    const logged = controller.logged(message);
    const { answers } = fleet;
    change();
    while (controller.logged(message) === logged) await delay(20);
    if (message === 'revision published') await fleet.answeredSince(answers);
  };
  try {
    await fleet.start(controller.port);
    await delay(SETTLED_MS);
    for (let round = 0; round < rounds; round++) {
      const [from, to] = round % 2 === 0 ? ['configs', 'settings'] : ['settings', 'configs'];
      await measure('commit_of_one_variable', () => commit(() => repository.variable(`round ${round}`)));
      await measure('renamed_folder', () => commit(() => repository.rename(from!, to!)));
      // What the manifest names is gone, for every host another file.
      await measure('renamed_folder_of_content', () =>
        commit(() => repository.rename(`${to}/files`, `${to}/moved`), 'commit refused'),
      );
      // What this machine's other programs do to it.
      await measure('nothing', async () => {});
      await measure('metrics', () => ask('/metrics'));
      await measure('page', () => ask('/'));
      await measure('fleet_as_json', () => ask('/v1/fleet'));
      repository.rename(`${to}/moved`, `${to}/files`);
      await delay(SETTLED_MS);
    }
  } finally {
    fleet.stop();
    await controller.stop();
    fs.rmSync(directory, { recursive: true, force: true });
  }
  return [...stops].flatMap(([name, measured]) => {
    const labels = `{hosts=${hosts},for=${name}}`;
    const longest = (of: 'longestMs' | 'cpuMs'): number => Math.max(...measured.map((m) => m[of]));
    return [
      { name: `loop_longest_stop${labels}`, value: longest('longestMs'), unit: 'ms', budget: BUDGET_MS },
      { name: `loop_longest_stop_own${labels}`, value: longest('cpuMs'), unit: 'ms' },
    ];
  });
}
