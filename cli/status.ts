// homeostat status: what the agent on this host says of itself.
import { styleText } from 'node:util';
import type { Command } from 'commander';
import * as z from 'zod';
import {
  concernsOf,
  GOOD_STATES,
  type Health,
  type HostState,
  hostHealth,
  isTrouble,
  longPassOf,
  messageOf,
  reportOf,
  resourceReason,
  resourceState,
  shownState,
  worstFirst,
} from '../api/health.ts';
import { AgentStatus, type BriefStatus, findCondition, type ResourceStatus } from '../api/status.ts';
import { count } from '../api/words.ts';
import { type Format, outputOption } from './options.ts';
import { askAgentFor, CONFIG_OPTION, SOCKET_OPTION, type SocketOptions } from './socket.ts';
import { data } from './table.ts';

const Answer = z.looseObject({ status: AgentStatus });

export function register(program: Command): void {
  program
    .command('status')
    .description('show what the agent on this host keeps, and how it stands')
    .addOption(outputOption('table', 'wide', 'json', 'yaml'))
    .addOption(SOCKET_OPTION)
    .addOption(CONFIG_OPTION)
    .action(async (options: SocketOptions & { output: Format }) => {
      const { output } = options;
      const answer = await askAgentFor(Answer, options, '/v1/status');
      const { status } = answer;
      if (output === 'json' || output === 'yaml') console.log(await data(answer, output));
      else console.log(describe(status, output === 'wide'));
      const { ready, total } = reportOf(status).tally;
      const isWell = ready === total && GOOD_STATES.has(healthHere(status).state);
      process.exitCode = isWell ? 0 : 2;
    });
}

/** The host's word, as its controller would say it of what this agent reports. */
export function healthHere(status: AgentStatus): Health {
  const sequence = status.sequence.desired;
  const isInGit = findCondition(status.conditions, 'Assigned')?.status !== 'False';
  return hostHealth({
    name: status.host,
    assigned: !isInGit ? 'not in git' : sequence === 0 ? 'nothing yet' : sequence,
    silentMs: 0,
    report: reportOf(status),
  });
}

/** @param wide with where each resource is in git, what runs, and what differs. */
export function describe(status: AgentStatus, wide = false): string {
  const { desired, running } = status.sequence;
  const commit = status.commit.desired.slice(0, 12) || 'no manifest yet';
  const revision =
    desired === running
      ? `${commit}${desired === 0 ? '' : ', running'}`
      : `${commit}, asked for; running: ${status.commit.running.slice(0, 12) || 'none'}`;
  const { state, reason } = healthHere(status);
  const { ready, total } = reportOf(status).tally;
  const [mark, color] = LOOKS[state];
  const lines = [
    `${status.host}  mode ${status.mode}  ${revision}`,
    styleText(color, `${mark} ${state}: ${reason}`),
  ];
  for (const c of status.conditions.filter(isTrouble)) {
    lines.push(styleText('yellow', `${c.type}: ${c.reason}: ${c.message}`));
  }
  if (total > 0) lines.push('', `${ready} of ${count(total, 'resource')} ready`);
  const width = Math.max(8, ...status.resources.map((r) => r.key.length));
  for (const r of worstFirst(status)) {
    lines.push(...resourceLines(r, status, width), ...(wide ? wideLines(r) : []));
  }
  for (const b of status.brief ?? []) lines.push(briefLine(b, status.mode));
  return lines.join('\n');
}

function resourceLines(r: ResourceStatus, { mode, at }: AgentStatus, width: number): string[] {
  const state = resourceState(r.conditions, at);
  const [mark, color] = LOOKS[shownState(state, mode)];
  const healed = r.healedTotal > 0 ? `  healed ${r.healedTotal}×` : '';
  const detail = state === 'Ready' ? '' : `  ${messageOf(r)}`;
  const reason = resourceReason(r.conditions).padEnd(10);
  const longPass = longPassOf(r);
  return [
    `${styleText(color, mark)} ${r.key.padEnd(width)}  ${reason}${healed}${detail}`.trimEnd(),
    ...(longPass === '' ? [] : [styleText('yellow', `  ${longPass}`)]),
    ...concernsOf(r.conditions).map((c) => styleText('yellow', `  ${c.type}: ${c.message}`)),
  ];
}

function wideLines(r: ResourceStatus): string[] {
  const runs = r.runningDigest === '' ? 'nothing was confirmed' : `confirmed ${r.runningDigest.slice(0, 12)}`;
  return [`    ${r.source}, ${runs}`, ...r.drift.map((line) => `    ${line}`)];
}

function briefLine(b: BriefStatus, mode: AgentStatus['mode']): string {
  const [mark, color] = LOOKS[shownState(b.state, mode)];
  return `${styleText(color, mark)} ${b.keys.length + b.more} more ${b.reason}, without detail: ${b.keys.join(', ')}`;
}

const LOOKS: Readonly<
  Record<HostState, readonly [mark: string, color: 'green' | 'yellow' | 'red' | 'cyan']>
> = {
  Ready: ['✓', 'green'],
  Observing: ['◉', 'cyan'],
  Suspended: ['‖', 'yellow'],
  Unassigned: ['∅', 'yellow'],
  Settling: ['…', 'yellow'],
  Drifted: ['≠', 'yellow'],
  Unseen: ['?', 'yellow'],
  StatusRefused: ['✗', 'red'],
  Degraded: ['✗', 'red'],
  RolledBack: ['✗', 'red'],
  UndoFailing: ['✗', 'red'],
};
