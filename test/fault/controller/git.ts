// What can befall the controller's way from git to a revision: programs that hang, repositories that are hostile or
// damaged, trees that are too large, manifests that are wrong a thousand times. Each is caused for real; survived is that
// the last good commit is served meanwhile, the next good one after it, and that SIGTERM ends the controller.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { blockFile, commitEntry } from '../../support/git-repository.ts';
import { GitController } from '../support/git-controller.ts';
import type { Cause } from './cause.ts';

const host = (name: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}}\nspec: {}\n---\n`;
const file = (name: string, rest: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\nhosts: {all: true}\nspec: {path: /etc/${name}, ${rest}}\n---\n`;

function good(c: GitController, text: string): string {
  c.repo.write('a.yaml', host('pi') + file('motd', `content: ${text}`));
  return c.repo.commit();
}

/** @param body with a controller that serves a first commit. */
function cause(name: string, how: 'here' | 'over HTTP', body: (c: GitController) => Promise<void>): Cause {
  return {
    name: `${name} (a repository ${how})`,
    async run() {
      const c = new GitController();
      try {
        const first = good(c, 'one');
        if (how === 'over HTTP') await c.serve();
        await c.start();
        await c.serves(first);
        await body(c);
        await c.stops();
      } finally {
        await c.destroy();
      }
    },
  };
}

/** Refused or reported in these words, with the commit before it in place; a good one then passes. */
function refused(name: string, says: RegExp, commit: (c: GitController) => void): Cause {
  return cause(name, 'here', async (c) => {
    const before = (await c.fleet()).serving?.commit;
    commit(c);
    await c.says(says);
    const { serving } = await c.fleet();
    if (serving?.commit !== before) throw new Error(`${serving?.commit} is served`);
    c.repo.git('reset', '-q', '--hard', before ?? '');
    await c.serves(good(c, 'after'));
  });
}

/** The git that lists the tree of a commit, once it is there. */
async function reading(c: GitController): Promise<number> {
  let found: number | undefined;
  await c.until('git reads', () => {
    const children = fs
      .readFileSync(`/proc/${c.pid}/task/${c.pid}/children`, 'utf8')
      .split(' ')
      .filter(Boolean);
    found = children.map(Number).find((pid) => commandOf(pid).includes('ls-tree'));
    return found !== undefined;
  });
  return found!;
}

