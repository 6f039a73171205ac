// The files of undici that agent/providers/undici.ts imports one by one.
declare module 'undici/lib/dispatcher/agent.js' {
  export { Agent as default } from 'undici';
}
declare module 'undici/lib/api/api-request.js' {
  import type { Dispatcher } from 'undici';
  /** A method of dispatchers, as undici's index makes it one. */
  export default function request(
    this: Dispatcher,
    options: Dispatcher.RequestOptions,
  ): Promise<Dispatcher.ResponseData>;
}
declare module 'undici/lib/core/connect.js' {
  import { buildConnector } from 'undici';
  /** As much of the socket that it returns, which undici's own types leave out, as is of use. */
  export interface Attempt {
    destroy(error?: Error): void;
    once(event: 'close', listener: () => void): void;
  }
  export default function build(
    options: buildConnector.BuildOptions,
  ): (options: buildConnector.Options, callback: buildConnector.Callback) => Attempt;
}
