// Commit → rendered, one file changed. Four layouts: one document of all hosts changed, be it the same for all or not,
// a document of one host, and a file that all hosts take content from.
import { createHash } from 'node:crypto';
import { type Compilation, compile } from '../../controller/pipeline/compile.ts';
import { memorySnapshot, testKinds } from '../unit/controller/support.ts';
import { median, percentileRows, type Row } from './statistics.ts';

const EACH = 20;
const ROUNDS = 30;

const document = (name: string, hosts: string, path: string, content: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\nhosts: ${hosts}\nspec:\n  path: ${path}\n  ${content}\n---\n`;

type Files = Record<string, string>;

function base(hosts: number): Files {
  const files: Files = {};
  for (let h = 0; h < hosts; h++) {
    files[`hosts/h${h}.yaml`] =
      `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: h${h}, labels: {alloy: apt}}\nspec: {address: 198.18.0.1, mode: enforce}\n`;
  }
  return files;
}

const layouts = (hosts: number): Record<string, { files: Files; change: (round: number) => Files }> => ({
  same_for_all: {
    files: Object.assign(
      base(hosts),
      ...Array.from({ length: EACH }, (_, i) => ({
        [`all/f${i}.yaml`]: document(
          `f${i}`,
          '{all: true}',
          `/etc/f${i}`,
          i % 2 ? 'content: "${host.name}\\n"' : 'content: "same\\n"',
        ),
      })),
    ),
    change: (round) => ({
      'all/f0.yaml': document('f0', '{all: true}', '/etc/f0', `content: "round ${round}"`),
    }),
  },
  interpolated: {
    files: Object.assign(
      base(hosts),
      ...Array.from({ length: EACH }, (_, i) => ({
        [`all/f${i}.yaml`]: document(
          `f${i}`,
          '{all: true}',
          `/etc/f${i}`,
          'content: "${host.name} ${host.address}\\n"',
        ),
      })),
    ),
    change: (round) => ({
      'all/f0.yaml': document('f0', '{all: true}', '/etc/f0', `content: "\${host.name} round ${round}"`),
    }),
  },
  one_host: {
    files: Object.assign(
      base(hosts),
      ...Array.from({ length: hosts }, (_, h) => ({
        [`own/h${h}.yaml`]: Array.from({ length: EACH }, (_, i) =>
          document(`h${h}-f${i}`, `{names: [h${h}]}`, `/etc/f${i}`, 'content: "x\\n"'),
        ).join(''),
      })),
    ),
    change: (round) => ({
      'own/h7.yaml': document('h7-f0', '{names: [h7]}', '/etc/f0', `content: "round ${round}"`),
    }),
  },
  content_from: {
    files: Object.assign(
      base(hosts),
      {
        'all/a.yaml': document('a', '{all: true}', '/etc/a', 'contentFrom: config.alloy'),
        'all/config.alloy': 'x'.repeat(20_000),
      },
      ...Array.from({ length: EACH - 1 }, (_, i) => ({
        [`all/f${i}.yaml`]: document(`f${i}`, '{all: true}', `/etc/f${i}`, 'content: "${host.name}\\n"'),
      })),
    ),
    change: (round) => ({ 'all/config.alloy': `round ${round} \${host.name} ` + 'x'.repeat(20_000) }),
  },
});

/** @param hosts each with twenty documents. @param each told of every layout, with its times. */
async function measure(hosts: number, each: (name: string, times: number[]) => void): Promise<void> {
  for (const [name, { files, change }] of Object.entries(layouts(hosts))) {
    let last: Compilation = await compile(memorySnapshot(files), testKinds);
    if (last.revision === undefined) throw new Error(last.diagnostics[0]?.message ?? 'refused');
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const snapshot = memorySnapshot({ ...files, ...change(round) }, `r${round}`);
      const start = performance.now();
      last = await compile(snapshot, testKinds, last);
      times.push(performance.now() - start);
      if (last.revision === undefined) throw new Error(last.diagnostics[0]?.message ?? 'refused');
    }
    each(name, times);
  }
}

export async function compileRows(hosts: number): Promise<Row[]> {
  const rows: Row[] = [];
  await measure(hosts, (name, times) => {
    const labels = `{hosts=${hosts},changed=${name}}`;
    rows.push(...percentileRows('commit_rendered', labels, times, 'ms', { p50: 200, p99: 200 }));
  });
  return rows;
}

/** How many times a change takes of what it takes to write and digest the payloads of all hosts once. */
export async function compileRatios(hosts: number, budget: number): Promise<Row[]> {
  const document = { spec: { path: '/etc/f', content: 'x\n' }, kind: 'File', name: 'f', dependsOn: [] };
  const payload = { host: 'h', resources: Array.from({ length: EACH }, () => document) };
  const writeAll = (): number => {
    const start = performance.now();
    for (let h = 0; h < hosts; h++) createHash('sha256').update(JSON.stringify(payload)).digest('hex');
    return performance.now() - start;
  };
  const rows: Row[] = [];
  await measure(hosts, (name, times) => {
    const baseline = median(Array.from({ length: ROUNDS }, writeAll));
    const labels = `{hosts=${hosts},changed=${name}}`;
    rows.push({ name: `commit_rendered_ratio${labels}`, value: median(times) / baseline, unit: 'x', budget });
  });
  return rows;
}
