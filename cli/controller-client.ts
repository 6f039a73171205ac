// Asks a controller's HTTP API in an operator's name, for get and describe.
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import * as z from 'zod';
import { inputFile, orFrom, token, tokenIn, url } from './options.ts';
import { patiently, unreached } from './patiently.ts';

export interface ClientOptions {
  readonly controller: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

export function clientOptions(command: Command): Command {
  return command
    .addOption(
      orFrom('HOMEOSTAT_CONTROLLER', new Option('--controller <url>', 'URL of the controller'))
        .default('http://127.0.0.1:8420')
        .argParser(url),
    )
    .addOption(
      orFrom(
        'HOMEOSTAT_TOKEN',
        new Option('--token <token>', 'operator’s token; on a tailnet the login may do'),
      ).argParser(token),
    )
    .option('--token-file <file>', 'file with the operator’s token', inputFile);
}

const Refusal = z.object({ error: z.object({ message: z.string() }) });

/**
 * @param isRight whether the answer has what is read of it.
 * @throws Error in the controller's words, or why it can't be reached.
 */
export async function ask<T>(
  options: ClientOptions,
  path: string,
  isRight: (value: unknown) => value is T,
): Promise<T> {
  const { request } = await import('undici');
  const bearer =
    options.tokenFile === undefined
      ? options.token
      : tokenIn(readFileSync(options.tokenFile, 'utf8'), options.tokenFile);
  const base = options.controller;
  let status: number;
  let text: string;
  try {
    const response = await patiently(() =>
      request(base + path, {
        headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
        headersTimeout: 15_000,
        bodyTimeout: 15_000,
      }),
    );
    status = response.statusCode;
    text = await response.body.text();
  } catch (error) {
    throw unreached(base, error, '--controller says where it is');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(notOne(base, status));
  }
  if (status === 200 && isRight(value)) return value;
  const refusal = Refusal.safeParse(value);
  throw new Error(refusal.success ? refusal.data.error.message : notOne(base, status));
}

function notOne(base: string, status: number): string {
  return `${base} answers ${status}, and not as a controller does: --controller says where it is`;
}
