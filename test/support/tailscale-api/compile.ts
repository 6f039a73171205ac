// A stand-in's compiler: from a policy file to the packet filter that its acls and grants amount to, over the devices
// of a tailnet (https://tailscale.com/kb/1337/policy-syntax). It knows accept rules with sources and destinations by
// address, prefix, host, group, tag, user and the simple autogroups, and refuses loudly what it doesn't: a rule that
// were dropped in silence would make a test pass for nothing.
import { BlockList, isIP } from 'node:net';

export interface Device {
  readonly name: string;
  readonly addresses: readonly string[];
  /** Login of its owner; a tagged device has none. */
  readonly user?: string;
  readonly tags?: readonly string[];
}

export interface Tailnet {
  readonly devices: readonly Device[];
  readonly users: readonly { readonly login: string; readonly role: 'owner' | 'admin' | 'member' }[];
}

/** tailcfg.FilterRule, as far as packets go. */
export interface FilterRule {
  readonly SrcIPs: readonly string[];
  readonly DstPorts: readonly {
    readonly IP: string;
    readonly Ports: { readonly First: number; readonly Last: number };
  }[];
}

/** What the server would say to somebody who wrote that. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
}

/** A rightful policy that this stand-in can't compile. */
export class NotKnown extends Error {
  override readonly name = 'NotKnown';
  constructor(what: string) {
    super(`this stand-in of Tailscale's API does not know ${what}: teach it in test/support/tailscale-api`);
  }
}

interface Rule {
  readonly action?: string;
  readonly proto?: string;
  readonly src?: readonly string[];
  readonly users?: readonly string[];
  readonly dst?: readonly string[];
  readonly ports?: readonly string[];
  readonly ip?: readonly string[];
}
export interface Policy {
  readonly hosts?: Readonly<Record<string, string>>;
  readonly groups?: Readonly<Record<string, readonly string[]>>;
  readonly tagOwners?: Readonly<Record<string, readonly string[]>>;
  readonly acls?: readonly Rule[];
  readonly grants?: readonly Rule[];
  readonly tests?: readonly Test[];
}
export interface Test {
  readonly src?: string;
  readonly user?: string;
  readonly accept?: readonly string[];
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}

/** The rest of https://tailscale.com/kb/1337/policy-syntax is taken, and enforces nothing here. */
const SECTIONS = new Set(
  'acls grants groups hosts tagOwners tests ssh sshTests nodeAttrs autoApprovers postures defaultSrcPosture ipsets disableIPv4 OneCGNATRoute randomizeClientPort derpMap'.split(
    ' ',
  ),
);
const RULE_FIELDS = new Set('action proto src users dst ports ip'.split(' '));

export class Compiler {
  readonly #policy: Policy;
  readonly #tailnet: Tailnet;

  /** @throws PolicyError for names that nobody defined */
  constructor(policy: Policy, tailnet: Tailnet) {
    for (const section of Object.keys(policy)) {
      if (!SECTIONS.has(section)) throw new PolicyError(`unknown field "${section}"`);
    }
    this.#policy = policy;
    this.#tailnet = tailnet;
  }

  /** A policy without acls and grants lets everything pass (https://tailscale.com/kb/1337/policy-syntax#acls). */
  rules(): FilterRule[] {
    const { acls, grants } = this.#policy;
    if (acls === undefined && grants === undefined)
      return [{ SrcIPs: ['*'], DstPorts: [{ IP: '*', Ports: ALL }] }];
    return [
      ...(acls ?? []).flatMap((rule) => this.#rule(rule, (rule.dst ?? rule.ports ?? []).map(splitPorts))),
      ...(grants ?? []).flatMap((rule) =>
        this.#rule(
          { action: 'accept', ...rule },
          (rule.dst ?? []).flatMap((target) => (rule.ip ?? []).map((ports) => ({ target, ports }))),
        ),
      ),
    ];
  }

