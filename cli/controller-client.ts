// Asks a controller's HTTP API in an operator's name, for get and describe.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { inWords } from '../api/errors.ts';

export interface ClientOptions {
  readonly controller: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

export function clientOptions(command: Command): Command {
  return command
    .option(
      '--controller <url>',
      'URL of the controller (or HOMEOSTAT_CONTROLLER)',
      process.env['HOMEOSTAT_CONTROLLER'] ?? 'http://127.0.0.1:8420',
    )
    .option('--token <token>', 'operator’s token (or HOMEOSTAT_TOKEN); on a tailnet the login may do')
    .option('--token-file <file>', 'file with the operator’s token');
}

/** @throws Error in the controller's words, or why it can't be reached. */
export async function ask(options: ClientOptions, path: string): Promise<unknown> {
  const { request } = await import('undici');
  const token =
    options.tokenFile === undefined
      ? (options.token ?? process.env['HOMEOSTAT_TOKEN'])
      : readFileSync(options.tokenFile, 'utf8').trim();
  const base = options.controller.replace(/\/$/, '');
  let status: number;
  let text: string;
  try {
    const response = await request(base + path, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      headersTimeout: 15_000,
      bodyTimeout: 15_000,
    });
    status = response.statusCode;
    text = await response.body.text();
  } catch (error) {
    throw new Error(
      `the controller at ${base} can't be reached: ${inWords(error)}; --controller says where it is`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${base} answers ${status}, and not as a controller does: is it one?`);
  }
  if (status === 200) return value;
  const message = (value as { error?: { message?: string } }).error?.message;
  throw new Error(message ?? `the controller answers ${status}`);
}
