// `homeostat convert promtail FILE`: a promtail config as a config of Alloy, by Alloy's own converter, with the
// AlloyConfig document beside it; and what the converter could not carry over, so that nobody has to find out.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { dump } from 'js-yaml';
import { API_VERSION, Name } from '../api/documents.ts';
import { type GeneratedFile, uninterpolated, writeGenerated } from './generated.ts';
import { bareSecrets, type Moved } from './promtail-secrets.ts';

interface Options {
  readonly out: string;
  readonly name: string;
  readonly host?: string[];
  readonly alloy?: string;
  readonly bypassErrors?: true;
}

const PLACEHOLDER_HOST = 'my-host';
const TIMEOUT_MS = 60_000;

export function register(program: Command): void {
  const parent = program.command('convert').description('make documents of another program’s configuration');
  parent
    .command('promtail')
    .description('convert a promtail config to a config of Alloy and its AlloyConfig document')
    .argument('<file>', 'the promtail config')
    .option('--out <dir>', 'where to write', '.')
    .option('--name <name>', 'name of the document', 'alloy')
    .option('--host <name...>', 'the hosts that it is for; otherwise the document has a placeholder')
    .option('--alloy <program>', 'the alloy program; default: ALLOY_BIN, or alloy on PATH')
    .option('--bypass-errors', 'write what can be converted, although something can’t')
    .addHelpText(
      'after',
      '\nExit codes: 0 converted (what has no counterpart is listed), 1 nothing was written, 2 written without what could\nnot be converted (--bypass-errors).',
    )
    .action(convertPromtail);
}

async function convertPromtail(file: string, options: Options): Promise<void> {
  for (const name of [options.name, ...(options.host ?? [])]) {
    const parsed = Name.safeParse(name);
    if (!parsed.success) throw new Error(`"${name}" can't be a name: ${parsed.error.issues[0]?.message}`);
  }
  readable(file);
  const alloy = options.alloy ?? process.env['ALLOY_BIN'] ?? 'alloy';
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-convert-'));
  try {
    const { text, report } = await convert(alloy, file, scratch, options.bypassErrors === true);
    const { text: clean, moved } = bareSecrets(text);
    const config = path.join(scratch, 'config.alloy');
    fs.writeFileSync(config, clean, { mode: 0o600 });
    await mustPass(alloy, ['fmt', '--write', config], 'formatted');
    await mustPass(alloy, ['validate', config], 'validated');
    const files = new Map<string, GeneratedFile>([
      ['config.alloy', { bytes: uninterpolated(fs.readFileSync(config, 'utf8')) }],
      [`${options.name}.yaml`, { bytes: documentText(file, options) }],
    ]);
    await writeGenerated(options.out, files, hostsForCheck(options));
    tell(options, file, report, moved, [...files.keys()]);
    if (report.some((line) => line.startsWith('(Error)'))) process.exitCode = 2;
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

/** @throws Error in words for people. */
function readable(file: string): void {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) throw new Error(`there is no file ${file}`);
  if (!stat.isFile()) throw new Error(`${file} is not a file: name the promtail config itself`);
  fs.accessSync(file, fs.constants.R_OK);
}

async function convert(
  alloy: string,
  file: string,
  scratch: string,
  bypass: boolean,
): Promise<{ text: string; report: string[] }> {
  const [output, reportFile] = [path.join(scratch, 'converted.alloy'), path.join(scratch, 'report.txt')];
  const { exitCode, stderr } = await run(alloy, [
    'convert',
    '--source-format=promtail',
    `--output=${output}`,
    `--report=${reportFile}`,
    ...(bypass ? ['--bypass-errors'] : []),
    file,
  ]);
  const report = fs.existsSync(reportFile) ? entries(fs.readFileSync(reportFile, 'utf8')) : [];
  if (exitCode === 0 && fs.existsSync(output)) return { text: fs.readFileSync(output, 'utf8'), report };
  throw new Error(refusal(file, report.length > 0 ? report : entries(stderr), stderr));
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

async function mustPass(alloy: string, args: readonly string[], what: string): Promise<void> {
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
  throw new Error(`${alloy} could not be run: ${result.shortMessage}`);
}

function documentText(file: string, { name, host }: Options): string {
  const comment = `# Made of ${path.basename(file)} by \`homeostat convert promtail\`: from here on edit config.alloy.
${host === undefined ? `#\n# hosts is a placeholder: name the hosts that have sent their logs with promtail, or give matchLabels.\n` : ''}`;
  const document = {
    apiVersion: API_VERSION,
    kind: 'AlloyConfig',
    metadata: { name },
    hosts: { names: host ?? [PLACEHOLDER_HOST] },
    spec: { contentFrom: 'config.alloy' },
  };
  return comment + dump(document);
}

/** Host documents for the names in it, so that it can be checked before there are any. */
function hostsForCheck({ host }: Options): Map<string, GeneratedFile> {
  const documents = (host ?? [PLACEHOLDER_HOST]).map((name) =>
    dump({ apiVersion: API_VERSION, kind: 'Host', metadata: { name }, spec: {} }),
  );
  return new Map([['hosts-for-check.yaml', { bytes: documents.join('---\n') }]]);
}

function tell(options: Options, file: string, report: string[], moved: Moved[], files: string[]): void {
  console.log(`wrote ${files.map((f) => path.join(options.out, f)).join(' and ')}`);
  const lost = [...report, ...notConverted(fs.readFileSync(file, 'utf8'))];
  if (lost.length > 0) console.log(`\nnot carried over:\n${lost.map((line) => `  ${line}`).join('\n')}`);
  if (moved.length > 0) {
    console.log(
      '\nsecrets were left out of config.alloy, which goes to git; put each one where Alloy now reads it:',
    );
    for (const { what, file: at } of moved)
      console.log(`  ${what}: ${at} (a File with content: {secretFrom: …})`);
  }
  const hosts =
    options.host === undefined
      ? `put its hosts into ${path.join(options.out, `${options.name}.yaml`)}; `
      : '';
  console.log(
    `\nnext: ${hosts}homeostat validate; and stop promtail where Alloy reads the same logs (kind Service, state: stopped)`,
  );
}

/** What the converter drops without a word. */
function notConverted(yaml: string): string[] {
  const port = /http_listen_port:\s*(\d+)/.exec(yaml)?.[1];
  return port === undefined || port === '0'
    ? []
    : [`(Info) promtail served its own metrics on port ${port}; Alloy's are on 127.0.0.1:12345`];
}
