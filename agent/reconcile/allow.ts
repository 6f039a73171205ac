// The agent's answer to what a manifest asks for. Closed by default; pure.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import type { Ask } from '../../kinds/kind.ts';
import type { AllowList } from '../config.ts';

/** @throws Stalled('NotAllowed') that names everything that is missing from the allow-list, at once. */
export function requireAllowed(kind: string, asks: readonly Ask[], allow: AllowList): void {
  const refused: string[] = [];
  if (!matches(allow.kinds, kind)) refused.push(`kind ${kind} (allow.kinds)`);
  for (const ask of asks) {
    if (!isAllowed(ask, allow)) {
      refused.push(
        `${ask.type} ${ask.value} (allow.${LISTS[ask.type]}${ask.why === undefined ? '' : `; ${ask.why}`})`,
      );
    }
  }
  if (refused.length === 0) return;
  throw new Stalled('NotAllowed', `this host's agent does not allow: ${refused.join('; ')}`);
}

const LISTS = {
  path: 'paths',
  unit: 'units',
  exec: 'exec',
  user: 'users',
  tailscale: 'tailscale',
  image: 'images',
  mount: 'mounts',
  capability: 'capabilities',
  package: 'packages',
  url: 'urls',
  secret: 'secrets',
  'root-equivalent': 'rootEquivalent',
} as const satisfies Record<Ask['type'], keyof AllowList>;

export function isAllowed(ask: Ask, allow: AllowList): boolean {
  if (ask.type === 'path') return pathAllowed(ask.value, allow.paths);
  const isPath = ask.value.startsWith('/') && (ask.type === 'mount' || ask.type === 'secret');
  if (isPath) return pathAllowed(ask.value, allow[LISTS[ask.type]]);
  return matches(allow[LISTS[ask.type]], ask.value);
}

/** Whether a path is one of the listed, or below a listed directory. */
export function pathAllowed(asked: string, prefixes: readonly string[]): boolean {
  const normal = path.normalize(asked);
  return prefixes.some((prefix) => {
    const bare = prefix.length > 1 && prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
    return normal === bare || normal.startsWith(bare === '/' ? '/' : `${bare}/`);
  });
}

function matches(patterns: readonly string[], value: string): boolean {
  return patterns.some((pattern) => {
    if (!pattern.includes('*')) return pattern === value;
    const [first, ...rest] = pattern.split('*');
    if (!value.startsWith(first!)) return false;
    let at = first!.length;
    for (const [i, part] of rest.entries()) {
      const found = i === rest.length - 1 ? value.length - part.length : value.indexOf(part, at);
      if (found < at || !value.startsWith(part, found)) return false;
      at = found + part.length;
    }
    return true;
  });
}
