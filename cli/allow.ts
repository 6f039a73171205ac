// homeostat allow: the grants that this host's manifest needs, with a reason each, for the host's owner to read and to
// paste into the agent's configuration. Nothing is written.
import { styleText } from 'node:util';
import type { Command } from 'commander';
import { type AgentConfig, ALLOW_EVERYTHING, readAgentConfig } from '../agent/config.ts';
import { createAgent, ownThings } from '../agent/main.ts';
import { createLog } from '../agent/providers/log.ts';
import {
  allowOf,
  byList,
  type Need,
  type Needs,
  needsOf,
  type ResourcePermissions,
} from '../agent/reconcile/needs.ts';
import type { Assignment } from '../agent/reconcile/world.ts';
import { hostConfig, localAssignment } from './local.ts';
import { inputDirectory, name, outputOption } from './options.ts';
import { CONFIG_OPTION } from './socket.ts';
import { data, table } from './table.ts';
import { VERSION } from './version.ts';

interface Options {
  readonly dir?: string;
  readonly host?: string;
  readonly config: string;
  readonly output: 'text' | 'json' | 'yaml';
  readonly unused?: boolean;
}

export function register(program: Command): void {
  program
    .command('allow')
    .description('print the grants that this host’s manifest needs, for its owner to read and paste')
    .requiredOption('--from-plan', 'of what the agent last got from its controller, as this host is now')
    .option('--dir <dir>', 'of a directory of manifests instead, without a controller', inputDirectory)
    .option(
      '--host <name>',
      'with --dir: which Host document this machine is; default: its configuration’s',
      name,
    )
    .addOption(CONFIG_OPTION)
    .addOption(outputOption('text', 'json', 'yaml'))
    .option('--unused', 'print only what is granted and not needed')
    .action(allow);
}

async function allow(options: Options): Promise<void> {
  const config = configOf(options);
  const found = await gather(config, options);
  if (found === undefined) {
    process.exitCode = 1;
    return;
  }
  const { resources, assignment } = found;
  const needs = needsOf(resources, { allow: config.allow, ...ownThings(config, options.config) });
  const { unknown } = needs;
  process.exitCode = unknown.length > 0 ? 2 : 0;
  if (options.unused === true) return await printUnused(needs, options);
  if (options.output !== 'text') {
    console.log(await data(allowOf(needs), options.output));
    for (const { key, unknown: why } of unknown) console.error(`${key} may need more: ${why}`);
    return;
  }
  const { sequence, commit } = assignment;
  const from = options.dir === undefined ? `revision ${sequence} (${commit.slice(0, 12)})` : options.dir;
  console.log(asText(`Host/${config.host}, by ${from}`, needs, options));
}

/** What this host is, and what it grants so far: nothing where it has no agent yet. */
function configOf({ dir, host, config }: Options): AgentConfig {
  if (dir !== undefined) return hostConfig(config, host);
  if (host !== undefined) throw new Error('--host goes with --dir; the agent’s configuration says who it is');
  return readAgentConfig(config);
}

/** @returns undefined when the manifests have errors; they have been printed. */
async function gather(
  { controller: _, ...config }: AgentConfig,
  { dir, config: configFile }: Options,
): Promise<{ resources: ResourcePermissions[]; assignment: Assignment } | undefined> {
  const assigned = dir === undefined ? undefined : await localAssignment(dir, config.host);
  if (dir !== undefined && assigned === undefined) return undefined;
  const open = { ...config, allow: ALLOW_EVERYTHING };
  const looks = { readOnly: true, configFile };
  const { agent, ports } = createAgent(open, VERSION, createLog('silent'), looks);
  try {
    const assignment = assigned ?? lastAssigned(agent.lastAssignment(), config);
    agent.preview(assignment);
    return { resources: await agent.permissions(), assignment };
  } finally {
    await agent.stop();
    await ports.close();
  }
}

function lastAssigned(assignment: Assignment | undefined, { stateDir }: AgentConfig): Assignment {
  if (assignment !== undefined) return assignment;
  throw new Error(
    `the agent has no manifest in ${stateDir} yet: start it and wait until its controller has sent one (homeostat status), or name a directory of manifests with --dir`,
  );
}

async function printUnused({ unused }: Needs, { output }: Options): Promise<void> {
  if (output !== 'text') console.log(await data(byList(unused), output));
  else console.log(unused.map(({ list, grant }) => `allow.${list}: ${grant}`).join('\n') || 'nothing');
}

function asText(title: string, needs: Needs, { config }: Options): string {
  const { unknown } = needs;
  const possible = needs.needs.filter(({ never }) => never === undefined);
  const never = needs.needs.filter((need) => need.never !== undefined);
  const [root, others] = [
    possible.filter(({ list }) => list === 'rootEquivalent'),
    possible.filter(({ list }) => list !== 'rootEquivalent'),
  ];
  const missing = possible.filter(({ grantedBy }) => grantedBy === undefined).length;
  return [
    `${title}: ${possible.length} grants, ${missing} of them missing (+)`,
    table(['', 'list', 'grant', 'needed by'], others.flatMap(rows)),
    ...section(
      'Root-equivalent: with one of these the manifest can do anything on this host',
      root.map((need) => `${mark(need)} ${need.grant}\n${need.by.map(because).join('\n')}`),
    ),
    ...section(
      'No grant gives these; change the documents',
      never.map((need) => `${need.grant}: ${need.never} (${need.by.map(({ key }) => key).join(', ')})`),
    ),
    ...section(
      'This host could not be asked about these yet; run this again once it can, they may need more',
      unknown.map(({ key, unknown: why }) => `${key}: ${why}`),
    ),
    ...section(
      'Granted, and not needed by this manifest; take them out',
      needs.unused.map(({ list, grant }) => `- allow.${list}: ${grant}`),
    ),
    '',
    `As "allow" in ${config}; then restart the agent:`,
    JSON.stringify(allowOf(needs), null, 2),
  ].join('\n');
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', styleText('bold', `${title}:`), ...lines.map((line) => `  ${line}`)];
}

function rows(need: Need): string[][] {
  const { list, grant, grantedBy, by } = need;
  const wider = grantedBy === undefined || grantedBy === grant ? '' : `  (you grant ${grantedBy})`;
  return by.map(({ key, why }, i) => {
    const reason = why.length === 0 ? key : `${key}: ${why.join('; ')}`;
    return i === 0 ? [mark(need), list, `${grant}${wider}`, reason] : ['', '', '', reason];
  });
}

function because({ key, why }: Need['by'][number]): string {
  return `      ${key}${why.length === 0 ? '' : `: ${why.join('; ')}`}`;
}

function mark({ grantedBy }: Need): string {
  return grantedBy === undefined ? '+' : '✓';
}
