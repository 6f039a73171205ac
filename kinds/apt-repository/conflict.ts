// Two sources of one repository with different keyrings make apt refuse every source of the host (apt, "Conflicting
// values set for option Signed-By"). Who else names it is found before anything of ours is written.
import { apt, messageOf, requireUnlocked } from '../apt.ts';
import type { Files, Ports, ProcessResult } from '../ports.ts';
import type { AptRepositorySpec } from './schema.ts';
import { keyringPath, sourceLines, sourcePath } from './source.ts';

type Io = Pick<Ports, 'files' | 'processes'>;

const MAIN = '/etc/apt/sources.list';
const PARTS = '/etc/apt/sources.list.d';
/** What others may change so that a conflict begins, or ends. */
export const OTHER_SOURCES = [MAIN, `${PARTS}/*`];
const TIMEOUT_MS = 30_000;

/** Of the host's sources as they are. @returns why apt refuses them over ours, with the file of the other one */
export async function conflictOf(
  spec: AptRepositorySpec,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  return explained(spec, await targets([], io, signal), io.files);
}

/** Of the host's sources with ours among them, which need not be written for it. */
export async function wouldConflict(
  spec: AptRepositorySpec,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  const main = io.files.read(MAIN);
  const others = main.type === 'file' ? `${main.content.toString().trimEnd()}\n` : '';
  // The main list is in one-line style, whatever ours is written in.
  const text = `${others}${sourceLines(spec, keyringSeen(io.files, spec)).join('\n')}\n`;
  return io.files.withCandidate(`${PARTS}/${spec.name}.list`, Buffer.from(text), async (candidate) => {
    const file = io.files.hostPath?.(candidate) ?? candidate;
    return explained(spec, await targets(['-o', `Dir::Etc::sourcelist=${file}`], io, signal), io.files);
  });
}

function targets(options: readonly string[], io: Io, signal: AbortSignal): Promise<ProcessResult> {
  const args = ['indextargets', '--format', '$(SOURCESENTRY)', ...options];
  return apt(io, 'apt-get', args, { timeoutMs: TIMEOUT_MS, signal });
}

function explained(spec: AptRepositorySpec, all: ProcessResult, files: Files): string | undefined {
  requireUnlocked(all);
  if (all.exitCode === 0) return undefined;
  const message = messageOf(all);
  const ours = keyringSeen(files, spec);
  if (!message.includes(ours)) return undefined;
  const found = othersWith(spec, files);
  const remedy =
    found.length === 0
      ? 'another source names the same repository'
      : `${found.join(' and ')} ${found.length === 1 ? 'names' : 'name'} the same repository`;
  return `${remedy} with another keyring, and apt then refuses every source of this host: remove that source, or this document. apt says: ${message}`;
}

/** Where apt sees our keyring. */
export function keyringSeen(files: Files, spec: AptRepositorySpec): string {
  return files.hostPath?.(keyringPath(spec)) ?? keyringPath(spec);
}

/** Files of other sources that name one of our URIs. */
function othersWith(spec: AptRepositorySpec, files: Files): string[] {
  const uris = spec.uris.map((uri) => uri.replace(/\/+$/, ''));
  const parts = (files.list?.(PARTS) ?? []).filter((name) => /\.(?:list|sources)$/.test(name));
  return [MAIN, ...parts.map((name) => `${PARTS}/${name}`)].filter((path) => {
    if (path === sourcePath(spec)) return false;
    const state = files.read(path);
    if (state.type !== 'file') return false;
    const words = state.content
      .toString()
      .split('\n')
      .filter((line) => !/^\s*#/.test(line))
      .flatMap((line) => line.split(/\s+/).map((word) => word.replace(/\/+$/, '')));
    return uris.some((uri) => words.includes(uri));
  });
}
