// Budget: commit → rendered, 1,000 hosts × 20 documents, one file changed: 200 ms. Three layouts: every document
// for all hosts, each host with documents of its own, and the change in a file that all hosts take content from.
import { type Compilation, compile } from '../../controller/pipeline/compile.ts';
import { memorySnapshot, testKinds } from '../unit/controller/support.ts';

const HOSTS = Number(process.argv[2] ?? 1000);
const EACH = 20;
const ROUNDS = 30;

const document = (name: string, hosts: string, path: string, content: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\nhosts: ${hosts}\nspec:\n  path: ${path}\n  ${content}\n---\n`;

function base(): Record<string, string> {
  const files: Record<string, string> = {};
  for (let h = 0; h < HOSTS; h++) {
    files[`hosts/h${h}.yaml`] =
      `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: h${h}, labels: {alloy: apt}}\nspec: {address: 198.18.0.1, mode: enforce}\n`;
  }
  return files;
}

const layouts: Record<
  string,
  { files: Record<string, string>; change: (round: number) => Record<string, string> }
> = {
  'for all hosts, one static document changed': {
    files: Object.assign(
      base(),
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
  'for all hosts, one interpolated document changed': {
    files: Object.assign(
      base(),
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
  'documents of its own for each host, one changed': {
    files: Object.assign(
      base(),
      ...Array.from({ length: HOSTS }, (_, h) => ({
        [`own/h${h}.yaml`]: Array.from({ length: EACH }, (_, i) =>
          document(`h${h}-f${i}`, `{names: [h${h}]}`, `/etc/f${i}`, 'content: "x\\n"'),
        ).join(''),
      })),
    ),
    change: (round) => ({
      'own/h7.yaml': document('h7-f0', '{names: [h7]}', '/etc/f0', `content: "round ${round}"`),
    }),
  },
  'a 20 KiB contentFrom of all hosts changed': {
    files: Object.assign(
      base(),
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
};

for (const [name, { files, change }] of Object.entries(layouts)) {
  let start = performance.now();
  let last: Compilation = await compile(memorySnapshot(files), testKinds);
  const first = performance.now() - start;
  if (last.revision === undefined) throw new Error(last.diagnostics[0]?.message ?? 'refused');
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const snapshot = memorySnapshot({ ...files, ...change(round) }, `r${round}`);
    start = performance.now();
    last = await compile(snapshot, testKinds, last);
    times.push(performance.now() - start);
    if (last.revision === undefined) throw new Error(last.diagnostics[0]?.message ?? 'refused');
  }
  times.sort((a, b) => a - b);
  const at = (q: number): string =>
    times[Math.min(times.length - 1, Math.floor(times.length * q))]!.toFixed(1);
  console.log(`${name}: first ${first.toFixed(0)} ms, then p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
}
