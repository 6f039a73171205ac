// `homeostat import host`: documents of what this host has, to begin with. Nothing on the host is changed. Each
// document is checked, and planned against this very host: what `homeostat plan` would change is written as a
// comment, with the reason, so that what is taken over changes nothing.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { dump } from 'js-yaml';
import { AgentConfig, ALLOW_EVERYTHING } from '../../agent/config.ts';
import { createAgent, type OpenPorts } from '../../agent/main.ts';
import { createLog } from '../../agent/providers/log.ts';
import { Payload } from '../../api/bundle.ts';
import { formatDiagnostic, hasErrors } from '../../api/diagnostics.ts';
import { API_VERSION, Name } from '../../api/documents.ts';
import { kinds } from '../../kinds/index.ts';
import { describeChange } from '../../kinds/kind.ts';
import { compileGenerated, type GeneratedFile, writeGenerated } from '../generated.ts';
import { directory, each, inputDirectory, matching, name } from '../options.ts';
import { VERSION } from '../version.ts';
import { gatherAlloy } from './host/alloy.ts';
import { gatherDocker } from './host/docker.ts';
import { type Draft, doubted, draftText, type Gathered, keyOf } from './host/draft.ts';
import { gatherPackages } from './host/packages.ts';
import { gatherTailscale } from './host/tailscale.ts';
import { gatherUnits } from './host/units.ts';

interface Options {
  readonly out: string;
  readonly host: string;
  readonly unit?: string[];
  readonly root?: string;
  readonly docker?: string;
}

const unit = matching(/^[A-Za-z0-9:_.@\\-]{1,255}$/, 'Write the name of a unit, as alloy.service.');

export function registerHost(parent: Command): void {
  parent
    .command('host')
    .description('documents of what this host has: Alloy’s config, units, preferences, packages, containers')
    .option('--out <dir>', 'where to write', directory, 'imported')
    .addOption(
      new Option('--host <name>', 'name of the Host document')
        .default(defaultName(), 'this machine’s hostname, up to its first dot')
        .argParser(name),
    )
    .option('--unit <unit...>', 'further systemd units', each(unit))
    .option(
      '--docker <address>',
      'the Docker engine; default: DOCKER_HOST, or unix:///var/run/docker.sock',
      matching(
        /^(?:unix:\/\/\/\S+|tcp:\/\/[^/\s]+:\d+\/?)$/,
        'Write unix:///path of its socket, or tcp://address:port.',
      ),
    )
    .option('--root <dir>', 'a sandbox: files are looked for below it', inputDirectory)
    .addHelpText('after', '\nNothing on this host is changed. What looks like a secret is never written.')
    .action(run);
}

function defaultName(): string {
  const name = os.hostname().toLowerCase().split('.')[0] ?? '';
  return Name.safeParse(name).success ? name : 'my-host';
}

async function run(options: Options): Promise<void> {
  const { host } = options;
  const state = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-import-'));
  const config = AgentConfig.parse({
    host,
    stateDir: state,
    allow: ALLOW_EVERYTHING,
    ...(options.root === undefined ? {} : { root: path.resolve(options.root) }),
    ...(options.docker === undefined ? {} : { dockerHost: options.docker }),
  });
  const { agent, ports } = createAgent(config, VERSION, createLog('silent'), { readOnly: true });
  try {
    const { gathered, address } = await gather(options, ports);
    const hostFile = hostDocument(host, address);
    const valid = await Promise.all(
      gathered.flatMap((g) => g.drafts).map((draft) => checked(draft, hostFile)),
    );
    const drafts = await planned(valid, hostFile, host, agent);
    await writeGenerated(options.out, filesOf(drafts, hostFile));
    tell(
      options,
      drafts,
      gathered.flatMap((g) => g.notes),
    );
  } finally {
    await agent.stop();
    await ports.close();
    fs.rmSync(state, { recursive: true, force: true });
  }
}