function commandOf(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** A commit whose file can't be read: its object is a pipe, from before it is seen. */
function hanging(c: GitController): string {
  c.repo.write('b.txt', `${Math.random()}\n`);
  c.repo.write('a.yaml', host('pi') + file('motd', 'contentFrom: b.txt'));
  c.repo.git('add', '-A');
  blockFile(c.repo.objectFile(c.repo.git('hash-object', 'b.txt')));
  c.repo.git('commit', '-q', '-m', 'hanging');
  return c.repo.git('rev-parse', 'HEAD');
}

const hangs: Cause[] = [
  cause('an object that can not be read in time', 'here', async (c) => {
    hanging(c);
    await c.says(/did not (?:end|read object)/);
    fs.rmSync(c.repo.objectFile(c.repo.git('hash-object', 'b.txt')));
    c.repo.git('hash-object', '-w', 'b.txt');
    await c.serves(good(c, 'next'));
  }),
  cause('SIGTERM while git waits for an object', 'here', async (c) => {
    hanging(c);
    await reading(c);
  }),
  cause('git is killed while it reads', 'here', async (c) => {
    const commit = hanging(c);
    const pid = await reading(c);
    fs.rmSync(c.repo.objectFile(c.repo.git('hash-object', 'b.txt')));
    c.repo.git('hash-object', '-w', 'b.txt');
    process.kill(pid, 'SIGKILL');
    await c.serves(commit);
  }),
  cause('SIGTERM while the server does not answer', 'over HTTP', async (c) => {
    c.server!.mood = 'hangs';
    c.server!.requests.length = 0;
    await c.until('it is asked', () => c.server!.requests.length > 0);
  }),
  cause('a branch that is a pipe', 'here', async (c) => {
    const ref = path.join(c.repo.path, '.git/refs/heads/main');
    const tip = fs.readFileSync(ref);
    blockFile(ref);
    await c.says(/refs.heads.main is not what git writes there/);
    fs.rmSync(ref);
    fs.writeFileSync(ref, tip);
    await c.serves(good(c, 'next'));
  }),
];

const hostile: Cause[] = [
  cause('a configuration that names programs', 'here', async (c) => {
    const trap = path.join(c.folder, 'trap.sh');
    const trace = path.join(c.folder, 'sprung');
    fs.writeFileSync(trap, `#!/bin/sh\ntouch ${trace}\nexit 1\n`, { mode: 0o755 });
    const set = (name: string, value: string): void => void c.repo.git('config', name, value);
    const commit = good(c, 'armed');
    c.repo.write('large.bin', 'x');
    const next = c.repo.commit();
    const missing = c.repo.git('rev-parse', 'HEAD:large.bin');
    for (const [name, value] of [
      ['core.repositoryFormatVersion', '1'],
      ['extensions.partialClone', 'origin'],
      ['remote.origin.url', '/'],
      ['remote.origin.promisor', 'true'],
      ['remote.origin.uploadpack', trap],
      ['core.fsmonitor', trap],
      ['core.sshCommand', trap],
      ['core.hooksPath', c.folder],
    ] as const)
      set(name, value);
    fs.rmSync(c.repo.objectFile(missing));
    await c.serves(next);
    if (fs.existsSync(trace)) throw new Error('the program was run');
    if (commit === next) throw new Error('there was one commit');
  }),
];

const damages: [name: string, damage: (mirror: string) => void][] = [
  ['a lock of HEAD', (d) => fs.writeFileSync(path.join(d, 'HEAD.lock'), '')],
  ['a branch that was cut off', (d) => fs.writeFileSync(path.join(d, 'refs/homeostat/head'), 'ab')],
  ['no objects', (d) => fs.rmSync(path.join(d, 'objects'), { recursive: true })],
  ['no directory', (d) => fs.rmSync(d, { recursive: true })],
];

const mirrors: Cause[] = [
  ...damages.map(([name, damage]) =>
    cause(`a mirror with ${name}, in a run and at a start`, 'over HTTP', async (c) => {
      damage(c.mirror);
      await c.serves(good(c, 'two'));
      await c.stops();
      damage(c.mirror);
      await c.start();
      await c.serves(good(c, 'three'));
    }),
  ),
  cause('a server that fails for a while', 'over HTTP', async (c) => {
    c.server!.mood = 'fails';
    const next = good(c, 'two');
    await c.says(/git ls-remote failed/);
    c.server!.mood = 'well';
    await c.serves(next);
  }),
];

const THOUSAND = Array.from({ length: 1000 }, (_, i) => i);

const trees: Cause[] = [
  cause('a symbolic link of 400 MB', 'here', async (c) => {
    const commit = commitEntry(c.repo, '120000', 'link', Buffer.alloc(400 * 1024 * 1024));
    await c.serves(commit);
    const peak = /^VmHWM:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${c.pid}/status`, 'utf8'));
    if (Number(peak?.[1]) > 350 * 1024) throw new Error(`it took ${peak?.[1]} KiB`);
  }),
  refused('more files than are read', /has more than 100000 files: put the manifests into a folder/, (c) => {
    const oid = c.repo.git('rev-parse', 'HEAD:a.yaml');
    const tree = Array.from({ length: 100_001 }, (_, i) => `100644 blob ${oid}\tf${i}.txt\n`).join('');
    const made = execFileSync('git', ['mktree'], { cwd: c.repo.path, input: tree, encoding: 'utf8' }).trim();
    c.repo.git('update-ref', 'refs/heads/main', c.repo.git('commit-tree', made, '-m', 'x'));
  }),
  refused('a pointer of LFS', /b\.bin, and it is a pointer of git LFS/, (c) => {
    c.repo.write(
      'b.bin',
      `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 7\n`,
    );
    c.repo.write('b.yaml', file('b', 'contentFrom: b.bin'));
    c.repo.commit();
  }),
  refused('a folder that was renamed, at a thousand hosts', /there is no such file: did you mean/, (c) => {
    for (const i of THOUSAND) {
      c.repo.write(
        `hosts/h${i}.yaml`,
        host(`h${i}`) + file(`f${i}`, `contentFrom: ../old/h${i}/config.alloy`),
      );
      c.repo.write(`new/h${i}/config.alloy`, 'text\n');
    }
    c.repo.commit();
  }),
  refused('a file with thousands of ends of documents', /in \[ \] or \{ \}|closed|flow|end/, (c) => {
    c.repo.write('b.yaml', 'x: [\n...\n'.repeat(4000));
    c.repo.commit();
  }),
];

export const gitCauses: readonly Cause[] = [...hangs, ...hostile, ...mirrors, ...trees];
