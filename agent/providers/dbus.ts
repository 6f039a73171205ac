// The system bus. The only file that knows which D-Bus client is used, and the one that makes up for what that
// client leaves open: @jellybrick/dbus-next 0.11 never settles a call whose connection ended, keeps a message
// that is sent after the end for ever, and tells nobody that the stream ended.
import type { Message as DBusMessage, MessageBus } from '@jellybrick/dbus-next';
import { after, Ending, firstOf } from './waits.ts';

interface BusCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly unknown[];
}

export interface BusSignal {
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly body: readonly unknown[];
}

/** An error that the other side answered with, by its D-Bus name. */
export class BusError extends Error {
  override readonly name = 'BusError';
  readonly errorName: string;
  constructor(errorName: string, message: string) {
    super(message);
    this.errorName = errorName;
  }
}

export interface Bus {
  /** @returns the reply's body. @throws BusError, or Error when the bus went away or timeoutMs passed. */
  call(call: BusCall, timeoutMs: number): Promise<readonly unknown[]>;
  onSignal(listener: (signal: BusSignal) => void): () => void;
  /** The end of the connection, with why. */
  readonly ended: Ending<Error>;
  readonly isOpen: boolean;
  /** @param why what those who still wait are told. */
  close(why?: Error): void;
}

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * @param address a D-Bus address, as `unix:path=/run/dbus/system_bus_socket`.
 * @throws Error with errno when nobody listens there.
 */
export async function connectBus(address: string): Promise<Bus> {
  const { Message, MessageType, sessionBus } = await import('@jellybrick/dbus-next');
  // `sessionBus` only means that the address is the caller's choice.
  const bus = sessionBus({ busAddress: address });
  const ended = new Ending<Error>();
  const listeners = new Set<(signal: BusSignal) => void>();
  const isOpen = (): boolean => ended.value === undefined;
  const finish = (error: Error): void => {
    if (!isOpen()) return;
    ended.end(error);
    listeners.clear();
    closeQuietly(bus);
  };

  bus.on('error', (error: Error) => finish(error));
  streamOf(bus).on('end', () => finish(new Error('the connection to the system bus ended')));
  bus.on('message', (message: DBusMessage) => {
    if (message.type !== MessageType.SIGNAL) return;
    for (const listener of listeners) listener(message);
  });

  /** Its own work is the caller's alone; the connection is everybody's. */
  function withDeadline<T>(work: Promise<T>, timeoutMs: number, what: string): Promise<T> {
    return firstOf<T>(
      (_, reject) => ended.on(reject),
      (_, reject) =>
        after(timeoutMs, () => reject(new Error(`${what} did not answer within ${timeoutMs} ms`))),
      (resolve, reject) => {
        work.then(resolve, reject);
        return () => undefined;
      },
    );
  }

  try {
    const connected = new Promise<void>((resolve) => bus.once('connect', () => resolve()));
    await withDeadline(connected, CONNECT_TIMEOUT_MS, 'the system bus');
  } catch (error) {
    finish(error as Error);
    throw error;
  }

  return {
    async call({ body, ...call }, timeoutMs) {
      if (ended.value !== undefined) throw ended.value;
      const message = new Message({ ...call, ...(body === undefined ? {} : { body: [...body] }) });
      try {
        const reply = await withDeadline(bus.call(message), timeoutMs, `${call.destination} ${call.member}`);
        return reply?.body ?? [];
      } catch (error) {
        const { type, text } = error as { type?: unknown; text?: unknown };
        if (typeof type === 'string') throw new BusError(type, String(text ?? type));
        throw error;
      }
    },
    onSignal(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    ended,
    get isOpen() {
      return isOpen();
    },
    close: (why = new Error('the agent closed the connection to the system bus')) => finish(why),
  };
}

/** The connection below a bus emits 'end', which the bus itself does not pass on (src/bus.ts of dbus-next). */
function streamOf(bus: MessageBus): { on(event: 'end', listener: () => void): void } {
  return (bus as unknown as { _connection: { on(event: 'end', listener: () => void): void } })._connection;
}

function closeQuietly(bus: MessageBus): void {
  bus.removeAllListeners();
  bus.on('error', () => undefined); // what still comes, comes to nobody
  try {
    bus.disconnect();
  } catch {
    // It never got a stream.
  }
}
