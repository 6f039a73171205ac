// `alloy validate`, on what is not in its place yet: one file as a candidate beside the real one, a directory that Alloy
// loads as a whole as a copy. With this host's program, or with the one of the image that Alloy runs in, in a container
// that is thrown away.
import path from 'node:path';
import { errnoOf, Stalled } from '../../api/errors.ts';
import { runInImage } from '../docker-run.ts';
import type { Judge } from '../kind.ts';
import type { ResolvedBind } from '../mounts-wanted.ts';
import type { Files, Ports, Processes, ProcessResult } from '../ports.ts';
import { excerpt } from '../shared/excerpt.ts';
import { type Neighbours, wholeDirectory } from './files.ts';

const VALIDATE_TIMEOUT_MS = 30_000;

/** Runs `alloy validate` on a file or a directory, which it says as what it was seen; undefined where there is no Alloy yet. */
export type Validator = (
  target: string,
  options: readonly string[],
) => Promise<(ProcessResult & { readonly seenAs: string }) | undefined>;

/** With a program of this host. */
export function hostValidator(
  binary: string,
  { files, processes }: { files: Files; processes: Processes },
  signal: AbortSignal,
): Validator {
  return async (target, options) => {
    const seenAs = files.hostPath?.(target) ?? target;
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
  return async (target, options) => {
    if (image === undefined) return undefined;
    const run = {
      key: d.key,
      image,
      args: ['validate', ...options, target],
      directories: [{ source: directory.resolved.hostPath, target: directory.target }],
      timeoutMs: VALIDATE_TIMEOUT_MS,
    };
    return { ...(await runInImage(d, io, run, signal)), seenAs: target };
  };
}

export interface OwnFile {
  /** Where it is going to stand. */
  readonly path: string;
  readonly bytes: Buffer;
  readonly secret: boolean;
}

export interface Candidate {
  readonly own: readonly OwnFile[];
  /** Flags of `alloy validate`. */
  readonly flags: readonly string[];
  /** Where the whole directory is loaded: the files of others in it. */
  readonly neighbours: Neighbours | undefined;
  /** The document's files as they stand there now, by name; what is wrong already without the change is not its fault. */
  readonly standing: ReadonlyMap<string, Buffer>;
}

/**
 * @returns 'valid', or 'unvalidated' where there is no Alloy yet: a config may come before the package.
 * @throws Stalled('Invalid') with Alloy's diagnostics under the config's own name; Stalled('NeighbourRefused') for what is
 * wrong in a file of others.
 */
export async function validate(
  candidate: Candidate,
  files: Files,
  run: Validator,
): Promise<'valid' | 'unvalidated'> {
  const { own, flags, neighbours } = candidate;
  const [first] = own;
  if (neighbours === undefined) {
    const result = await files.withCandidate(first!.path, first!.bytes, (temporary) => run(temporary, flags));
    if (result === undefined) return 'unvalidated';
    if (result.exitCode === 0) return 'valid';
    const text = diagnostics(result.stderr || result.stdout, result.seenAs, first!);
    throw new Stalled('Invalid', excerpt(text));
  }
  const directory = path.dirname(first!.path);
  const look = (contents: ReadonlyMap<string, Buffer>) =>
    files.withCandidates(first!.path, contents, (copy) => run(copy, flags));
  if (neighbours.unreadable !== undefined) throw neighbourRefused(neighbours.unreadable);
  const result = await look(wholeDirectory(own, neighbours.contents));
  if (result === undefined) return 'unvalidated';
  if (result.exitCode === 0) return 'valid';
  const found = placesOf(result, directory);
  const paths = own.map((file) => file.path);
  if (found.length > 0 && found.every(({ file }) => !paths.includes(file))) {
    // All of it is in files of others. It may still come of the change: what they refer to may have left ours.
    const before = await look(new Map([...neighbours.contents, ...candidate.standing]));
    const known = before === undefined ? [] : placesOf(before, directory);
    const isKnown = found.every((one) => known.some((two) => two.file === one.file && two.text === one.text));
    if (isKnown) throw neighbourRefused(found.map(({ place }) => place).join(', '));
  }
  throw new Stalled('Invalid', excerpt(directoryDiagnostics(result, directory, own)));
}

export function neighbourRefused(where: string): Stalled {
  return new Stalled(
    'NeighbourRefused',
    excerpt(
      `Alloy loads the whole directory, and refuses a file in it that this document does not own: ${where}. It was so without this document's change; mend it there`,
    ),
  );
}

/** Pure. Alloy's own line about one of these files in what it wrote before it ended, without what it quotes. */
export function refusalIn(output: string, own: readonly string[]): string | undefined {
  return output
    .split('\n')
    .map((line) => line.replace(/^Error: /, ''))
    .findLast((line) => own.some((file) => new RegExp(`^${RegExp.escape(file)}:\\d+:\\d+: `).test(line)));
}

/** Where Alloy finds fault, under the real names. */
function placesOf(
  { stderr, stdout, seenAs }: ProcessResult & { readonly seenAs: string },
  directory: string,
) {
  const output = (stderr || stdout).replaceAll(seenAs, directory);
  return [...output.matchAll(/^(?:Error: )?(\/[^:\n]*):(\d+):(\d+): (.*)$/gm)].map(
    ([, file, line, column, text]) => ({
      file: file!,
      place: `${file}:${line}:${column}`,
      text: text!,
    }),
  );
}

/** Pure. As `diagnostics`, of a directory: of the document's files with text, of others the places. */
function directoryDiagnostics(
  { stderr, stdout, seenAs }: ProcessResult & { readonly seenAs: string },
  directory: string,
  own: readonly Pick<OwnFile, 'path' | 'secret'>[],
): string {
  const named = (stderr || stdout).replaceAll(seenAs, directory);
  const paths = own.map((file) => file.path);
  const kept = withoutOthers(named.split('\n'), paths);
  return worded(
    kept,
    own.some(({ secret }) => secret),
    directory,
    paths,
  );
}

/** Pure. Alloy's diagnostics for people: under the real name, without its own closing lines. */
export function diagnostics(
  output: string,
  temporary: string,
  config: Pick<OwnFile, 'path' | 'secret'>,
): string {
  const named = output
    .replaceAll(temporary, config.path)
    .replaceAll(path.basename(temporary), path.basename(config.path));
  return worded(withoutOthers(named.split('\n'), [config.path]), config.secret, config.path);
}

function worded(
  lines: readonly string[],
  isSecret: boolean,
  configPath: string,
  own: readonly string[] = [],
): string {
  const kept = lines
    .filter((line) => !/^Error: validation failed$|collector server run finished/.test(line))
    .map((line) => line.replace(/^Error: /, ''));
  if (isSecret) return withoutText(kept.join('\n'), configPath, own);
  return kept.join('\n').trim() || 'alloy validate refuses it, and does not say why';
}

/**
 * Without what is quoted of other files: a config may import any
 * file, and what validates it here may read all of them.
 */
function withoutOthers(lines: readonly string[], own: readonly string[]): string[] {
  let isOurs = true;
  return lines.flatMap((line) => {
    const place = /^(?:Error: )?((?:\/|[^\s:]+:\s)?[^:]*):(\d+):(\d+): /.exec(line);
    if (place === null) return isOurs ? [line] : [];
    const [, file, row, column] = place;
    isOurs = own.some((each) => file === each || file === path.basename(each));
    return isOurs ? [line] : [`${file}:${row}:${column}: it can't be read as Alloy's configuration`];
  });
}

/** Of a secret config only the places are reported: excerpts and messages quote it. */
export function withoutText(text: string, configPath: string, own: readonly string[] = []): string {
  const places = [...text.matchAll(/(\S*):(\d+):(\d+): /g)].map(
    ([, file, line, column]) => `${own.find((each) => file === each) ?? configPath}:${line}:${column}`,
  );
  return places.length === 0
    ? `Alloy refuses ${configPath}; the message is left out, since the content is secret`
    : `Alloy refuses it at ${[...new Set(places)].join(', ')}; the message is left out, since the content is secret`;
}
