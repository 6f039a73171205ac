// Ways for a container to have a port open where its owner granted none.
import assert from 'node:assert/strict';
import net from 'node:net';
import { eventually } from '../../support/eventually.ts';
import { container, IMAGE } from './containers.ts';
import type { Way } from './ways.ts';

/** A network of the host's engine, which can publish ports. */
export const NETWORK = 'escapes';

export async function isOpen(address: string, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = net.connect({ host: address, port, timeout: 3000 });
    socket.on('connect', () => resolve(true)).on('timeout', () => resolve(false));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy()).on('timeout', () => socket.destroy());
  });
}

const SERVES = ['httpd', '-f', '-p', '80'];
let ports = 21_000;
export const nextPort = (): number => ++ports;

/** @param published by the port of the host; from elsewhere the host is reached at `external`. */
const published = (name: string, spelled: (port: number, external: string) => string): Way => ({
  name,
  twin: 'Container, published',
  escape(s) {
    const [port, honest] = [nextPort(), nextPort()];
    const external = process.env['ESCAPES_ADDRESS']!;
    const spec = (each: string) => container(s, { network: NETWORK, command: SERVES, ports: [each] });
    return {
      allow: {
        kinds: ['Container'],
        images: [IMAGE],
        mounts: [`${s.proof}:rw`],
        capabilities: [`network:${NETWORK}`],
      },
      honest: {
        resources: [spec(`127.0.0.1:${honest}:80`)],
        works: () => eventually(async () => assert.ok(await isOpen('127.0.0.1', honest), 'it is not served')),
      },
      evil: {
        resources: [spec(spelled(port, external))],
        safe: async () => assert.ok(!(await isOpen(external, port)), 'the port is open to others'),
      },
    };
  },
});

export const portWays: readonly Way[] = [
  published('a port without an address', (port) => `${port}:80`),
  published('a port on 0.0.0.0', (port) => `0.0.0.0:${port}:80`),
  published('a port on [::]', (port) => `[::]:${port}:80`),
  published('a port on [::ffff:0.0.0.0]', (port) => `[::ffff:0.0.0.0]:${port}:80`),
  published('a port on [0:0:0:0:0:0:0:0]', (port) => `[0:0:0:0:0:0:0:0]:${port}:80`),
  published('a port on [::0.0.0.0]', (port) => `[::0.0.0.0]:${port}:80`),
  published('a port on the host’s address', (port, external) => `${external}:${port}:80`),
  published('a port on the host’s address, mapped', (port, external) => `[::ffff:${external}]:${port}:80`),
];
