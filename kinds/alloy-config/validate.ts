// `alloy validate`, on a file beside the real one: modules that a config imports are found relative to it. With this
// host's program, or with the one of the image that Alloy runs in, in a container that is thrown away.
import path from 'node:path';
import { errnoOf, Stalled } from '../../api/errors.ts';
import { runInImage } from '../docker-run.ts';
import type { Docker, Files, Processes, ProcessResult } from '../ports.ts';
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
      return { ...(await processes.run(binary, args, { timeoutMs: VALIDATE_TIMEOUT_MS, signal })), seenAs };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  };
}

/** With the program of an image: it sees the config's directory, in its own place, read-only. */
export function imageValidator(
  key: string,
  image: string | undefined,
  { files, docker }: { files: Files; docker: Docker },
  signal: AbortSignal,
): Validator {
  return async (file, options) => {
    if (image === undefined) return undefined;
    const directory = path.dirname(file);
    const run = {
      key,
      image,
      args: ['validate', ...options, file],
      directories: [{ source: files.hostPath?.(directory) ?? directory, target: directory }],
      timeoutMs: VALIDATE_TIMEOUT_MS,
    };
    return { ...(await runInImage(docker, run, signal)), seenAs: file };
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
  const kept = named
    .split('\n')
    .filter((line) => !/^Error: validation failed$|collector server run finished/.test(line))
    .map((line) => line.replace(/^Error: /, ''));
  if (config.secret) return withoutText(kept.join('\n'), config.path);
  return kept.join('\n').trim() || 'alloy validate refuses it, and does not say why';
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
