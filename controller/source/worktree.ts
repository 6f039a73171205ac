// A work tree may hold other bytes than git keeps: filters (LFS, git-crypt) replace content, and line ends change. The
// controller reads what git keeps, so what .gitattributes say of a directory's files is asked of git here, with a git
// directory of our own, whose configuration names no filter and runs none.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { gitEnvironment, makeGitDir } from './git.ts';
import { refusedFile, type SnapshotFile } from './snapshot.ts';

const ATTRIBUTES = ['filter', 'working-tree-encoding', 'ident', 'text', 'eol'] as const;
type Attributes = Partial<Record<(typeof ATTRIBUTES)[number], string>>;

const TIMEOUT_MS = 30_000;

/** The files of a directory as git would keep them. @param base absolute, links resolved. */
export function asCommitted(
  base: string,
  files: ReadonlyMap<string, SnapshotFile>,
): Map<string, SnapshotFile> {
  const attributes = attributesOf(base, [...files.keys()]);
  return new Map([...files].map(([path, file]) => [path, converted(file, attributes.get(path) ?? {})]));
}

function converted(file: SnapshotFile, attributes: Attributes): SnapshotFile {
  if (file.refused !== undefined) return file;
  const { filter, ident, text, eol } = attributes;
  const encoding = attributes['working-tree-encoding'];
  const oid = `${file.oid} ${JSON.stringify(attributes)}`;
  if (isSet(filter)) {
    const what =
      filter === 'lfs'
        ? 'git LFS keeps its content, which is not in git'
        : `the filter ${filter} changes what git keeps of it`;
    return refusedFile(
      `${what}, as .gitattributes say, and the controller reads what git keeps: take the filter off this path and commit the file itself`,
      oid,
    );
  }
  if (isSet(encoding))
    return refusedFile(
      `git keeps it in another encoding than ${encoding} (working-tree-encoding in .gitattributes): save it as UTF-8, and take the attribute off`,
      oid,
    );
  const isText = text === 'set' || text === 'auto' || (isSet(eol) && text !== 'unset');
  if (!isText && ident !== 'set') return file;
  const read = async (): Promise<Buffer> => {
    const bytes = await file.read();
    // What git takes for binary is left alone.
    if (bytes.subarray(0, 8000).includes(0)) return bytes;
    let kept = bytes.toString('latin1');
    if (isText) kept = kept.replaceAll('\r\n', '\n');
    if (ident === 'set') kept = kept.replace(/\$Id: [^$\n]*\$/g, '$$Id$$');
    return Buffer.from(kept, 'latin1');
  };
  return { ...file, oid, read };
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== 'unspecified' && value !== 'unset' && value !== '';
}

function attributesOf(base: string, paths: readonly string[]): Map<string, Attributes> {
  const found = new Map<string, Attributes>();
  const top = topOf(base);
  if (top === undefined || !hasAttributes(top, base, paths)) return found;
  const below = relative(top, base).split(sep).filter(Boolean).join('/');
  const prefix = below === '' ? '' : `${below}/`;
  const answer = checkAttributes(top, paths.map((path) => `${prefix}${path}\0`).join(''));
  // <path> NUL <attribute> NUL <value> NUL
  for (let i = 0; i + 2 < answer.length; i += 3) {
    const path = answer[i]!.slice(prefix.length);
    found.set(path, { ...found.get(path), [answer[i + 1]!]: answer[i + 2] });
  }
  return found;
}

/** Whether anything says anything of them; most have none, and need no git. */
function hasAttributes(top: string, base: string, paths: readonly string[]): boolean {
  if (paths.some((path) => /(?:^|\/)\.gitattributes$/.test(path))) return true;
  if (existsSync(join(top, '.git', 'info', 'attributes'))) return true;
  for (let at = base; at !== top; at = dirname(at))
    if (existsSync(join(dirname(at), '.gitattributes'))) return true;
  return false;
}

/** The work tree that a directory is a part of. */
function topOf(base: string): string | undefined {
  for (let at = base; ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) return at;
    if (dirname(at) === at) return undefined;
  }
}

function checkAttributes(top: string, input: string): string[] {
  const gitDir = mkdtempSync(join(tmpdir(), 'homeostat-attributes-'));
  try {
    makeGitDir(gitDir);
    for (const name of ['objects', 'refs']) mkdirSync(join(gitDir, name));
    const own = join(top, '.git', 'info', 'attributes');
    const { status, stdout } = spawnSync(
      'git',
      [
        ...[`--git-dir=${gitDir}`, `--work-tree=${top}`, '-c', 'core.bare=false'],
        ...['-c', `core.attributesFile=${own}`, 'check-attr', '-z', '--stdin', ...ATTRIBUTES],
      ],
      {
        input,
        cwd: top,
        env: gitEnvironment(process.env, 'read'),
        timeout: TIMEOUT_MS,
        killSignal: 'SIGKILL',
        maxBuffer: 256 * 1024 * 1024,
        encoding: 'utf8',
      },
    );
    // Without git there is nothing that would have changed the files.
    return status === 0 ? stdout.split('\0') : [];
  } finally {
    rmSync(gitDir, { recursive: true, force: true });
  }
}
