/**
 * The wire between the hosts of a lab: a bridge with a port for each host, and one
 * for the lab itself.
 *
 * The bridge lives in a network namespace of its own, the hub. There no firewall of
 * this machine meets its frames (dockerd's would drop them), and services that the
 * lab plays for its hosts, like the tailnet's control server, listen nowhere else.
 * Everything hangs on the process that holds the hub: when it ends, all links do.
 *
 * Each network is a /24 out of 198.18.0.0/15, the block for tests between network
 * devices (RFC 2544). Nothing routes out of it: hosts have no default route.
 */
import { randomBytes } from 'node:crypto';
import { execa } from 'execa';
import { onCleanup, owner, spawnBound } from './lifetime.ts';

export interface LabNetwork {
  /** The lab's own port on the bridge, a network device of this machine. */
  readonly device: string;
  /** For example 198.18.7.0/24. */
  readonly subnet: string;
  /** The hub's address, for what the lab offers its hosts. */
  readonly hubAddress: string;
  /** This machine's address on the bridge. */
  readonly labAddress: string;
  /** Path of the hub's network namespace. */
  readonly hub: string;
  /** The address of a host; n from 2 to 253. */
  address(n: number): string;
  /** Gives a network namespace its eth0 on the bridge. @param pid a process in that namespace */
  attach(name: string, address: string, pid: number): Promise<void>;
  /** Takes the port away again; nothing happens when it has gone with its namespace. */
  detach(name: string): Promise<void>;
  /** Pulls a host's cable, or plugs it in again. */
  setLink(name: string, state: 'up' | 'down'): Promise<void>;
  destroy(): Promise<void>;
}

/** Runs `ip` on lines of commands, in the network namespace at that path. */
async function ip(namespace: string, commands: readonly string[]): Promise<void> {
  await execa('nsenter', [`--net=${namespace}`, '--', 'ip', '-batch', '-'], {
    input: commands.map((command) => `${command}\n`).join(''),
    timeout: 20_000,
  });
}

/** The first three bytes of a /24 that no device of this machine is in. */
async function freeSubnet(): Promise<string> {
  const { stdout } = await execa('ip', ['-json', '-4', 'address', 'show']);
  const devices = JSON.parse(stdout) as { addr_info: { local: string }[] }[];
  const taken = new Set(devices.flatMap((device) => device.addr_info.map((info) => info.local)));
  // Starting at the pid keeps labs apart that choose at the same moment.
  for (let i = 0; i < 512; i++) {
    const n = (process.pid + i) % 512;
    const start = `198.${18 + (n >> 8)}.${n & 255}.`;
    if (![...taken].some((address) => address.startsWith(start))) return start;
  }
  throw new Error('all of 198.18.0.0/15 is taken by network devices of this machine');
}

/** Makes an empty network; cleanup() destroys it. */
export async function createNetwork(): Promise<LabNetwork> {
  // Lives until its standard input ends.
  const holder = spawnBound('unshare', ['--net', '--', 'sh', '-c', 'echo made && exec cat']);
  const made = await Promise.race([
    new Promise<true>((resolve) => holder.stdout.once('data', () => resolve(true))),
    holder.then(() => false as const),
  ]);
  if (!made) throw new Error(`no network namespace could be made: ${(await holder).shortMessage}`);

  const hub = `/proc/${holder.pid}/ns/net`;
  const device = `hs-lab-${randomBytes(4).toString('hex')}`;
  const start = await freeSubnet();
  const ports = new Map<string, string>();
  let portCount = 0;

  const network: LabNetwork = {
    device,
    subnet: `${start}0/24`,
    hubAddress: `${start}1`,
    labAddress: `${start}254`,
    hub,
    address(n) {
      if (!Number.isInteger(n) || n < 2 || n > 253)
        throw new RangeError(`no host can have the address ${start}${n}`);
      return `${start}${n}`;
    },
    async attach(name, address, pid) {
      if (ports.has(name)) throw new Error(`${name} is attached already`);
      const port = `port${++portCount}`;
      ports.set(name, port);
      await ip(hub, [
        `link add ${port} type veth peer name eth0 netns ${pid}`,
        `link set ${port} alias ${name} master bridge up`,
      ]);
      await ip(`/proc/${pid}/ns/net`, [
        'link set lo up',
        `address add ${address}/24 dev eth0`,
        'link set eth0 up',
      ]);
    },
    async detach(name) {
      const port = ports.get(name);
      ports.delete(name);
      if (port) await ip(hub, [`link delete ${port}`]).catch(() => undefined);
    },
    async setLink(name, state) {
      const port = ports.get(name);
      if (!port) throw new Error(`${name} is not attached`);
      await ip(hub, [`link set ${port} ${state}`]);
    },
    async destroy() {
      forget();
      // Deleting one end deletes the other at once; the end of a namespace takes its time.
      await execa('ip', ['link', 'delete', 'dev', device], { reject: false });
      holder.kill('SIGKILL');
      await holder;
    },
  };
  const forget = onCleanup(() => network.destroy());

  await execa('ip', ['-batch', '-'], {
    input: [
      `link add ${device} type veth peer name lab netns ${holder.pid}`,
      `link set ${device} alias ${owner} up`,
      `address add ${network.labAddress}/24 dev ${device}\n`,
    ].join('\n'),
  });
  await ip(hub, [
    'link set lo up',
    'link add bridge type bridge',
    `address add ${network.hubAddress}/24 dev bridge`,
    'link set bridge up',
    'link set lab master bridge up',
  ]);
  return network;
}
