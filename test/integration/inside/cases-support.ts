// What the cases that failed once have in common: a copy of the case, and the program run on it. The files that use
// this run beside each other on one booted host (test/lab/cases.ts).
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { loadAll } from 'js-yaml';
import type { Resource } from '../../../api/bundle.ts';
import { SHARED_CASES } from '../../support/capabilities.ts';
import { resource } from '../../support/manifest.ts';

const CLI = path.join(import.meta.dirname, '../../../cli/homeostat.ts');
const WORK = '/srv/cases';
export const WITHIN_MS = 90_000;

const run = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
export const shell = (script: string): string => run('/bin/sh', '-c', script);
export const systemctl = (...args: string[]): string => run('systemctl', ...args);
export const docker = (...args: string[]): string => run('docker', ...args);

interface Said {
  readonly status: number | null;
  readonly text: string;
}

/** @param number of the case, with which its folder's name begins. */
export function begin(t: TestContext, number: string) {
  const name = fs.readdirSync(SHARED_CASES).find((entry) => entry.startsWith(`${number}-`))!;
  const directory = path.join(WORK, number);
  fs.cpSync(path.join(SHARED_CASES, name), directory, { recursive: true });
  const manifests = path.join(directory, 'manifests');
  const document = path.join(manifests, 'doc.yaml');
  const state = path.join(directory, 'state');
  const settings = JSON.parse(fs.readFileSync(path.join(SHARED_CASES, 'agent.json'), 'utf8')) as object;
  const config = path.join(directory, 'agent.json');
  fs.writeFileSync(
    config,
    JSON.stringify({ ...settings, stateDir: state, socket: path.join(directory, 'socket') }),
  );
  const homeostat = (...args: string[]): Said => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8' });
    return { status, text: `${stdout}${stderr}` };
  };
  const args = ['--dir', manifests, '--host', 'box', '--config', config, '--state', state];
  const once = (): Said => homeostat('once', ...args, '--timeout', '60');
  const validate = (): Said => homeostat('validate', manifests);
  const edit = (change: (text: string) => string): void =>
    fs.writeFileSync(document, change(fs.readFileSync(document, 'utf8')));
  /** For an agent that stays, what `once` reads for itself. */
  const resources = (): Resource[] =>
    (loadAll(fs.readFileSync(document, 'utf8')) as Document[]).map(({ kind, metadata, spec, dependsOn }) =>
      resource(kind, metadata.name, spec, {
        dependsOn: (dependsOn ?? []).map(({ ref, until }) => ({ ref, until: until ?? 'Ready' })),
      }),
    );
  t.after(() => {
    edit(() => '');
    once();
    fs.rmSync(directory, { recursive: true, force: true });
  });
  return { directory, manifests, document, once, validate, edit, resources };
}

interface Document {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: object;
  readonly dependsOn?: readonly { readonly ref: string; readonly until?: 'Applied' | 'Ready' }[];
}
