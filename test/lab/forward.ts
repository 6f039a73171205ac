/**
 * Ways by which hosts of the lab reach what the lab plays for them in this process: it listens on loopback, where
 * tests have it, and is carried over the lab's own port on the bridge to an address of the host's.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { LabHost } from './host.ts';
import { onCleanup } from './lifetime.ts';
import type { LabNetwork } from './network.ts';

/** @returns host:port on the bridge, at which all hosts reach the loopback port. */
export async function exposeOnBridge(network: LabNetwork, port: number): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((incoming) => {
    const outgoing = connect(port, '127.0.0.1');
    for (const [from, to] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => sockets.delete(from) && to.destroy());
    }
  });
  server.listen(0, network.labAddress);
  await once(server, 'listening');
  onCleanup(async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `${network.labAddress}:${(server.address() as AddressInfo).port}`;
}

const FORWARDER = `const net = require('node:net');
const [listen, target] = process.argv.slice(1).map((a) => { const [host, port] = a.split(':'); return { host, port: Number(port) }; });
net.createServer((incoming) => {
  const outgoing = net.connect(target);
  incoming.pipe(outgoing); outgoing.pipe(incoming);
  incoming.on('error', () => outgoing.destroy()); outgoing.on('error', () => incoming.destroy());
}).listen(listen);`;

/** On a host: what comes to `listen` goes to `target`, both as host:port. */
export async function forwardOn(host: LabHost, name: string, listen: string, target: string): Promise<void> {
  await host.start([process.execPath, '-e', FORWARDER, listen, target], { unit: `lab-forward-${name}` });
}
