// The CLI's side of the agent's unix socket.
import http from 'node:http';
import { Option } from 'commander';
import * as z from 'zod';
import { DEFAULT_CONFIG_FILE, readAgentConfig } from '../agent/config.ts';
import { errnoOf, inWords } from '../api/errors.ts';
import { file, socket } from './options.ts';

export const SOCKET_OPTION = new Option(
  '--socket <path>',
  'the agent’s socket; default: the one its configuration names',
).argParser(socket);
export const CONFIG_OPTION = new Option('--config <file>', 'the agent’s configuration')
  .default(DEFAULT_CONFIG_FILE)
  .argParser(file);

export interface SocketOptions {
  readonly socket?: string;
  readonly config: string;
}

/** @throws Error in words when no agent answers, or with the agent's own words when it refuses. */
export async function askAgent(
  options: SocketOptions,
  method: string,
  path: string,
  body?: object,
): Promise<unknown> {
  const socketPath = options.socket ?? readAgentConfig(options.config).socket;
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const request = http.request({ socketPath, method, path, timeout: 60_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on('timeout', () => request.destroy(new Error('the agent did not answer within 60 s')));
    request.on('error', (error) => reject(inContext(error, socketPath)));
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
  const value = readAnswer(text, socketPath);
  if (status < 300) return value;
  const refusal = Refusal.safeParse(value);
  throw new Error(refusal.success ? refusal.data.error.message : noAgent(socketPath));
}

/** The same, of an answer that has this form. */
export async function askAgentFor<T>(schema: z.ZodType<T>, options: SocketOptions, path: string): Promise<T> {
  const answer = schema.safeParse(await askAgent(options, 'GET', path));
  if (answer.success) return answer.data;
  throw new Error(noAgent(options.socket ?? readAgentConfig(options.config).socket));
}

const Refusal = z.object({ error: z.object({ message: z.string() }) });

function readAnswer(text: string, socketPath: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(noAgent(socketPath));
  }
}

/** Of an answer that is none of an agent's. */
function noAgent(socketPath: string): string {
  return `what answers on ${socketPath} is no homeostat agent, or one of another version: --socket names the agent's socket`;
}

function inContext(error: Error, socketPath: string): Error {
  switch (errnoOf(error)) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new Error(
        `no agent answers on ${socketPath}; is it running? (systemctl status homeostat-agent)`,
      );
    case 'ENOTDIR':
      return new Error(`there is no socket ${socketPath}: a part of the path is not a directory`);
    case 'EACCES':
      return new Error(`you may not open ${socketPath}; try again with sudo`);
    default:
      return new Error(`the agent on ${socketPath} can't be asked: ${inWords(error)}`);
  }
}
