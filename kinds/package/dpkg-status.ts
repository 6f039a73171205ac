// What dpkg knows of a package, from its own file, so that looking costs no process (dpkg(1), deb822(5)).
import { Stalled } from '../../api/errors.ts';
import type { Files } from '../ports.ts';

export const STATUS = '/var/lib/dpkg/status';

export interface Installed {
  readonly version: string;
  /** What was asked of dpkg: 'install', 'hold', … */
  readonly want: string;
  /** 'installed', or where it stopped: 'unpacked', 'half-configured', … */
  readonly state: string;
  /** 'ok', or 'reinstreq' for a package that is broken. */
  readonly flag: string;
  readonly architecture: string;
}

/**
 * @returns undefined when it is not there, or only its configuration is.
 * @throws Stalled('NoDpkg') on a host without dpkg.
 */
export function readPackage(files: Files, name: string): Installed | undefined {
  const status = files.read(STATUS);
  if (status.type !== 'file')
    throw new Stalled('NoDpkg', `there is no ${STATUS}: packages are for Debian and its descendants`);
  const found = stanzas(status.content, name);
  // What dpkg had written down and not yet merged when it was cut off is newer.
  for (let i = 0; ; i++) {
    const entry = files.read(`/var/lib/dpkg/updates/${String(i).padStart(4, '0')}`);
    if (entry.type !== 'file') break;
    found.push(...stanzas(entry.content, name));
  }
  const byArchitecture = new Map(found.map((installed) => [installed.architecture, installed]));
  const all = [...byArchitecture.values()].filter(
    ({ state }) => !['not-installed', 'config-files'].includes(state),
  );
  // Where several are installed, the host's own comes first; dpkg itself is always of that.
  const native = all.length > 1 ? stanzas(status.content, 'dpkg')[0]?.architecture : undefined;
  return all.find(({ architecture }) => architecture === native) ?? all[0];
}

/** Where dpkg is told to leave files out (path-exclude), as slim images do; nothing runs from there. */
const MAY_BE_LEFT_OUT = /^\/usr\/share\/(doc|man|info|locale|lintian|linda|groff)\//;
const MOST_FILES = 2_000;

/** Files of an installed package that are not there, its configuration files aside: dpkg does not notice. */
export function missingFiles(
  files: Files,
  { name, architecture }: { name: string; architecture: string },
): string[] {
  const linesOf = (kind: string): string[] => {
    for (const base of [name, `${name}:${architecture}`]) {
      const state = files.read(`/var/lib/dpkg/info/${base}.${kind}`);
      if (state.type === 'file') return state.content.toString().split('\n').filter(Boolean);
    }
    return [];
  };
  const configuration = new Set(linesOf('conffiles').map((line) => line.split(' ').at(-1)));
  return linesOf('list')
    .slice(0, MOST_FILES)
    .filter((file) => !MAY_BE_LEFT_OUT.test(file) && !configuration.has(file) && file !== '/.')
    .filter((file) => !files.exists(file));
}

function stanzas(content: Buffer, name: string): Installed[] {
  const found: Installed[] = [];
  const first = `Package: ${name}\n`;
  for (let at = content.indexOf(first); at >= 0; at = content.indexOf(first, at + 1)) {
    if (at > 0 && content[at - 1] !== 0x0a) continue;
    const end = content.indexOf('\n\n', at);
    const text = content.toString('utf8', at, end < 0 ? content.length : end);
    const field = (key: string) => new RegExp(`^${key}: *(.*)$`, 'm').exec(text)?.[1]?.trim() ?? '';
    const [want = '', flag = '', state = ''] = field('Status').split(' ');
    found.push({ version: field('Version'), want, flag, state, architecture: field('Architecture') });
  }
  return found;
}
