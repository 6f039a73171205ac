// A real agent on a real Debian host, beside a repository that the test signs and serves on loopback.
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createFiles } from '../../../agent/providers/files.ts';
import { createHttp } from '../../../agent/providers/http.ts';
import { createProcesses } from '../../../agent/providers/processes.ts';
import { aptRepository } from '../../../kinds/apt-repository/index.ts';
import { packageKind } from '../../../kinds/package/index.ts';
import { AptArchive, type SigningKey, type TestPackage } from '../../support/apt-archive.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

export const REPOSITORY = 'AptRepository/test';
export const PACKAGE = 'Package/p';
export const SOURCE = '/etc/apt/sources.list.d/test.sources';
export const KEYRING = '/etc/apt/keyrings/test.gpg';

export interface Setting {
  readonly line: Timeline;
  readonly archive: AptArchive;
  readonly url: string;
  /** Programs that the agent ran, in order. */
  readonly ran: string[];
  /** Added to the agent's clock, milliseconds. */
  later: number;
  repository(key?: object, more?: object): ReturnType<typeof resource>;
}

/** Everything that a test installs begins with `hs-`: the host is one for all tests, and is cleaned of them after each. */
export async function begin(t: TestContext, packages: readonly TestPackage[]): Promise<Setting> {
  const directory = temporaryDirectory(t);
  // apt fetches as an account of its own.
  fs.chmodSync(directory, 0o755);
  const archive = new AptArchive(directory);
  archive.publish(packages);
  putKey(archive, archive.key);
  const url = await archive.serve();
  const [files, http, real] = [createFiles(), createHttp(), createProcesses()];
  const ran: string[] = [];
  const setting = { later: 0 };
  const line = new Timeline(t, {
    kinds: new Map([aptRepository, packageKind].map((kind) => [kind.kind, kind])),
    ports: {
      files,
      http,
      clock: { ...systemClock, now: () => systemClock.now() + setting.later },
      processes: {
        run(command, args, options) {
          ran.push([command, ...args].join(' '));
          return real.run(command, args, options);
        },
      },
    },
  }).start();
  t.after(async () => {
    await line.stop();
    await Promise.all([archive.close(), files.close(), http.close(), real.close()]);
    for (const file of [SOURCE, KEYRING]) fs.rmSync(file, { force: true });
    const installed = await run('dpkg-query', ['--show', '--showformat=${Package} ', 'hs-*']).catch(() => '');
    const names = installed.split(' ').filter(Boolean);
    if (names.length > 0) await dpkg('--force-all', '--purge', ...names);
  });
  return Object.assign(setting, {
    line,
    archive,
    url,
    ran,
    repository: (key: object = { url: `${url}/key.asc` }, more: object = {}) =>
      resource('AptRepository', 'test', {
        ...archive.source(url),
        key: { fingerprint: archive.key.fingerprint, ...key },
        ...more,
      }),
  });
}

export function putKey(archive: AptArchive, key: SigningKey): void {
  fs.writeFileSync(path.join(archive.directory, 'key.asc'), key.armoured);
}

export function wants(spec: object, more: object = {}): ReturnType<typeof resource> {
  return resource('Package', 'p', spec, more);
}

export const AFTER_REPOSITORY = { dependsOn: [{ ref: REPOSITORY, until: 'Ready' }] };

const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
/** Not synchronously: the repository is served by this very process. */
async function run(program: string, args: readonly string[]): Promise<string> {
  const running = promisify(execFile)(program, args, { encoding: 'utf8', env: environment });
  running.child.stdin?.end(); // nobody is there to be asked
  return (await running).stdout;
}

/** What a person would answer to the question about a file that was edited. */
const KEEP = '--force-confold';

/** As a person at a terminal, who waits for a lock. */
export const apt = (...args: string[]): Promise<string> =>
  run('apt-get', ['-q', '-y', '-o', 'DPkg::Lock::Timeout=60', '-o', `DPkg::Options::=${KEEP}`, ...args]);
export const mark = (...args: string[]): Promise<string> =>
  run('apt-mark', ['-o', 'DPkg::Lock::Timeout=60', ...args]);
/** dpkg itself does not wait, and the agent may be at work: this comes before or after, never instead. */
export const dpkg = (...args: string[]): Promise<string> =>
  eventually(() => run('dpkg', [KEEP, ...args]), 60_000);

/** `version state want`, from dpkg-query, which is none of the code under test. */
export async function stateOf(name: string): Promise<string> {
  const format = '${Version} ${db:Status-Status} ${db:Status-Want}';
  const state = await run('dpkg-query', ['--show', `--showformat=${format}`, name]).catch(() => '');
  return /^\S+ installed|half|unpacked/.test(state) ? state.trim() : 'absent';
}

/** A maintainer script that waits, once, until somebody opens the gate. */
export const waitsAt = (gate: string) => ({
  postinst: `if [ "$1" = configure ] && [ ! -e ${gate}.open ]; then : >${gate}.waits; read -r _ <${gate}; fi`,
});

export function makeGate(directory: string): { path: string; open(): void } {
  const gate = path.join(directory, 'gate');
  execFileSync('mkfifo', [gate]);
  return {
    path: gate,
    open() {
      fs.writeFileSync(`${gate}.open`, '');
      fs.writeFileSync(gate, '\n');
    },
  };
}

/** Processes below one, itself first. */
export function family(pid: number): number[] {
  let children = '';
  try {
    children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  } catch {
    // It ended meanwhile.
  }
  return [pid, ...children.split(' ').filter(Boolean).map(Number).flatMap(family)];
}
