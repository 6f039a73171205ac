// `alloy validate`, on a file beside the real one: modules that a config imports are found relative to it. With this
// host's program, or with the one of the image that Alloy runs in, in a container that is thrown away.
import path from 'node:path';
import { errnoOf, Stalled } from '../../api/errors.ts';
import { runInImage } from '../docker-run.ts';
import type { Judge } from '../kind.ts';
import type { ResolvedBind } from '../mounts-wanted.ts';
import type { Files, Ports, Processes, ProcessResult } from '../ports.ts';
import { excerpt } from '../shared/excerpt.ts';

const VALIDATE_TIMEOUT_MS = 30_000;

/** Runs `alloy validate` on a file, which it says as what it was seen; undefined where there is no Alloy yet. */
export type Validator = (
  file: string,
  options: readonly string[],
) => Promise<(ProcessResult & { readonly seenAs: string }) | undefined>;

/** With a program of this host. */
export function hostValidator(
  binary: string,
  { files, processes }: { files: Files; processes: Processes },
  signal: AbortSignal,
): Validator {
  return async (file, options) => {
    const seenAs = files.hostPath?.(file) ?? file;
    try {
      const args = ['validate', ...options, seenAs];
      const how = { timeoutMs: VALIDATE_TIMEOUT_MS, signal, chosen: true } as const;
      return { ...(await processes.run(binary, args, how)), seenAs };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  };
}

/** With the program of an image: it sees the config's directory, in its own place, read-only. */
export function imageValidator(
  d: Judge & { readonly key: string },
  image: string | undefined,
  directory: ResolvedBind,
  io: Pick<Ports, 'docker' | 'mounts'>,
  signal: AbortSignal,
): Validator {
  return async (file, options) => {
    if (image === undefined) return undefined;
    const run = {
      key: d.key,
      image,
      args: ['validate', ...options, file],
      directories: [{ source: directory.resolved.hostPath, target: directory.target }],
      timeoutMs: VALIDATE_TIMEOUT_MS,
    };
    return { ...(await runInImage(d, io, run, signal)), seenAs: file };
  };
}

export interface Candidate {
  /** Where the config is going to stand. */
  readonly path: string;
  readonly bytes: Buffer;
  readonly secret: boolean;
  readonly stability: string | undefined;
}

/**
 * @returns 'valid', or 'unvalidated' where there is no Alloy yet: a config may come before the package.
 * @throws Stalled('Invalid') with Alloy's diagnostics under the config's own name.
 */
export async function validate(
  candidate: Candidate,
  files: Files,
  run: Validator,
): Promise<'valid' | 'unvalidated'> {
  return files.withCandidate(candidate.path, candidate.bytes, async (temporary) => {
    const level = candidate.stability === undefined ? [] : [`--stability.level=${candidate.stability}`];
    const result = await run(temporary, level);
    if (result === undefined) return 'unvalidated';
    if (result.exitCode === 0) return 'valid';
    throw new Stalled(
      'Invalid',
      excerpt(diagnostics(result.stderr || result.stdout, result.seenAs, candidate)),
    );
  });
}

/** Pure. Alloy's diagnostics for people: under the real name, without its own closing lines. */
export function diagnostics(
  output: string,
  temporary: string,
  config: Pick<Candidate, 'path' | 'secret'>,
): string {
  const named = output
    .replaceAll(temporary, config.path)
    .replaceAll(path.basename(temporary), path.basename(config.path));
  const kept = withoutOthers(named.split('\n'), config.path)
    .filter((line) => !/^Error: validation failed$|collector server run finished/.test(line))
    .map((line) => line.replace(/^Error: /, ''));
  if (config.secret) return withoutText(kept.join('\n'), config.path);
  return kept.join('\n').trim() || 'alloy validate refuses it, and does not say why';
}

/**
 * Without what is quoted of other files: a config may import any
 * file, and what validates it here may read all of them.
 */
function withoutOthers(lines: readonly string[], configPath: string): string[] {
  let isOurs = true;
  return lines.flatMap((line) => {
    const place = /^(?:Error: )?((?:\/|[^\s:]+:\s)?[^:]*):(\d+):(\d+): /.exec(line);
    if (place === null) return isOurs ? [line] : [];
    const [, file, row, column] = place;
    isOurs = file === configPath || file === path.basename(configPath);
    return isOurs ? [line] : [`${file}:${row}:${column}: it can't be read as Alloy's configuration`];
  });
}

/** Of a secret config only the places are reported: excerpts and messages quote it. */
export function withoutText(text: string, configPath: string): string {
  const places = [...text.matchAll(/:(\d+):(\d+): /g)].map(
    ([, line, column]) => `${configPath}:${line}:${column}`,
  );
  return places.length === 0
    ? `Alloy refuses ${configPath}; the message is left out, since the content is secret`
    : `Alloy refuses it at ${[...new Set(places)].join(', ')}; the message is left out, since the content is secret`;
}
