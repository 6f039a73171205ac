// What Alloy's own converter makes of a promtail config, and what it says about the rest.
import fs from 'node:fs';
import path from 'node:path';
import { inWords } from '../../api/errors.ts';
import { markVariables, unmarked, type Variable } from './variables.ts';

const TIMEOUT_MS = 60_000;

export interface Conversion {
  readonly alloy: string;
  readonly file: string;
  readonly scratch: string;
  readonly bypass: boolean;
}

export interface Converted {
  readonly text: string;
  readonly report: string[];
  readonly variables: Variable[];
  /** Variables that were replaced by their defaults. */
  readonly defaulted: string[];
}

/**
 * Where a variable stands for what Alloy reads as a number or a duration, its default is tried.
 * @throws Error in words for people; nothing is written but in the scratch directory
 */
export async function convert(conversion: Conversion, yaml: string): Promise<Converted> {
  const defaulted = new Set<string>();
  for (;;) {
    const { text, variables } = markVariables(yaml, defaulted);
    const { converted, report, stderr } = await convertOnce(conversion, text);
    const words = report.map((line) => unmarked(line, variables));
    if (converted !== undefined)
      return { text: converted, report: words, variables, defaulted: [...defaulted] };
    const inTheWay = variables.filter(
      ({ mark, fallback }) => fallback !== undefined && `${report.join('\n')}${stderr}`.includes(mark),
    );
    if (inTheWay.length === 0) {
      const said = words.length > 0 ? words : entries(unmarked(stderr, variables));
      throw new Error(refusal(conversion.file, said, unmarked(stderr, variables)));
    }
    for (const { raw } of inTheWay) defaulted.add(raw);
  }
}

async function convertOnce({ alloy, scratch, bypass }: Conversion, yaml: string) {
  const [input, output, reportFile] = ['promtail.yaml', 'converted.alloy', 'report.txt'].map((name) =>
    path.join(scratch, name),
  ) as [string, string, string];
  fs.writeFileSync(input, yaml, { mode: 0o600 });
  const { exitCode, stderr } = await run(alloy, [
    'convert',
    '--source-format=promtail',
    `--output=${output}`,
    `--report=${reportFile}`,
    ...(bypass ? ['--bypass-errors'] : []),
    input,
  ]);
  const report = fs.existsSync(reportFile) ? entries(fs.readFileSync(reportFile, 'utf8')) : [];
  const isDone = exitCode === 0 && fs.existsSync(output);
  return { converted: isDone ? fs.readFileSync(output, 'utf8') : undefined, report, stderr };
}

/** Alloy's diagnostics, `(Severity) sentence`, with the lines that belong to each; what stands around them is left out. */
function entries(text: string): string[] {
  const found: string[] = [];
  for (const line of text.replace(/^Error: (?=\()/m, '').split('\n')) {
    if (/^\((?:Info|Warning|Error|Critical)\) /.test(line)) found.push(line);
    else if (/^\s+\S/.test(line) && found.length > 0) found.push(`${found.pop()}\n${line}`);
  }
  return found;
}

function refusal(file: string, report: readonly string[], stderr: string): string {
  const yaml = /failed to parse Promtail config: yaml: ([\s\S]*)/.exec(report.join('\n'))?.[1];
  if (yaml !== undefined) {
    const places = [...yaml.matchAll(/line (\d+): ([^\n]+)/g)].map(
      ([, line, words]) => `${file}:${line}: ${words}`,
    );
    return `${file} is no promtail config; nothing was written:\n${places.join('\n') || yaml}`;
  }
  const errors = report.filter((line) => !/^\((?:Info|Warning)\)/.test(line));
  if (errors.length > 0) {
    const hint = errors.some((line) => line.startsWith('(Critical)'))
      ? ''
      : '\n--bypass-errors writes what can be converted, without these';
    return `alloy can't convert all of ${file}; nothing was written:\n${errors.join('\n')}${hint}`;
  }
  const said = stderr.split('\n')[0]?.replace(/^Error: /, '');
  return `alloy convert refused ${file}; nothing was written: ${said || 'it said nothing'}`;
}

/** @throws Error with what alloy says. */
export async function mustPass(alloy: string, args: readonly string[], what: string): Promise<void> {
  const { exitCode, stderr } = await run(alloy, args);
  if (exitCode !== 0)
    throw new Error(
      `what alloy converted can't be ${what} by it (${alloy} ${args[0]}); nothing was written:\n${stderr.trim()}`,
    );
}

/** @throws Error when there is no such program, or when it takes too long. */
async function run(alloy: string, args: readonly string[]): Promise<{ exitCode: number; stderr: string }> {
  const { execa } = await import('execa');
  const result = await execa(alloy, args, {
    reject: false,
    timeout: TIMEOUT_MS,
    stdin: 'ignore',
    env: { LC_ALL: 'C' },
  });
  if (result.timedOut) throw new Error(`${alloy} ${args[0]} did not end within ${TIMEOUT_MS / 1000} s`);
  if (result.exitCode !== undefined) return { exitCode: result.exitCode, stderr: result.stderr };
  if (result.code === 'ENOENT')
    throw new Error(
      `there is no program ${alloy}: converting is Alloy's own work. Install Alloy, or name it with --alloy /path/to/alloy or ALLOY_BIN`,
    );
  throw new Error(`${alloy} can't be run: ${inWords(result.cause ?? result)}`);
}
