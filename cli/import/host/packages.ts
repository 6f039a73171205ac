// Packages of the monitoring stack that dpkg has installed. Which repository they came from is only told: what apt
// was told by hand can have any form, and is better written anew (kind AptRepository).
import type { Files } from '../../../kinds/ports.ts';
import { type Draft, type Gathered, NOTHING, nameFor } from './draft.ts';

const USUAL_PACKAGES = [
  'alloy',
  'promtail',
  'fluent-bit',
  'grafana-agent',
  'prometheus-node-exporter',
  'tailscale',
];
const STATUS = '/var/lib/dpkg/status';
const SOURCES = /apt\.grafana\.com|packages\.fluentbit\.io|pkgs\.tailscale\.com/;

export function gatherPackages(host: string, files: Files, listed: readonly string[]): Gathered {
  const status = files.read(STATUS);
  if (status.type !== 'file') return NOTHING;
  const drafts = parse(status.content.toString('utf8'))
    .filter(({ name, installed }) => installed && USUAL_PACKAGES.includes(name))
    .map(
      ({ name, version, held }): Draft => ({
        kind: 'Package',
        name: nameFor(name, host),
        file: `${host}/packages.yaml`,
        hosts: [host],
        spec: { name, ...(held ? { hold: true } : {}) },
        remarks: [
          `Installed is ${version}; version: "${version}" would keep it there, version: latest follows the repository.`,
        ],
      }),
    );
  const sources = listed.filter((file) => {
    const found = files.read(file);
    return found.type === 'file' && SOURCES.test(found.content.toString('utf8'));
  });
  const notes = sources.map(
    (file) =>
      `${file} names a repository: an AptRepository document would keep it, with its key by fingerprint`,
  );
  return { drafts, notes };
}

interface Installed {
  readonly name: string;
  readonly version: string;
  readonly installed: boolean;
  readonly held: boolean;
}

/** dpkg's status file: stanzas of `Field: value`, deb-control(5). */
function parse(status: string): Installed[] {
  return status.split(/\n\n+/).map((stanza) => {
    const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? '';
    const [wanted = '', , state = ''] = field('Status').split(' ');
    return {
      name: field('Package'),
      version: field('Version'),
      installed: state === 'installed',
      held: wanted === 'hold',
    };
  });
}