  /** Runs the policy's tests. @returns as the API's `data` has it; [] when all hold */
  failures(tests: readonly Test[] = this.#policy.tests ?? []): { user: string; errors: string[] }[] {
    const rules = this.rules();
    return tests.flatMap((test) => {
      const user = test.src ?? test.user ?? '';
      const sources = this.#addresses(user, 'src');
      const errors: string[] = [];
      const expect = (destination: string, want: 'Accept' | 'Drop'): void => {
        const { target, ports } = splitPorts(destination);
        const pairs = this.#addresses(target, 'dst').flatMap((to) =>
          sources.map((from) => [from, to] as const),
        );
        const passes = pairs.map(([from, to]) => isAllowed(rules, from, to, portRanges(ports)[0]!.First));
        const right = pairs.length > 0 && passes.every((p) => p === (want === 'Accept'));
        const got = want === 'Accept' ? 'Drop' : 'Accept';
        if (!right) errors.push(`address "${destination}": want: ${want}, got: ${got}`);
      };
      for (const destination of test.accept ?? test.allow ?? []) expect(destination, 'Accept');
      for (const destination of test.deny ?? []) expect(destination, 'Drop');
      return errors.length === 0 ? [] : [{ user, errors }];
    });
  }

  #rule(rule: Rule, destinations: readonly { target: string; ports: string }[]): FilterRule[] {
    for (const field of Object.keys(rule))
      if (!RULE_FIELDS.has(field)) throw new NotKnown(`"${field}" in a rule`);
    if (rule.action !== 'accept') throw new PolicyError(`action="${rule.action ?? ''}" is not supported`);
    if (rule.proto !== undefined) throw new NotKnown('"proto"');
    const sources = rule.src ?? rule.users ?? [];
    const filter: FilterRule[] = [];
    const others = destinations.filter(({ target }) => target !== 'autogroup:self');
    if (others.length > 0) {
      filter.push({
        SrcIPs: sources.flatMap((source) => this.#addresses(source, 'src')),
        DstPorts: others.flatMap(({ target, ports }) => this.#ports(this.#addresses(target, 'dst'), ports)),
      });
    }
    // To the devices of whoever comes: one rule a user.
    for (const { ports } of destinations.filter(({ target }) => target === 'autogroup:self')) {
      for (const { login } of this.#tailnet.users) {
        const own = this.#devices((device) => device.user === login);
        const from = sources
          .flatMap((s) => this.#addresses(s, 'src'))
          .filter((ip) => ip === '*' || own.includes(ip));
        const SrcIPs = from.includes('*') ? own : from;
        if (SrcIPs.length > 0) filter.push({ SrcIPs, DstPorts: this.#ports(own, ports) });
      }
    }
    return filter;
  }

  #ports(addresses: readonly string[], ports: string): FilterRule['DstPorts'][number][] {
    return addresses.flatMap((IP) => portRanges(ports).map((Ports) => ({ IP, Ports })));
  }

  /** Addresses and prefixes that a name of the policy stands for. */
  #addresses(name: string, where: 'src' | 'dst'): string[] {
    const { hosts = {}, groups = {}, tagOwners = {} } = this.#policy;
    if (name === '*') return ['*'];
    if (isAddress(name)) return [name];
    if (name in hosts) return [hosts[name]!];
    if (name.startsWith('tag:')) {
      if (!(name in tagOwners)) throw new PolicyError(`tag not found: "${name}"`);
      return this.#devices((device) => device.tags?.includes(name) === true);
    }
    if (name.startsWith('group:')) {
      const members = groups[name];
      if (members === undefined) throw new PolicyError(`group not found: "${name}"`);
      return this.#devices(({ user }) => user !== undefined && members.includes(user));
    }
    if (name.startsWith('autogroup:')) return this.#autogroup(name, where);
    if (name.includes('@')) {
      if (!this.#tailnet.users.some(({ login }) => login === name))
        throw new PolicyError(`user not found: "${name}"`);
      return this.#devices(({ user }) => user === name);
    }
    throw new PolicyError(`${where}="${name}": host not found`);
  }

  #autogroup(name: string, where: 'src' | 'dst'): string[] {
    const having = (...roles: string[]): string[] => {
      const logins = this.#tailnet.users.filter(({ role }) => roles.includes(role)).map(({ login }) => login);
      return this.#devices(({ user }) => user !== undefined && logins.includes(user));
    };
    switch (name) {
      case 'autogroup:member':
        return having('owner', 'admin', 'member');
      case 'autogroup:admin':
        return having('admin');
      case 'autogroup:owner':
        return having('owner');
      case 'autogroup:tagged':
        return this.#devices(({ tags }) => (tags?.length ?? 0) > 0);
      default:
        throw new NotKnown(`${name} as a ${where}`);
    }
  }

  #devices(which: (device: Device) => boolean): string[] {
    return this.#tailnet.devices.filter(which).flatMap(({ addresses }) => addresses);
  }
}

const ALL = { First: 0, Last: 65_535 };

function isAddress(text: string): boolean {
  const [address, bits, ...rest] = text.split('/');
  return isIP(address!) !== 0 && rest.length === 0 && (bits === undefined || /^\d{1,3}$/.test(bits));
}

function splitPorts(text: string): { target: string; ports: string } {
  const at = text.lastIndexOf(':');
  const ports = text.slice(at + 1);
  if (at < 1 || !/^(?:\*|\d[\d,-]*)$/.test(ports))
    throw new PolicyError(`dst="${text}": port range is missing`);
  return { target: text.slice(0, at), ports };
}

function portRanges(text: string): { First: number; Last: number }[] {
  if (text === '*') return [ALL];
  return text.split(',').map((part) => {
    const match = /^(?:tcp:|udp:)?(\d+)(?:-(\d+))?$/.exec(part);
    if (match === null) throw new PolicyError(`invalid port list: "${text}"`);
    if (part.includes(':')) throw new NotKnown(`the protocol in "${part}"`);
    return { First: Number(match[1]), Last: Number(match[2] ?? match[1]) };
  });
}

/** Whether a packet from one address to a port of another passes. */
export function isAllowed(rules: readonly FilterRule[], from: string, to: string, port: number): boolean {
  return rules.some(
    ({ SrcIPs, DstPorts }) =>
      SrcIPs.some((range) => contains(range, from)) &&
      DstPorts.some(({ IP, Ports }) => contains(IP, to) && Ports.First <= port && port <= Ports.Last),
  );
}

/** Of a prefix that is asked about, its first address is. */
function contains(range: string, address: string): boolean {
  if (range === '*') return true;
  const [one] = address.split('/');
  if (!range.includes('/')) return range === one;
  const [network, bits] = range.split('/');
  const list = new BlockList();
  const family = isIP(network!) === 6 ? 'ipv6' : 'ipv4';
  list.addSubnet(network!, Number(bits), family);
  return list.check(one!, isIP(one!) === 6 ? 'ipv6' : 'ipv4');
}
