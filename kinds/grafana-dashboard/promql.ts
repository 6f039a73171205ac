// As much of PromQL as is needed to say why a query returns nothing: which metrics it asks for, and by which
// labels. No parser: what is not understood is left out of the explanation. Pure.

interface Matcher {
  readonly label: string;
  readonly operator: '=' | '!=' | '=~' | '!~';
  readonly value: string;
}

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly Matcher[];
}

const WORDS = new Set(
  'and or unless by without on ignoring group_left group_right bool offset start end inf nan'.split(' '),
);

/** The metrics of a query whose variables are filled in, each with its matchers. */
export function selectorsOf(query: string): Selector[] {
  const selectors: Selector[] = [];
  // Grouping lists hold labels, not metrics.
  const text = query.replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/gi, ' ');
  const token = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\[[^\]]*\]|\{|[a-zA-Z_:][a-zA-Z0-9_:]*|\d[\w.]*/g;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [word] = match;
    if (word === '{') {
      // A selector without a name: its braces hold no metrics.
      token.lastIndex = closing(text, match.index) + 1;
      continue;
    }
    if (!/^[a-zA-Z_:]/.test(word) || WORDS.has(word.toLowerCase())) continue;
    const rest = text.slice(token.lastIndex);
    if (/^\s*\(/.test(rest)) continue; // a function, or an aggregation
    const brace = /^\s*\{/.exec(rest);
    let matchers: Matcher[] = [];
    if (brace !== null) {
      const open = token.lastIndex + brace[0].length - 1;
      const close = closing(text, open);
      matchers = matchersIn(text.slice(open + 1, close));
      token.lastIndex = close + 1;
    }
    selectors.push({ metric: word, matchers });
  }
  return selectors;
}

/** Where the brace at `open` closes, strings skipped; the end of the text, when it never does. */
function closing(text: string, open: number): number {
  const token = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\}/g;
  token.lastIndex = open + 1;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[0] === '}') return match.index;
  }
  return text.length;
}

function matchersIn(text: string): Matcher[] {
  const matcher = /([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')/g;
  return [...text.matchAll(matcher)].map((m) => ({
    label: m[1]!,
    operator: m[2] as Matcher['operator'],
    value: m[3]!.slice(1, -1),
  }));
}

/** Prefixes of node_exporter's metrics and the collectors that make them; the longest prefix counts. */
const COLLECTORS: Readonly<Record<string, string>> = {
  node_arp_: 'arp',
  node_boot_time: 'stat',
  node_bonding_: 'bonding',
  node_context_switches: 'stat',
  node_cooling_device_: 'thermal_zone',
  node_cpu_: 'cpu',
  node_cpu_scaling_: 'cpufreq',
  node_disk_: 'diskstats',
  node_edac_: 'edac',
  node_entropy_: 'entropy',
  node_filefd_: 'filefd',
  node_filesystem_: 'filesystem',
  node_forks: 'stat',
  node_hwmon_: 'hwmon',
  node_interrupts: 'interrupts',
  node_intr: 'stat',
  node_load: 'loadavg',
  node_memory_: 'meminfo',
  node_netstat_: 'netstat',
  node_network_: 'netclass',
  node_network_receive_: 'netdev',
  node_network_transmit_: 'netdev',
  node_nf_conntrack: 'conntrack',
  node_power_supply_: 'powersupplyclass',
  node_pressure_: 'pressure',
  node_processes_: 'processes',
  node_procs_: 'stat',
  node_schedstat_: 'schedstat',
  node_sockstat_: 'sockstat',
  node_softnet_: 'softnet',
  node_systemd_: 'systemd',
  node_tcp_: 'tcpstat',
  node_textfile_: 'textfile',
  node_thermal_zone_: 'thermal_zone',
  node_time: 'time',
  node_timex_: 'timex',
  node_uname_: 'uname',
  node_vmstat_: 'vmstat',
};

/** The collector of node_exporter (and prometheus.exporter.unix) behind a metric, if it is known. */
export function collectorOf(metric: string): string | undefined {
  const prefixes = Object.keys(COLLECTORS).filter((prefix) => metric.startsWith(prefix));
  prefixes.sort((a, b) => b.length - a.length);
  return prefixes[0] === undefined ? undefined : COLLECTORS[prefixes[0]];
}
