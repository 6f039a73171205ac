/**
 * A tailnet for the hosts of a lab: the control server of test/lab/control in the
 * network's hub, and in each host that joins a real tailscaled, as the service that
 * Debian's package would install, with a kernel TUN device.
 *
 * Hosts get 100.64.0.1, .2, … in the order in which they join.
 */
import { join } from 'node:path';
import { Client } from 'undici';
import { labBinaries } from './binaries.ts';
import type { LabHost } from './host.ts';
import { onCleanup, spawnBound } from './lifetime.ts';
import type { LabNetwork } from './network.ts';

/** A node as the control server knows it. */
export interface TailnetNode {
  /** The host's name. */
  readonly name: string;
  /** With the last dot. */
  readonly fqdn: string;
  /** The stable one: `nodeID` of a Host document. */
  readonly nodeID: string;
  readonly addresses: readonly string[];
  readonly online: boolean;
  /** RFC 3339; null: its key never expires. */
  readonly keyExpiry: string | null;
}

export interface TailnetMember {
  /** Its Tailscale IPv4 address. */
  readonly address: string;
  /** Its stable node ID. */
  readonly nodeID: string;
}

/** tailcfg.FilterRule, as far as packets go. A port range's IP may be an address, a prefix or `*`. */
export interface FilterRule {
  readonly SrcIPs: readonly string[];
  readonly DstPorts: readonly {
    readonly IP: string;
    readonly Ports: { readonly First: number; readonly Last: number };
  }[];
}

export interface Tailnet {
  /** The login server. */
  readonly url: string;
  /** The admin API; control/main.go describes it. Reachable from this machine. */
  readonly admin: string;
  nodes(): Promise<TailnetNode[]>;
  /** Installs and starts tailscaled on a host and logs it in; done when it is running. */
  join(host: LabHost): Promise<TailnetMember>;
  /** null: never. A time in the past logs the node out. */
  setKeyExpiry(name: string, expiry: Date | null): Promise<void>;
  /** The tailnet's ACL, enforced by every node on what comes in. null: everything passes. */
  setFilter(rules: readonly FilterRule[] | null): Promise<void>;
  /** tailcfg.NodeCapMap of one node. */
  setNodeCapabilities(
    name: string,
    capabilities: Readonly<Record<string, readonly unknown[]>>,
  ): Promise<void>;
  /** tailcfg.PeerCapMap that all nodes grant each other. */
  setAppCapabilities(capabilities: Readonly<Record<string, readonly unknown[]>>): Promise<void>;
  stop(): Promise<void>;
}

// After the unit file that Tailscale ships (cmd/tailscaled/tailscaled.service).
const unit = `[Unit]
Description=Tailscale node agent
After=network-pre.target
Wants=network-pre.target

[Service]
Type=notify
ExecStart=/usr/local/sbin/tailscaled --state=/var/lib/tailscale/tailscaled.state --socket=/run/tailscale/tailscaled.sock --port=41641 --no-logs-no-support
ExecStopPost=/usr/local/sbin/tailscaled --cleanup
Restart=on-failure
RuntimeDirectory=tailscale
StateDirectory=tailscale
StateDirectoryMode=0700
CacheDirectory=tailscale

[Install]
WantedBy=multi-user.target
`;

/** Starts the control server; cleanup() stops it. @param workDir gets its log, control.log */
export async function startTailnet(network: LabNetwork, workDir: string): Promise<Tailnet> {
  const { control } = labBinaries();
  const listen = `${network.hubAddress}:0`;
  const log = join(workDir, 'control.log');
  const command = ['nsenter', `--net=${network.hub}`, '--', control, '-listen', listen, '-admin', listen];
  // Its log goes to a file: what a process prints to us is kept in memory.
  const server = spawnBound('sh', ['-c', 'exec "$@" 2>"$0"', log, ...command]);
  const forget = onCleanup(stop);

  async function stop(): Promise<void> {
    forget();
    server.kill('SIGKILL'); // it keeps everything in memory
    await server;
  }

  const line = await Promise.race([
    new Promise<string>((resolve) => server.stdout.once('data', (data) => resolve(String(data)))),
    server.then((result) => {
      throw new Error(`the control server did not start: ${result.shortMessage}; see ${log}`);
    }),
  ]);
  const { url, admin } = JSON.parse(line) as { url: string; admin: string };

  async function post(path: string, body: unknown): Promise<void> {
    const response = await fetch(`${admin}${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`);
  }

  return {
    url,
    admin,
    async nodes() {
      return (await (await fetch(`${admin}/nodes`)).json()) as TailnetNode[];
    },
    async join(host) {
      await host.writeFile('/etc/systemd/system/tailscaled.service', unit);
      const install =
        'ln -sf /opt/tailscale/tailscaled /usr/local/sbin/ && ln -sf /opt/tailscale/tailscale /usr/local/bin/';
      await host.exec(['sh', '-c', install], { check: true });
      await host.exec(['systemctl', 'enable', '--now', '--quiet', 'tailscaled.service'], { check: true });
      const up = ['--accept-dns=false', '--netfilter-mode=off', `--hostname=${host.name}`, '--timeout=60s'];
      await host.exec(['tailscale', 'up', `--login-server=${url}`, ...up], { check: true, timeout: 90_000 });
      const { Self } = (await localApi(host, '/localapi/v0/status')) as {
        Self: { ID: string; TailscaleIPs: string[] };
      };
      const address = Self.TailscaleIPs.find((ip) => !ip.includes(':'));
      if (address === undefined) throw new Error(`${host.name} got no IPv4 address: ${Self.TailscaleIPs}`);
      return { address, nodeID: Self.ID };
    },
    setKeyExpiry: (name, expiry) =>
      post(`/nodes/${name}/key-expiry`, { expiry: expiry?.toISOString() ?? null }),
    setFilter: (rules) => post('/filter', { rules }),
    setNodeCapabilities: (name, capabilities) => post(`/nodes/${name}/capabilities`, capabilities),
    setAppCapabilities: (capabilities) => post('/app-capabilities', capabilities),
    stop,
  };
}

