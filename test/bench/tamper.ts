// Tampering with a managed file, 50 ms apart: how long until it is as the manifest says again, and whether it always
// is. The tamperer asks without a pause, in another process than the agent, and counts from just before it tampers.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Resource } from '../../api/bundle.ts';
import { percentile, type Row } from './statistics.ts';

const CONTENT = `${'homeostat keeps this line\n'.repeat(160)}`; // 4 KiB
const APART_MS = 50;
const LOST_AFTER_MS = 5000;

const TAMPERINGS: Readonly<Record<string, (p: string) => void>> = {
  write: (p) => fs.writeFileSync(p, 'tampered'),
  truncate: (p) => fs.truncateSync(p),
  delete: (p) => fs.unlinkSync(p),
  replace: (p) => {
    fs.writeFileSync(`${p}.other`, 'replaced');
    fs.renameSync(`${p}.other`, p);
  },
  chmod: (p) => fs.chmodSync(p, 0o777),
};

function isRight(p: string): boolean {
  try {
    return (fs.statSync(p).mode & 0o777) === 0o644 && fs.readFileSync(p, 'utf8') === CONTENT;
  } catch {
    return false;
  }
}

async function healed(p: string): Promise<number | undefined> {
  const began = performance.now();
  while (!isRight(p)) {
    if (performance.now() - began > LOST_AFTER_MS) return undefined;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return performance.now() - began;
}

/** @param managed how many files the agent keeps; one of them is tampered with. */
export async function tamper(rounds: number, managed: number): Promise<Row[]> {
  const directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-bench-')));
  const root = path.join(directory, 'root');
  fs.mkdirSync(root);
  const resources: Resource[] = Array.from({ length: managed }, (_, i) => ({
    kind: 'File',
    name: `f${i}`,
    dependsOn: [],
    drift: 'enforce',
    prune: 'delete',
    suspend: false,
    spec: { path: `/managed/f${i}`, content: CONTENT },
    source: 'bench:1',
  }));
  const manifest = path.join(directory, 'manifest.json');
  fs.writeFileSync(manifest, JSON.stringify(resources));
  const child = spawn(
    process.execPath,
    [path.join(import.meta.dirname, 'agent-process.ts'), directory, manifest],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  try {
    await once(child.stdout, 'data');
    const file = path.join(root, 'managed', `f${Math.floor(managed / 2)}`);
    const rows: Row[] = [];
    const all: number[] = [];
    let lost = 0;
    for (const [name, tamperWith] of Object.entries(TAMPERINGS)) {
      const latencies: number[] = [];
      for (let i = 0; i < rounds; i++) {
        tamperWith(file);
        const ms = await healed(file);
        if (ms === undefined) lost += 1;
        else latencies.push(ms);
        await delay(APART_MS);
      }
      all.push(...latencies);
      rows.push({
        name: `file_${name}_healed_p50{files=${managed}}`,
        value: percentile(latencies, 50),
        unit: 'ms',
        budget: 2,
      });
      rows.push({
        name: `file_${name}_healed_p99{files=${managed}}`,
        value: percentile(latencies, 99),
        unit: 'ms',
        budget: 15,
      });
    }
    rows.push({ name: `file_healed_rounds{files=${managed}}`, value: all.length, unit: 'rounds' });
    rows.push({ name: `file_healed_lost{files=${managed}}`, value: lost, unit: 'rounds', budget: 0 });
    return rows;
  } finally {
    child.kill('SIGTERM');
    await once(child, 'exit');
    fs.rmSync(directory, { recursive: true, force: true });
  }
}
