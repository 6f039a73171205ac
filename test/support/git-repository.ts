// Real repositories, and ways in which they are damaged.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

export interface Repository {
  readonly path: string;
  git(...args: string[]): string;
  write(file: string, content: string | Buffer): void;
  /** Everything that lies there. @returns the commit. */
  commit(message?: string): string;
  /** Where git keeps a loose object. */
  objectFile(oid: string): string;
}

export function gitRepository(folder: string, ...init: string[]): Repository {
  fs.mkdirSync(folder, { recursive: true });
  const git = (...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=T', '-c', 'user.email=t@example.com', '-c', 'gc.auto=0', ...args], {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent' },
    }).trim();
  git('init', '-q', '-b', 'main', ...init);
  return {
    path: folder,
    git,
    write(file, content) {
      fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
      fs.writeFileSync(path.join(folder, file), content);
    },
    commit(message = 'change') {
      git('add', '-A');
      git('commit', '-q', '--allow-empty', '-m', message);
      return git('rev-parse', 'HEAD');
    },
    objectFile: (oid) => path.join(folder, '.git/objects', oid.slice(0, 2), oid.slice(2)),
  };
}

/** A pipe that nobody writes in place of a file: who opens it waits for ever. */
export function blockFile(file: string): void {
  fs.rmSync(file, { force: true });
  execFileSync('mkfifo', [file]);
}

/** A tree that is one blob, under a name and mode of choice, committed without a work tree. */
export function commitEntry(repo: Repository, mode: string, name: string, content: Buffer): string {
  const scratch = path.join(repo.path, '..', `${path.basename(repo.path)}.blob`);
  fs.writeFileSync(scratch, content);
  const oid = repo.git('hash-object', '-w', scratch);
  fs.rmSync(scratch);
  repo.git('update-index', '--add', '--cacheinfo', `${mode},${oid},${name}`);
  repo.git('commit', '-q', '-m', 'entry');
  return repo.git('rev-parse', 'HEAD');
}
