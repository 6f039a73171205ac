// The CLI's side of the agent's unix socket.
import http from 'node:http';
import { DEFAULT_CONFIG_FILE, readAgentConfig } from '../agent/config.ts';
import { errnoOf } from '../api/errors.ts';

export const SOCKET_OPTION = [
  '--socket <path>',
  'the agent’s socket; default: the one its configuration names',
] as const;
export const CONFIG_OPTION = ['--config <file>', 'the agent’s configuration', DEFAULT_CONFIG_FILE] as const;

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
  const value: unknown = JSON.parse(text);
  if (status < 300) return value;
  throw new Error(
    (value as { error?: { message?: string } }).error?.message ?? `the agent answered ${status}`,
  );
}

function inContext(error: Error, socketPath: string): Error {
  switch (errnoOf(error)) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new Error(
        `no agent answers on ${socketPath}; is it running? (systemctl status homeostat-agent)`,
      );
    case 'EACCES':
      return new Error(`you may not open ${socketPath}; try again with sudo`);
    default:
      return error;
  }
}
