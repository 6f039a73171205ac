// `homeostat import tailnet-policy`: the policy that is on the server, with its comments, as a file in git and a
// document beside it that says what it was made from.
import fs from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { API_VERSION } from '../../api/documents.ts';
import { inWords } from '../../api/errors.ts';
import { type Credentials, DEFAULT_API, PolicyApi } from '../../kinds/tailnet-policy/api.ts';
import { uninterpolated, writeGenerated } from '../generated.ts';
import { directory, inputFile, matching, name, text, url } from '../options.ts';

interface Options {
  readonly runOn: string;
  readonly out: string;
  readonly print?: boolean;
  readonly api: string;
  readonly tailnet: string;
  readonly clientId?: string;
  readonly clientSecretFile?: string;
  readonly apiKeyFile?: string;
}

const POLICY = 'policy.hujson';
const DOCUMENT = 'tailnet-policy.yaml';
const SECRETS = '/etc/homeostat/secrets';

export function registerTailnetPolicy(parent: Command): void {
  parent
    .command('tailnet-policy')
    .description(
      'fetch the tailnet’s policy file, with its comments, and write a TailnetPolicy document beside it',
    )
    .requiredOption(
      '--run-on <host>',
      'the Host that is to keep the policy, and to have the credentials',
      name,
    )
    .option('--out <dir>', 'directory of manifests to write to', directory, '.')
    .option('--print', 'print document and policy, and write nothing')
    .option(
      '--tailnet <name>',
      'organisation name; "-": the one that the credentials belong to',
      matching(/^[^\s/?#\0-\x1f\x7f]{1,253}$/, 'Write the name of a tailnet, as example.com, or -.'),
      '-',
    )
    .option('--api <url>', 'origin of the API', url, DEFAULT_API)
    .option('--client-id <id>', 'of an OAuth client (or TAILSCALE_OAUTH_CLIENT_ID)', text(200))
    .option(
      '--client-secret-file <file>',
      'file with its secret (or TAILSCALE_OAUTH_CLIENT_SECRET)',
      inputFile,
    )
    .option(
      '--api-key-file <file>',
      'file with an API access token, instead (or TAILSCALE_API_KEY)',
      inputFile,
    )
    .addHelpText('after', '\nNeeds the scope policy_file:read.')
    .action(importPolicy);
}

async function importPolicy(options: Options): Promise<void> {
  const credentials = credentialsOf(options, process.env);
  const http = createHttp();
  try {
    const api = new PolicyApi({ http, clock: systemClock }, options, credentials);
    const { text, etag } = await api.get(new AbortController().signal).catch((error: unknown) => {
      throw new Error(inWords(error));
    });
    const document = documentOf(options, etag, credentials);
    const policy = uninterpolated(text);
    if (options.print === true) {
      process.stdout.write(`# ${DOCUMENT}\n${document}\n# ${POLICY}\n${policy}`);
      return;
    }
    const host = `apiVersion: ${API_VERSION}\nkind: Host\nmetadata: {name: ${JSON.stringify(options.runOn)}}\nspec: {}\n`;
    const warnings = await writeGenerated(
      options.out,
      new Map([
        [POLICY, { bytes: policy }],
        [DOCUMENT, { bytes: document }],
      ]),
      new Map([['host-for-the-check.yaml', { bytes: host }]]),
    );
    for (const warning of warnings) console.error(warning);
    console.log(`wrote ${path.join(options.out, POLICY)} and ${path.join(options.out, DOCUMENT)}, of ETag ${etag}
Next: put the credentials on ${options.runOn} where the document says, and allow ${options.api} there (allow.urls).`);
  } finally {
    await http.close();
  }
}

/** Never from the command line, which every process of the machine can read. */
function credentialsOf(options: Options, env: NodeJS.ProcessEnv): Credentials {
  const secret = (file: string | undefined, name: string): string | undefined =>
    file === undefined ? env[name] : fs.readFileSync(file, 'utf8').trim();
  const clientID = options.clientId ?? env['TAILSCALE_OAUTH_CLIENT_ID'];
  const clientSecret = secret(options.clientSecretFile, 'TAILSCALE_OAUTH_CLIENT_SECRET');
  const apiKey = secret(options.apiKeyFile, 'TAILSCALE_API_KEY');
  if (clientID !== undefined && clientSecret !== undefined) return { oauth: { clientID, clientSecret } };
  if (apiKey !== undefined) return { apiKey };
  throw new Error(
    'there are no credentials: set TAILSCALE_OAUTH_CLIENT_ID and TAILSCALE_OAUTH_CLIENT_SECRET, or TAILSCALE_API_KEY, or name files (--client-secret-file, --api-key-file)',
  );
}

function documentOf({ runOn, api, tailnet }: Options, etag: string, { oauth }: Credentials): string {
  const secret = (name: string): string => `{secretFrom: {file: ${SECRETS}/${name}}}`;
  return [
    '# The tailnet’s policy as it was when this was written. drift: warn reports edits and touches nothing; write',
    '# enforce to have them put back.',
    `apiVersion: ${API_VERSION}`,
    'kind: TailnetPolicy',
    'metadata:',
    '  name: tailnet',
    `runOn: ${JSON.stringify(runOn)}`,
    'drift: warn',
    'spec:',
    `  contentFrom: ${POLICY}`,
    '  # What the first write may replace: the policy with this ETag.',
    `  importedFrom: ${etag}`,
    ...(tailnet === '-' ? [] : [`  tailnet: ${JSON.stringify(tailnet)}`]),
    ...(api === DEFAULT_API ? [] : [`  api: ${JSON.stringify(api)}`]),
    ...(oauth === undefined
      ? [`  apiKey: ${secret('tailscale-api-key')}`]
      : [
          '  oauth:',
          `    clientID: ${secret('tailscale-client-id')}`,
          `    clientSecret: ${secret('tailscale-client-secret')}`,
        ]),
    '',
  ].join('\n');
}
