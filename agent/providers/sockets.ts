// TCP connections that are made only to see whether somebody takes them.
import { connect } from 'node:net';
import { errnoOf } from '../../api/errors.ts';
import type { Sockets } from '../../kinds/ports.ts';

export const sockets: Sockets = {
  connect: (address, timeoutMs, signal) =>
    new Promise((resolve, reject) => {
      const at = /^(?:\[(.+)\]|(.+)):(\d+)$/.exec(address);
      if (at === null) return reject(new Error(`${address} is not host:port`));
      if (signal?.aborted) return reject(signal.reason);
      const socket = connect({ host: at[1] ?? at[2]!, port: Number(at[3]) });
      const end = (error?: unknown): void => {
        signal?.removeEventListener('abort', abort);
        clearTimeout(timer);
        socket.destroy();
        if (error === undefined) resolve();
        else reject(error);
      };
      const abort = (): void => end(signal!.reason);
      const timer = setTimeout(
        () => end(Object.assign(new Error(`no answer within ${timeoutMs} ms`), { code: 'ETIMEDOUT' })),
        timeoutMs,
      );
      signal?.addEventListener('abort', abort);
      socket.once('connect', () => end());
      // Of a name with several addresses, the error has the tries in it and no words of its own.
      socket.once('error', (error) =>
        end(
          error.message === ''
            ? Object.assign(new Error(`connect ${errnoOf(error)}`), { code: errnoOf(error) })
            : error,
        ),
      );
    }),
};
