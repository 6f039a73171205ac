// What an Alloy was started with, as far as its config has to know: what it loads, and what it allows. Pure.
import path from 'node:path';
import { type AlloyConfigSpec, STABILITY_LEVELS } from './schema.ts';

type Stability = (typeof STABILITY_LEVELS)[number];

export interface CommandLine {
  /** A file or a directory; undefined where it is not named by an absolute path. */
  readonly config: string | undefined;
  readonly stability: Stability;
  readonly communityComponents: boolean;
  /** Other than Alloy's own: the config is converted when it is loaded. */
  readonly format: string;
  /** --server.http.listen-addr. */
  readonly address: string | undefined;
  /** Those that `alloy validate` takes as well, as they were given. */
  readonly forValidate: readonly string[];
}

/** `alloy run` has no other flags that stand alone (internal/alloycli/cmd_run.go, 1.18). */
const SWITCHES =
  /^(?:cluster\.(?:enabled|enable-tls|use-discovery-v1)|server\.http\.(?:enable-pprof|disable-support-bundle|enable-graphql|enable-graphql-playground)|config\.bypass-conversion-errors|disable-reporting|feature\.(?:community-components\.enabled|prometheus\.(?:direct-fanout\.enabled|metric-validation-scheme)))$/;
/** internal/alloycli/cmd_validate.go, 1.18. It ends with an error at any other. */
const OF_VALIDATE = [
  'stability.level',
  'feature.community-components.enabled',
  'config.format',
  'config.extra-args',
  'config.bypass-conversion-errors',
];

/**
 * @param words program and arguments, as the process has them.
 * @returns undefined for what is no `alloy run`: a shell that starts it, say.
 */
export function parseCommandLine(words: readonly string[]): CommandLine | undefined {
  const run = words.indexOf('run', 1);
  if (run < 0) return undefined;
  const flags = new Map<string, string>();
  const others: string[] = [];
  for (let i = run + 1; i < words.length; i += 1) {
    const [, name, value] = /^--?([^=]+)(?:=(.*))?$/s.exec(words[i]!) ?? [];
    if (name === undefined) others.push(words[i]!);
    else if (value !== undefined) flags.set(name, value);
    else if (SWITCHES.test(name)) flags.set(name, 'true');
    else flags.set(name, words[++i] ?? '');
  }
  const level = flags.get('stability.level');
  return {
    config: others.length === 1 && path.isAbsolute(others[0]!) ? path.normalize(others[0]!) : undefined,
    stability: STABILITY_LEVELS.find((each) => each === level) ?? 'generally-available',
    communityComponents: isTrue(flags.get('feature.community-components.enabled')),
    format: flags.get('config.format') ?? 'alloy',
    address: flags.get('server.http.listen-addr'),
    forValidate: OF_VALIDATE.filter((name) => flags.has(name)).map((name) => `--${name}=${flags.get(name)}`),
  };
}

/** As Go's strconv.ParseBool takes it. */
function isTrue(text: string | undefined): boolean {
  return text !== undefined && ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text);
}

/** What `alloy validate` is run with: what the document says, and where it says nothing, what the running Alloy has. */
export function validateFlags(spec: AlloyConfigSpec, running: CommandLine | undefined): string[] {
  const said: string[] = [];
  if (spec.stability !== undefined) said.push(`--stability.level=${spec.stability}`);
  if (spec.communityComponents !== undefined)
    said.push(`--feature.community-components.enabled=${spec.communityComponents}`);
  const names = said.map((flag) => flag.replace(/=.*/s, '='));
  return [...said, ...(running?.forValidate ?? []).filter((flag) => !names.some((n) => flag.startsWith(n)))];
}

export interface Difference {
  readonly text: string;
  /** The running Alloy would refuse, or never read, what the document asks for. */
  readonly standsInWay: boolean;
}

/** Where the document says other than what runs. @param loads what the config path of the running Alloy is to us */
export function differences(
  spec: AlloyConfigSpec,
  running: CommandLine | undefined,
  loads: Loads | undefined,
): Difference[] {
  if (running === undefined) return [];
  const found: Difference[] = [];
  const { stability, communityComponents } = spec;
  if (stability !== undefined && stability !== running.stability) {
    const standsInWay = STABILITY_LEVELS.indexOf(stability) < STABILITY_LEVELS.indexOf(running.stability);
    const text = `--stability.level=${running.stability}, and the document says stability: ${stability}`;
    found.push({ text, standsInWay });
  }
  if (communityComponents !== undefined && communityComponents !== running.communityComponents) {
    const text = `--feature.community-components.enabled=${running.communityComponents}, and the document says communityComponents: ${communityComponents}`;
    found.push({ text, standsInWay: communityComponents });
  }
  const isSaidToBeWhole = spec.files !== undefined ? true : spec.directory;
  if (isSaidToBeWhole === true && loads === 'file') {
    const text = `the one file ${running.config}, and the document is about the whole directory`;
    found.push({ text, standsInWay: true });
  }
  if (isSaidToBeWhole === false && loads === 'directory') {
    const text = `the whole directory ${running.config}, and the document says directory: false`;
    found.push({ text, standsInWay: true });
  }
  return found;
}

/** What an Alloy loads, of what is ours: the file alone, or the whole directory that it lies in. */
export type Loads = 'file' | 'directory';
