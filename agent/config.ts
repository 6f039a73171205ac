// The agent's own configuration: who it is, whom it trusts and what a manifest may do on this host. It is not
// part of what the controller sends: a controller that is taken over gets no further than this file allows.
// JSON, so that the agent needs no YAML at run time; `homeostat enroll` writes it.
import fs from 'node:fs';
import path from 'node:path';
import * as z from 'zod';
import { Name } from '../api/documents.ts';
import { inWords } from '../api/errors.ts';
import { jsonMistake, mistakesIn } from '../api/mistakes.ts';

/** Everything is closed that is not listed. */
export const AllowList = z.strictObject({
  kinds: z.array(z.string()).default([]),
  /** One path (`/etc/motd`), or a directory with everything below it, which ends in a slash (`/etc/alloy/`). */
  paths: z.array(z.string().startsWith('/')).default([]),
  /** Unit names; `*` matches any run of characters, as in `alloy*.service`. */
  units: z.array(z.string()).default([]),
  /** Programs that a unit may run. */
  exec: z.array(z.string()).default([]),
  users: z.array(z.string()).default([]),
  /** Tailscale preferences, as `RunWebClient`. */
  tailscale: z.array(z.string()).default([]),
  /** Container images, as `grafana/alloy:*`. */
  images: z.array(z.string()).default([]),
  /**
   * What containers may see of this host: a path or a volume, with its mode: `/var/log:ro`, `data:rw`. Without a mode it
   * is ro. A directory that ends in a slash is granted with everything below it (`/srv/app/:rw`), but `/` is itself only;
   * `*` alone is everything.
   */
  mounts: z.array(z.string()).default([]),
  /** What containers may do beyond the engine's default, as `network:host`. */
  capabilities: z.array(z.string()).default([]),
  /** Packages, and repositories as `repository:https://apt.grafana.com`. */
  packages: z.array(z.string()).default([]),
  /** Origins of APIs that are written to or asked with a secret, as `http://127.0.0.1:3000`. */
  urls: z.array(z.string()).default([]),
  /** Secrets that manifests may use: files as in `paths`, `env:NAME`, `credential:NAME`, `age`. */
  secrets: z.array(z.string()).default([]),
  /** What amounts to root, each named in words as the refusal names it; `*` grants all of it. */
  rootEquivalent: z.array(z.string()).default([]),
});
export type AllowList = z.infer<typeof AllowList>;

/** For sandboxes and tests, where nothing is to be protected. */
export const ALLOW_EVERYTHING: AllowList = AllowList.parse(
  Object.fromEntries(
    Object.keys(AllowList.shape).map((list) => [list, list === 'paths' ? ['/'] : ['/', '*']]),
  ),
);

function isAddressAndPort(text: string): boolean {
  const port = /^\S+:(\d{1,5})$/.exec(text)?.[1];
  return port !== undefined && Number(port) <= 65_535;
}

export const DEFAULT_AGE_IDENTITY = '/etc/homeostat/age.key';

export const AgentConfig = z.strictObject({
  host: Name,
  /** Base URL of the controller; without one the agent keeps what it last knew. */
  controller: z
    .url({
      protocol: /^https?$/,
      error:
        'write the controller’s URL as text, with http:// or https:// before it, as "http://100.64.0.4:8420"',
    })
    .optional(),
  /** Base64 raw Ed25519 keys, any of which may sign bundles. */
  trustedKeys: z.array(z.string()).default([]),
  stateDir: z.string().startsWith('/').default('/var/lib/homeostat'),
  /** The agent's private key; default: agent.key in stateDir. */
  keyFile: z.string().optional(),
  /** The host's age identity, with which `secretFrom: age` is decrypted; only its owner and group may read it. */
  ageIdentity: z.string().startsWith('/').default(DEFAULT_AGE_IDENTITY),
  /** Unix socket for the CLI. */
  socket: z.string().startsWith('/').default('/run/homeostat/agent.sock'),
  /** Where /metrics, /healthz and /readyz are served. */
  listen: z
    .string()
    .refine(isAddressAndPort, 'write address:port, as "127.0.0.1:9465"')
    .default('127.0.0.1:9465'),
  /** Names with dots by which it may be called there, beside its addresses. */
  names: z.array(z.string()).default([]),
  /** All files are looked for below this directory: sandboxes only. */
  root: z.string().startsWith('/').optional(),
  resyncSeconds: z.number().positive().default(600),
  /** An agent that takes more memory than this ends in order, and is started anew; many times what it needs. */
  memoryCeilingMiB: z.number().int().min(128).default(512),
  tailscaleSockets: z.array(z.string()).optional(),
  /** The Docker engine, as in DOCKER_HOST, which is the default, and after it unix:///var/run/docker.sock. */
  dockerHost: z
    .string()
    .regex(/^(?:unix:\/\/\/|tcp:\/\/[^/]+:\d+\/?$)/, 'write unix:///path of a socket, or tcp://address:port')
    .optional(),
  allow: AllowList.prefault({}),
});
export type AgentConfig = z.infer<typeof AgentConfig>;

