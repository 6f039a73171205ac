// `homeostat enroll`: makes the host's key, shows it to the controller with a one-time token, checks by the
// token's fingerprint that it is the right controller, and writes the agent's configuration. Makes the host's age
// identity too, so that secrets in git can be encrypted to it.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import {
  AgentConfig,
  AllowList,
  DEFAULT_CONFIG_FILE,
  readAgentConfig,
  writeAgentConfig,
} from '../agent/config.ts';
import { keyIdOf, privateKeyOf, rawPublicKey } from '../api/bundle.ts';
import { EnrollAnswer, type EnrollRequest, isGenuine, type ParsedToken, parseToken } from '../api/enroll.ts';
import { ErrorBody } from '../api/error-body.ts';
import { signRequest } from '../api/signatures.ts';
import { EnrollAttempt } from './enroll-attempt.ts';
import { directory, file, hostNameHere, inputFile, name, orFrom, token, tokenIn, url } from './options.ts';
import { patiently, unreached } from './patiently.ts';
import { ensureIdentity } from './secret/identity.ts';

interface Options {
  readonly controller: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly host: string;
  readonly config: string;
  readonly state?: string;
}

export function register(program: Command): void {
  program
    .command('enroll')
    .description('make this host known to a controller')
    .requiredOption('--controller <url>', 'URL of the controller', url)
    .addOption(
      orFrom(
        'HOMEOSTAT_TOKEN',
        new Option('--token <token>', 'one-time token, as homeostat token create prints it'),
      ).argParser(token),
    )
    .option('--token-file <file>', 'file with the token', inputFile)
    .option('--host <name>', 'name of this host’s Host document; default: this machine’s hostname', name)
    .option(
      '--config <file>',
      'where the agent’s configuration is written; what it allows is kept',
      file,
      DEFAULT_CONFIG_FILE,
    )
    .option(
      '--state <dir>',
      'where the agent keeps its state and its key; default: the configuration’s',
      directory,
    )
    .action((options: Partial<Pick<Options, 'host'>> & Omit<Options, 'host'>) =>
      enroll({ ...options, host: options.host ?? hostNameHere() }),
    );
}

async function enroll(options: Options): Promise<void> {
  const { tokenFile } = options;
  const text =
    tokenFile === undefined ? (options.token ?? '') : tokenIn(readFileSync(tokenFile, 'utf8'), tokenFile);
  const parsed = parseToken(text);
  if (parsed?.fingerprint === undefined)
    throw new Error('say --token with what homeostat token create printed, all of it');
  const before = existsSync(options.config) ? readAgentConfig(options.config) : undefined;
  const stateDir =
    (options.state && resolve(options.state)) ??
    before?.stateDir ??
    AgentConfig.parse({ host: options.host }).stateDir;
  const keyFile = before?.keyFile ?? join(stateDir, 'agent.key');
  const ageIdentity = before?.ageIdentity ?? join(dirname(resolve(options.config)), 'age.key');
  // A token works once: it is not used up before what comes of it can be kept.
  const attempt = new EnrollAttempt(keyFile, options.config, ageIdentity);
  let answer: EnrollAnswer;
  try {
    answer = await send(options, parsed, attempt.seed, sequenceSeen(stateDir));
  } catch (error) {
    if (error instanceof Refused) attempt.abandon();
    throw error;
  }
  // The key is in use only now that the controller has proved itself.
  attempt.complete();
  const { controller } = options;
  writeAgentConfig(options.config, {
    ...before,
    host: options.host,
    controller,
    trustedKeys: answer.trustedKeys,
    stateDir,
    ageIdentity,
    // Written out empty, so that one sees what there is to open.
    allow: before?.allow ?? AllowList.parse({}),
  });
  console.log(`${options.host} is enrolled at ${controller}, whose key ${parsed.fingerprint} it trusts`);
  const { recipient } = await ensureIdentity(ageIdentity);
  console.log(
    `secrets in git can be encrypted to it: write into Host/${options.host}\n  ageRecipient: ${recipient}`,
  );
  if (before === undefined) {
    console.log(
      `what manifests may do here is closed. Once the agent runs and has its manifest, \`homeostat allow --from-plan\` prints what it needs, with the reasons, to paste as "allow" into ${options.config}`,
    );
  }
}

/** The controller answered, and this key is not enrolled. */
class Refused extends Error {}

/** So that a controller that lost its store goes on above it. */
function sequenceSeen(stateDir: string): number {
  const file = join(stateDir, 'highest-sequence');
  const mark = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  return Number.isSafeInteger(mark) && mark > 0 ? mark : 0;
}

async function send(
  options: Options,
  token: ParsedToken,
  seed: string,
  sequenceSeen: number,
): Promise<EnrollAnswer> {
  const { request } = await import('undici');
  const privateKey = privateKeyOf(seed);
  const publicKey = rawPublicKey(privateKey);
  const url = `${options.controller}/v1/enroll`;
  const question: EnrollRequest = {
    token: `hs1_${token.id}.${token.secret}`,
    host: options.host,
    publicKey,
    sequenceSeen,
  };
  const body = JSON.stringify(question);
  let nowSeconds = Math.floor(Date.now() / 1000);
  for (let attempt = 0; ; attempt++) {
    let response: Awaited<ReturnType<typeof request>>;
    let text: string;
    try {
      response = await patiently(() => {
        // Signed for each try: a signature is taken once.
        const createdSeconds = nowSeconds;
        const keyId = keyIdOf(publicKey);
        const signed = signRequest({ method: 'POST', url, body, privateKey, keyId, createdSeconds });
        return request(url, {
          method: 'POST',
          headers: { ...signed, 'content-type': 'application/json' },
          body,
          headersTimeout: 15_000,
          bodyTimeout: 15_000,
        });
      });
      text = await response.body.text();
    } catch (error) {
      throw unreached(options.controller, error, 'the same command can be repeated with the same token');
    }
    if (response.statusCode === 200) return genuine(text, publicKey, token);
    const { code, message } = errorOf(text);
    const theirs = Date.parse(String(response.headers['date']));
    if (code !== 'ClockSkew' || attempt > 0 || Number.isNaN(theirs)) {
      // What a server could not do, it may have done: then the same key is asked for again.
      throw response.statusCode < 500 ? new Refused(message) : new Error(message);
    }
    console.error('this host’s clock is off; the controller’s is used for this request');
    nowSeconds = Math.floor(theirs / 1000);
  }
}

function genuine(text: string, publicKey: string, token: ParsedToken): EnrollAnswer {
  const answer = EnrollAnswer.safeParse(asJson(text));
  if (!answer.success) throw new Error(NOT_ONE);
  if (isGenuine(answer.data, publicKey, token.fingerprint ?? '')) return answer.data;
  throw new Refused(
    `this is not the controller that the token is from: the token wants key ${token.fingerprint}, and the answer is not signed by it; nothing was written, and the token may be used up: make another`,
  );
}

const NOT_ONE = 'what answers there is no controller: --controller says where it is';

function errorOf(text: string): { code: string; message: string } {
  const refusal = ErrorBody.safeParse(asJson(text));
  return refusal.success ? refusal.data.error : { code: '', message: NOT_ONE };
}

/** @returns undefined when it is none. */
function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
