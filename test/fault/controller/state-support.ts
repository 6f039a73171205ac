// What the causes that befall a controller's state share.
import fs from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { RealController } from '../support/real-controller.ts';
import type { SigningAgent } from '../support/signing-agent.ts';
import type { Cause } from './cause.ts';

const doc = (kind: string, name: string, rest: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: ${kind}\nmetadata: {name: ${name}}\n${rest}\n`;
export const hosts = (...names: string[]): string =>
  [
    ...names.map((name) => doc('Host', name, 'spec: {mode: enforce}')),
    doc('File', 'motd', 'hosts: {all: true}\nspec: {path: /etc/motd, content: one}'),
  ].join('---\n');

export function cause(name: string, body: (c: RealController) => Promise<void>): Cause {
  return {
    name,
    async run() {
      const controller = new RealController(hosts('pi', 'mac'));
      try {
        await body(controller);
      } finally {
        await controller.destroy();
      }
    },
  };
}

export function check(isRight: boolean, what: string): void {
  if (!isRight) throw new Error(what);
}

export function says(text: string, pattern: RegExp): void {
  check(pattern.test(text), `it does not say ${pattern}: ${text.slice(-800)}`);
}

/** Checkpointed and whole: what a backup has. */
export function backUp(c: RealController): string {
  const copy = path.join(c.folder, 'backup.sqlite');
  const db = new DatabaseSync(c.store);
  db.prepare('VACUUM INTO ?').run(copy);
  db.close();
  return copy;
}

/** Everything of a state directory that is not a lock, as it is on disk. */
export function contents(c: RealController): string {
  const files = fs.readdirSync(c.state).filter((name) => /^controller\.(sqlite|key)/.test(name));
  return JSON.stringify(files.map((name) => [name, fs.readFileSync(path.join(c.state, name), 'latin1')]));
}

export async function answered(agent: SigningAgent, wanted: number, why: string): Promise<void> {
  const { status, text } = await agent.bundle();
  check(status === wanted, `${why}: ${agent.host} is answered ${status} ${text.slice(0, 200)}`);
}
