/**
 * Where the programs are that scripts/system-packages.sh builds for the lab. The
 * names are that script's: change them together.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** The checkout that the lab runs from. */
export const repo: string = resolve(import.meta.dirname, '../..');

const tailscaleVersion = 'v1.98.9';

export interface LabBinaries {
  /** Everything below is in here. */
  readonly cache: string;
  /** Holds `tailscaled` and `tailscale`, and nothing else. */
  readonly tailscaleDirectory: string;
  readonly control: string;
}

/** The paths at which the programs belong, whether they are there or not. */
export function labBinaries(env: NodeJS.ProcessEnv = process.env): LabBinaries {
  const cache =
    env['HOMEOSTAT_LAB_CACHE'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'homeostat-lab');
  const sources = createHash('sha256');
  for (const name of ['main.go', 'go.mod', 'go.sum']) {
    sources.update(readFileSync(join(import.meta.dirname, 'control', name)));
  }
  return {
    cache,
    tailscaleDirectory: join(cache, `tailscale-${tailscaleVersion}`),
    control: join(cache, `control-${sources.digest('hex').slice(0, 16)}`, 'control'),
  };
}
