// `homeostat convert promtail FILE`: a promtail config as a config of Alloy, by Alloy's own converter, with the
// AlloyConfig document beside it; and what the converter could not carry over, so that nobody has to find out.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { dump } from 'js-yaml';
import { API_VERSION } from '../api/documents.ts';
import { convert, mustPass } from './convert/converter.ts';
import { keepJournalJob } from './convert/journal.ts';
import { bareSecrets, type Moved, requireBare, secretsOf, withoutSecrets } from './convert/secrets.ts';
import { readVariables } from './convert/variables.ts';
import { type GeneratedFile, uninterpolated, writeGenerated } from './generated.ts';
import { directory, each, inputFile, name, text } from './options.ts';

interface Options {
  readonly out: string;
  readonly name: string;
  readonly host?: string[];
  readonly alloy?: string;
  readonly bypassErrors?: true;
}

const PLACEHOLDER_HOST = 'my-host';

export function register(program: Command): void {
  const parent = program.command('convert').description('make documents of another program’s configuration');
  parent
    .command('promtail')
    .description('convert a promtail config to a config of Alloy and its AlloyConfig document')
    .argument('<file>', 'the promtail config', inputFile)
    .option('--out <dir>', 'where to write', directory, '.')
    .option('--name <name>', 'name of the document', name, 'alloy')
    .option(
      '--host <name...>',
      'the hosts that it is for; otherwise the document has a placeholder',
      each(name),
    )
    .option('--alloy <program>', 'the alloy program; default: ALLOY_BIN, or alloy on PATH', text(4000))
    .option('--bypass-errors', 'write what can be converted, although something can’t')
    .action(convertPromtail);
}

async function convertPromtail(file: string, options: Options): Promise<void> {
  const alloy = options.alloy ?? process.env['ALLOY_BIN'] ?? 'alloy';
  const yaml = fs.readFileSync(file, 'utf8');
  const secrets = secretsOf(yaml);
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-convert-'));
  try {
    const converted = await convert({ alloy, file, scratch, bypass: options.bypassErrors === true }, yaml);
    const { text: clean, moved } = bareSecrets(converted.text);
    const { text, lost } = readVariables(clean, converted.variables);
    const config = path.join(scratch, 'config.alloy');
    fs.writeFileSync(config, text, { mode: 0o600 });
    await mustPass(alloy, ['fmt', '--write', config], 'formatted');
    fs.writeFileSync(config, keepJournalJob(fs.readFileSync(config, 'utf8')));
    requireBare(fs.readFileSync(config, 'utf8'), secrets, file);
    await mustPass(alloy, ['validate', config], 'validated');
    const files = new Map<string, GeneratedFile>([
      ['config.alloy', { bytes: uninterpolated(fs.readFileSync(config, 'utf8')) }],
      [`${options.name}.yaml`, { bytes: documentText(file, options) }],
    ]);
    await writeGenerated(options.out, files, hostsForCheck(options));
    const report = [
      ...converted.report,
      ...converted.defaulted.map(
        (raw) => `(Warning) ${raw} stands where Alloy takes no variable; its default is written`,
      ),
      ...lost.map(({ line, raw }) => `(Warning) ${file}:${line}: ${raw} stands in what has no counterpart`),
    ];
    print(options, file, report, moved, [...files.keys()], converted.variables.length > 0);
    if (report.some((line) => line.startsWith('(Error)'))) process.exitCode = 2;
  } catch (error) {
    throw new Error(withoutSecrets(error instanceof Error ? error.message : String(error), secrets));
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
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

function print(
  options: Options,
  file: string,
  report: readonly string[],
  moved: readonly Moved[],
  files: readonly string[],
  readsVariables: boolean,
): void {
  console.log(`wrote ${files.map((f) => path.join(options.out, f)).join(' and ')}`);
  const lost = [...report, ...notConverted(fs.readFileSync(file, 'utf8'))];
  if (lost.length > 0) console.log(`\nnot carried over:\n${lost.map((line) => `  ${line}`).join('\n')}`);
  if (readsVariables) {
    console.log(
      '\n${NAME} is read as promtail does with -config.expand-env=true: Alloy takes it from its own environment, so put\neach into /etc/default/alloy, or into the Environment= of its unit.',
    );
  }
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
