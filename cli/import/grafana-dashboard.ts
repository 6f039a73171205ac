// `homeostat import grafana-dashboard`: a dashboard that somebody made in Grafana, as a file in git and a document
// beside it.
import fs from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { createHttp } from '../../agent/providers/http.ts';
import { API_VERSION } from '../../api/documents.ts';
import { inWords } from '../../api/errors.ts';
import { Grafana } from '../../kinds/grafana-api.ts';
import { bindInputs } from '../../kinds/grafana-dashboard/model.ts';
import { openStore, type Stored } from '../../kinds/grafana-dashboard/store.ts';
import { uninterpolated, writeGenerated } from '../generated.ts';
import { directory, inputFile, matching, name, text, url } from '../options.ts';

const uid = matching(/^[A-Za-z0-9_-]{1,40}$/, 'A uid has letters, digits, - and _, at most 40.');

interface Options {
  readonly uid: string;
  readonly runOn?: string;
  readonly url: string;
  readonly user?: string;
  readonly tokenFile?: string;
  readonly passwordFile?: string;
  readonly name?: string;
  readonly out: string;
  readonly json?: boolean;
}

const SECRET_FILE = '/etc/homeostat/grafana.token';

export function registerGrafanaDashboard(parent: Command): void {
  parent
    .command('grafana-dashboard')
    .description('fetch a dashboard from Grafana, and write a GrafanaDashboard document beside it')
    .requiredOption('--uid <uid>', 'of the dashboard: it is in its address, /d/UID/…', uid)
    .option('--run-on <host>', 'the Host that is to keep it, and to have the credentials', name)
    .option('--url <url>', 'where Grafana is', url, 'http://127.0.0.1:3000')
    .option('--token-file <file>', 'file with the token of a service account (or GRAFANA_TOKEN)', inputFile)
    .option('--user <name>', 'a login, instead of a token', text(200))
    .option('--password-file <file>', 'file with its password (or GRAFANA_PASSWORD)', inputFile)
    .option('--name <name>', 'of the document and its files; default: from the title', name)
    .option('--out <dir>', 'directory of manifests to write to', directory, '.')
    .option('--json', 'print the dashboard’s JSON alone, and write nothing')
    .action(importDashboard);
}

async function importDashboard(options: Options): Promise<void> {
  const http = createHttp();
  try {
    const stored = await fetchDashboard(options, http).catch((error: unknown) => {
      throw new Error(inWords(error));
    });
    if (stored === undefined) throw new Error(`there is no dashboard ${options.uid} in ${options.url}`);
    const json = uninterpolated(`${JSON.stringify(fileOf(options.uid, stored), null, 2)}\n`);
    if (options.json === true) {
      process.stdout.write(json);
      return;
    }
    const { runOn } = options;
    if (runOn === undefined) throw new Error('--run-on names the Host that is to keep it; --json needs none');
    const name = options.name ?? nameOf(String(stored.dashboard['title']));
    const [text, document] = [`${name}.json`, `${name}.yaml`];
    const host = `apiVersion: ${API_VERSION}\nkind: Host\nmetadata: {name: ${JSON.stringify(runOn)}}\nspec: {}\n`;
    const warnings = await writeGenerated(
      options.out,
      new Map([
        [text, { bytes: json }],
        [document, { bytes: documentOf(options, runOn, name, text, stored) }],
      ]),
      new Map([['host-for-the-check.yaml', { bytes: host }]]),
    );
    for (const warning of warnings) console.error(warning);
    console.log(`wrote ${path.join(options.out, text)} and ${path.join(options.out, document)}
Next: put the credentials on ${runOn} where the document says, and allow ${options.url} there (allow.urls, allow.secrets).`);
  } finally {
    await http.close();
  }
}

/** Secrets never come from the command line, which every process of the machine can read. */
async function fetchDashboard(
  options: Options,
  http: ReturnType<typeof createHttp>,
): Promise<Stored | undefined> {
  const { url, user, tokenFile, passwordFile, uid } = options;
  const [file, variable] =
    user === undefined ? [tokenFile, 'GRAFANA_TOKEN'] : [passwordFile, 'GRAFANA_PASSWORD'];
  const secret = file === undefined ? process.env[variable] : fs.readFileSync(file, 'utf8').trim();
  if (secret === undefined || secret === '') {
    const how = user === undefined ? '--token-file' : '--password-file';
    throw new Error(`there are no credentials: set ${variable}, or name a file (${how})`);
  }
  const from = { secretFrom: { env: variable } };
  const connection = user === undefined ? { url, token: from } : { url, user, password: from };
  const content = () => ({ bytes: Buffer.from(secret), secret: true });
  const store = await openStore(new Grafana(connection, http, content, new AbortController().signal));
  return store.read(uid);
}

/** The classic JSON bare, as ever; of schema v2 the resource, as Grafana 13 exports it. */
function fileOf(uid: string, { dashboard, apiVersion }: Stored): object {
  const spec = bindInputs(dashboard, {});
  return apiVersion === undefined ? spec : { apiVersion, kind: 'Dashboard', metadata: { name: uid }, spec };
}

function nameOf(title: string): string {
  const slug = title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return slug.slice(0, 60).replace(/-+$/, '') || 'dashboard';
}

function documentOf(
  { url, user, uid }: Options,
  runOn: string,
  name: string,
  file: string,
  { folder, provisioned }: Stored,
): string {
  return [
    ...(provisioned === undefined
      ? []
      : [`# It is kept by ${provisioned}: take it out there first, or this document stalls.`]),
    `apiVersion: ${API_VERSION}`,
    'kind: GrafanaDashboard',
    'metadata:',
    `  name: ${JSON.stringify(name)}`,
    `runOn: ${JSON.stringify(runOn)}`,
    'spec:',
    '  grafana:',
    `    url: ${JSON.stringify(url)}`,
    ...(user === undefined
      ? [`    token: {secretFrom: {file: ${SECRET_FILE}}}`]
      : [
          `    user: ${JSON.stringify(user)}`,
          `    password: {secretFrom: {file: ${SECRET_FILE.replace('token', 'password')}}}`,
        ]),
    `  uid: ${JSON.stringify(uid)}`,
    ...(folder === '' ? [] : [`  folder: {uid: ${JSON.stringify(folder)}}`]),
    `  contentFrom: ${JSON.stringify(file)}`,
    '',
  ].join('\n');
}
