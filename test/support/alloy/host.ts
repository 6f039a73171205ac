/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): a handful of
 * prometheus.exporter.unix's metrics, read from procfs. Real Alloy sends about 310 of them.
 */
import { readFileSync, statfsSync } from 'node:fs';
import { hostname, machine, release, type, version } from 'node:os';
import { join } from 'node:path';
import type { Labels } from './metrics.ts';

export interface Reading {
  name: string;
  labels: Labels;
  value: number;
}

export interface HostPaths {
  procfs: string;
  rootfs: string;
}

type Collector = (read: (file: string) => string[], paths: HostPaths) => Reading[];

const USER_HZ = 100;

function reading(name: string, value: number, labels: Labels = {}): Reading {
  return { name, labels, value };
}

const collectors: Record<string, Collector> = {
  uname: () => [
    reading('node_uname_info', 1, {
      domainname: '(none)',
      machine: machine(),
      nodename: hostname(),
      release: release(),
      sysname: type(),
      version: version(),
    }),
  ],
  loadavg: (read) => {
    const [one, five, fifteen] = (read('loadavg')[0] ?? '').split(' ').map(Number);
    return [
      reading('node_load1', one ?? 0),
      reading('node_load5', five ?? 0),
      reading('node_load15', fifteen ?? 0),
    ];
  },
  meminfo: (read) =>
    read('meminfo')
      .map((line) => /^(MemTotal|MemFree|MemAvailable|Cached|SwapTotal|SwapFree):\s+(\d+) kB/.exec(line))
      .filter((match) => match !== null)
      .map(([, name, kib]) => reading(`node_memory_${name}_bytes`, Number(kib) * 1024)),
  cpu: (read) =>
    read('stat').flatMap((line) => {
      const match = /^cpu(\d+) (\d+) (\d+) (\d+) (\d+) (\d+)/.exec(line);
      if (!match) return [];
      const modes = ['user', 'nice', 'system', 'idle', 'iowait'];
      return modes.map((mode, index) => {
        const seconds = Number(match[index + 2]) / USER_HZ;
        return reading('node_cpu_seconds_total', seconds, { cpu: match[1]!, mode });
      });
    }),
  netdev: (read) =>
    read('net/dev').flatMap((line) => {
      const match = /^\s*([^\s:]+):\s*(\d+)(?:\s+\d+){7}\s+(\d+)/.exec(line);
      if (!match) return [];
      const device = match[1]!;
      return [
        reading('node_network_receive_bytes_total', Number(match[2]), { device }),
        reading('node_network_transmit_bytes_total', Number(match[3]), { device }),
      ];
    }),
  diskstats: (read) =>
    read('diskstats').flatMap((line) => {
      const field = line.trim().split(/\s+/);
      if (!field[2] || /^(ram|loop|fd)\d/.test(field[2])) return [];
      return [reading('node_disk_read_bytes_total', Number(field[5]) * 512, { device: field[2] })];
    }),
  filesystem: (_, { rootfs }) => {
    const { bsize, blocks, bavail } = statfsSync(rootfs);
    const labels = { device: 'rootfs', fstype: 'rootfs', mountpoint: '/' };
    return [
      reading('node_filesystem_size_bytes', blocks * bsize, labels),
      reading('node_filesystem_avail_bytes', bavail * bsize, labels),
    ];
  },
  processes: (read) => [reading('node_processes_threads', threads(read('loadavg')[0]))],
};

function threads(loadavg = ''): number {
  return Number(/\/(\d+) /.exec(loadavg)?.[1] ?? 0);
}

/** Every collector answers for itself: node_scrape_collector_success tells which could not. */
export function readHost(names: string[] | undefined, paths: HostPaths): Reading[] {
  const wanted = names ?? Object.keys(collectors);
  const read = (file: string): string[] => readFileSync(join(paths.procfs, file), 'utf8').trim().split('\n');
  return wanted.flatMap((collector) => {
    let readings: Reading[] = [];
    let success = 1;
    try {
      readings = collectors[collector]?.(read, paths) ?? [];
    } catch {
      success = 0;
    }
    return [...readings, reading('node_scrape_collector_success', success, { collector })];
  });
}

/** Reads Prometheus' text form, for targets that are scraped over HTTP. */
export function parseExposition(text: string): Reading[] {
  return text.split('\n').flatMap((line) => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) return [];
    const pairs = [...(match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    const labels = Object.fromEntries(
      pairs.map(([, name, value]) => [name!, value!.replace(/\\n/g, '\n').replace(/\\(.)/g, '$1')]),
    );
    return [reading(match[1]!, Number(match[3]!.replace('Inf', 'Infinity')), labels)];
  });
}
