// homeostat init: a first directory of manifests that is valid as it stands.
import fs from 'node:fs';
import type { Command } from 'commander';
import { readDirectory } from '../controller/source/directory.ts';
import { type GeneratedFile, writeGenerated } from './generated.ts';
import { directory, name } from './options.ts';

const FILES: Readonly<Record<string, (host: string) => string>> = {
  'fleet.yaml': () => `# What holds for all hosts.
apiVersion: homeostat.dev/v1
kind: Fleet
metadata:
  name: fleet
spec:
  vars:
    greeting: kept by homeostat
`,
  'hosts.yaml': (
    host,
  ) => `# One document a host. A host observes until this says mode: enforce: it reports what it would do, and
# touches nothing.
apiVersion: homeostat.dev/v1
kind: Host
metadata:
  name: ${JSON.stringify(host)}
  labels: {}
spec:
  mode: observe
`,
  'motd.yaml': () => `# A first resource. \`homeostat plan\` shows what it would change.
apiVersion: homeostat.dev/v1
kind: File
metadata:
  name: motd
hosts:
  all: true
spec:
  path: /etc/motd
  mode: "0644"
  content: |
    \${host.name}: \${vars.greeting}. Edit this in git.
`,
};

export function register(program: Command): void {
  program
    .command('init')
    .description('write a first directory of manifests')
    .argument('[dir]', 'where to', directory, 'manifests')
    .option('--host <name>', 'name of the first host', name, 'my-host')
    .action(init);
}

async function init(dir: string, { host }: { host: string }): Promise<void> {
  const beside = fs.existsSync(dir) ? readDirectory(dir).files : undefined;
  const files = Object.entries(FILES).map(([file, text]): [string, GeneratedFile] => [
    file,
    { bytes: text(host) },
  ]);
  await writeGenerated(dir, new Map(files), new Map(), beside);
  console.log(`wrote ${Object.keys(FILES).join(', ')} in ${dir}. Next:

  homeostat validate ${dir}                                  are the manifests right?
  homeostat plan --dir ${dir} --host ${host} --root /tmp/try     what would change in a sandbox?
  homeostat once --dir ${dir} --host ${host} --root /tmp/try     change it there

then commit them and let a controller serve them: homeostat controller --help`);
}