/** A connection to a host's tailscaled, by its socket in the host's own /run. */
function localClient(host: LabHost): Client {
  return new Client('http://local-tailscaled.sock', {
    socketPath: `${host.rootDir}/run/tailscale/tailscaled.sock`,
  });
}

/** A request to tailscaled's LocalAPI on a host; the answer's JSON. Throws unless it is 2xx. */
export async function localApi(
  host: LabHost,
  path: string,
  {
    method = 'GET',
    body,
    timeout = 30_000,
  }: { method?: 'GET' | 'POST' | 'PATCH'; body?: unknown; timeout?: number } = {},
): Promise<unknown> {
  const client = localClient(host);
  try {
    const response = await client.request({
      method,
      path,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeout),
    });
    const text = await response.body.text();
    if (response.statusCode >= 300)
      throw new Error(`${method} ${path} on ${host.name}: ${response.statusCode} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  } finally {
    await client.destroy();
  }
}

/** The way that a packet takes to a peer: directly, or through the DERP server. */
export interface PeerPath {
  readonly name: string;
  readonly address: string;
  readonly latencySeconds: number;
}

/**
 * Waits until a host knows each of these peers and has had an answer from it through
 * the tunnel (WireGuard, not the peer's own network stack: no ACL matters here). The
 * tunnel is then open in both directions.
 * @param timeout milliseconds, for all of it
 */
export async function waitForPeers(
  host: LabHost,
  names: readonly string[],
  timeout = 60_000,
): Promise<PeerPath[]> {
  const signal = AbortSignal.timeout(timeout);
  const addresses = await knownPeers(host, names, signal);
  const paths: PeerPath[] = [];
  for (const [name, address] of addresses) {
    const latencySeconds = await alone(async () => {
      // Disco first, which looks for a path and is sent anew by every call. WireGuard
      // tries a lost handshake again after five seconds only, so it gets a path that works.
      await pong(host, address, 'disco', signal);
      return pong(host, address, 'TSMP', signal);
    });
    paths.push({ name, address, latencySeconds });
  }
  return paths;
}

let last: Promise<unknown> = Promise.resolve();

/** One after the other: two ends that open a tunnel at the same moment wait five seconds for it. */
function alone<T>(run: () => Promise<T>): Promise<T> {
  const mine = last.then(run);
  last = mine.catch(() => undefined);
  return mine;
}

/** Pings a peer until it answers; the answer's latency in seconds. */
async function pong(
  host: LabHost,
  address: string,
  type: 'disco' | 'TSMP',
  signal: AbortSignal,
): Promise<number> {
  for (;;) {
    signal.throwIfAborted();
    // No answer within the time means that the ping got lost: tailscaled sends one a call.
    const path = `/localapi/v0/ping?ip=${address}&type=${type}`;
    const ping = localApi(host, path, { method: 'POST', timeout: type === 'disco' ? 500 : 10_000 });
    const result = (await ping.catch(() => undefined)) as
      | { Err?: string; LatencySeconds?: number }
      | undefined;
    if (result && !result.Err) return result.LatencySeconds ?? 0;
  }
}

/** Follows the IPN bus until the netmap has all of the peers: their names and addresses. */
async function knownPeers(
  host: LabHost,
  names: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const client = localClient(host);
  try {
    // 8: begin with the netmap as it is (ipn.NotifyInitialNetMap).
    const { body } = await client.request({
      method: 'GET',
      path: '/localapi/v0/watch-ipn-bus?mask=8',
      signal,
    });
    let text = '';
    for await (const chunk of body.setEncoding('utf8')) {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const peers = (JSON.parse(line) as Notify).NetMap?.Peers ?? [];
        const known = new Map<string, string>();
        for (const { Name, Addresses } of peers) {
          const name = Name.split('.')[0];
          const address = Addresses?.find((prefix) => prefix.endsWith('/32'));
          if (name && address && names.includes(name)) known.set(name, address.slice(0, -'/32'.length));
        }
        if (known.size === names.length) return known;
      }
    }
    throw new Error(`tailscaled on ${host.name} ended the watch before it knew ${names.join(', ')}`);
  } finally {
    await client.destroy();
  }
}

interface Notify {
  readonly NetMap?: {
    readonly Peers?: readonly { readonly Name: string; readonly Addresses?: readonly string[] }[];
  };
}