export const DEFAULT_CONFIG_FILE = '/etc/homeostat/agent.json';

/**
 * Paths of what is the agent's own, and never a manifest's, whatever is granted; as manifests name them, so below
 * `root` in a sandbox. Where one of them is reached through links, the place that these lead to as well.
 * @param file that the configuration was read from.
 */
export function ownPaths(config: AgentConfig, file = DEFAULT_CONFIG_FILE): string[] {
  const { stateDir, keyFile, ageIdentity, socket } = config;
  return inRoot(config, [stateDir, ageIdentity, socket, file, ...(keyFile === undefined ? [] : [keyFile])]);
}

/** Where systemd looks for unit files (systemd.unit(5)). */
const UNIT_DIRECTORIES = [
  ...[
    '/etc/systemd/system',
    '/etc/systemd/system.control',
    '/run/systemd/system',
    '/run/systemd/system.control',
  ],
  ...[
    '/run/systemd/transient',
    '/usr/local/lib/systemd/system',
    '/usr/lib/systemd/system',
    '/lib/systemd/system',
  ],
];

/** Units that run the agent, whatever is granted: who writes or stops one is no longer kept from anything. */
export const AGENT_UNIT = 'homeostat-agent.service';

/**
 * What runs the agent: its program, and the files of its units with all directories of drop-ins that count for them.
 * @param programs paths of what this process runs
 */
export function ownPrograms(
  config: AgentConfig,
  units: readonly string[],
  programs: readonly string[],
): string[] {
  const files = units.flatMap((unit) => {
    const [name, type] = [unit.replace(/\.[a-z]+$/, ''), unit.replace(/^.*\./, '')];
    const prefixes = [...name.matchAll(/-/g)].map(({ index }) => name.slice(0, index + 1));
    const dropIns = [name, ...prefixes].map((prefix) => `${prefix}.${type}.d`);
    return UNIT_DIRECTORIES.flatMap((directory) =>
      [unit, ...dropIns, `${type}.d`].map((entry) => path.join(directory, entry)),
    );
  });
  return inRoot(config, [...programs, ...files]);
}

function inRoot({ root }: AgentConfig, paths: readonly string[]): string[] {
  const all = [...new Set(paths.flatMap((own) => [path.normalize(own), realPlace(own)]))];
  if (root === undefined) return all;
  const inside = `${root.replace(/\/+$/, '')}/`;
  return all.filter((own) => own.startsWith(inside)).map((own) => own.slice(inside.length - 1));
}

/** As far as it is there, where links lead; the rest as it is named. */
function realPlace(file: string): string {
  const { dir, base } = path.parse(path.resolve(file));
  try {
    return fs.realpathSync(path.resolve(file));
  } catch {
    return base === '' ? dir : path.join(realPlace(dir), base);
  }
}

const FIELDS = [...Object.keys(AgentConfig.shape), ...Object.keys(AllowList.shape)];

/** @throws Error that says what is wrong with the file, and what would be right. */
export function readAgentConfig(file: string): AgentConfig {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(
      `the agent's configuration ${file} can't be read: ${inWords(error)}; \`homeostat enroll\` writes one`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`the agent's configuration ${file} is not JSON: ${jsonMistake(text, error)}`);
  }
  const parsed = AgentConfig.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Error(`the agent's configuration ${file} is wrong:\n${mistakesIn(parsed.error, value, FIELDS)}`);
}

/** Mode 0600: the file says what may be done on the host. */
export function writeAgentConfig(file: string, config: z.input<typeof AgentConfig>): void {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
  fs.writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
}