async function gather(
  { host, unit = [], root }: Options,
  ports: OpenPorts,
): Promise<{ gathered: Gathered[]; address: string | undefined }> {
  const tailscale = await gatherTailscale(host, ports.tailscale);
  const lists = path.join(root ?? '/', 'etc/apt/sources.list.d');
  const sources = fs.existsSync(lists)
    ? fs.readdirSync(lists).map((f) => `/etc/apt/sources.list.d/${f}`)
    : [];
  const gathered = [
    await gatherAlloy(host, ports),
    await gatherUnits(host, ports, unit),
    tailscale,
    ...(kinds.has('Package') ? [gatherPackages(host, ports.files, sources)] : []),
    ...(kinds.has('Container') ? [await gatherDocker(host, ports.docker)] : []),
  ];
  return { gathered, address: tailscale.address };
}

function hostDocument(host: string, address: string | undefined): [file: string, content: GeneratedFile] {
  const document = dump({
    apiVersion: API_VERSION,
    kind: 'Host',
    metadata: { name: host },
    spec: { ...(address === undefined ? {} : { address }), mode: 'observe' },
  });
  const comment = '# It observes and touches nothing until this says mode: enforce.\n';
  return [`${host}/host.yaml`, { bytes: comment + document }];
}

/** A document that its own kind refuses goes in as a comment. */
async function checked(draft: Draft, hostFile: [string, GeneratedFile]): Promise<Draft> {
  const files = filesOf([{ ...draft, doubt: undefined } as unknown as Draft], hostFile);
  const { diagnostics } = await compileGenerated(files);
  if (!hasErrors(diagnostics)) return draft;
  return doubted(
    draft,
    `it would not be valid:\n${diagnostics.map((d) => `  ${formatDiagnostic(d)}`).join('\n')}`,
  );
}

/** What this host would be changed by goes in as a comment. */
async function planned(
  drafts: readonly Draft[],
  hostFile: [string, GeneratedFile],
  host: string,
  agent: ReturnType<typeof createAgent>['agent'],
): Promise<Draft[]> {
  const { revision } = await compileGenerated(filesOf(drafts, hostFile));
  const payloadText = revision?.hosts.get(host)?.payloadText;
  if (revision === undefined || payloadText === undefined) return [...drafts];
  const payload = Payload.parse(JSON.parse(payloadText));
  agent.preview({ sequence: 1, commit: revision.commit, payload });
  const plans = new Map((await agent.plan()).map((plan) => [plan.key, plan]));
  return drafts.map((draft) => {
    const plan = plans.get(keyOf(draft));
    if (plan?.error !== undefined)
      return doubted(draft, `it could not be compared with this host: ${plan.error}`);
    if (plan === undefined || plan.changes.length === 0) return draft;
    const changes = plan.changes.map((change) => `  ${describeChange(change)}`).join('\n');
    return doubted(draft, `it would change this host:\n${changes}`);
  });
}

/** Documents of one file stand together, those that are comments at its end. */
function filesOf(drafts: readonly Draft[], hostFile: [string, GeneratedFile]): Map<string, GeneratedFile> {
  const files = new Map<string, GeneratedFile>([hostFile]);
  for (const [file, together] of Map.groupBy(drafts, (draft) => draft.file)) {
    const taken = together.filter((draft) => draft.doubt === undefined);
    const comments = together.filter((draft) => draft.doubt !== undefined);
    files.set(file, {
      bytes: [taken.map(draftText).join('---\n'), ...comments.map(draftText)].join('\n').trimStart(),
    });
    for (const { beside = [] } of taken) for (const [name, bytes] of beside) files.set(name, { bytes });
  }
  return files;
}

function tell({ out, host }: Options, drafts: readonly Draft[], notes: readonly string[]): void {
  const taken = drafts.filter((draft) => draft.doubt === undefined);
  console.log(`wrote ${out}: Host/${host}${taken.map((draft) => `, ${keyOf(draft)}`).join('')}`);
  for (const draft of drafts.filter((d) => d.doubt !== undefined)) {
    console.log(
      `not taken over, in ${draft.file} as a comment: ${keyOf(draft)}: ${draft.doubt?.split('\n')[0]}`,
    );
  }
  for (const note of notes) console.log(`note: ${note}`);
  console.log(`\nnext: homeostat validate ${out} && homeostat plan --dir ${out} --host ${host}`);
}
