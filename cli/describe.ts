// `homeostat describe host NAME`: everything that a controller knows of one host.
import type { Command } from 'commander';
import * as z from 'zod';
import {
  concernsOf,
  longPassOf,
  messageOf,
  resourceReason,
  resourceState,
  shownState,
} from '../api/health.ts';
import { AgentStatus } from '../api/status.ts';
import type { HostView } from '../controller/fleet/view.ts';
import { ask, type ClientOptions, clientOptions } from './controller-client.ts';
import { type Format, name, outputOption } from './options.ts';
import { data, table } from './table.ts';

type HostAnswer = HostView & { readonly status: AgentStatus | null };

/** What is read of it here. */
const Revision = z.object({ commit: z.string(), sequence: z.number() });
const Shown = z.object({
  name: z.string(),
  labels: z.record(z.string(), z.string()),
  desired: Revision,
  running: Revision,
  status: AgentStatus.nullable(),
});

function isHostAnswer(value: unknown): value is HostAnswer {
  return Shown.safeParse(value).success;
}

export function register(program: Command): void {
  const describe = program.command('describe').description('show one thing in full');
  clientOptions(
    describe
      .command('host')
      .description('show a host with its resources, conditions and events')
      .argument('<name>', 'of its Host document', name),
  )
    .addOption(outputOption('text', 'json', 'yaml'))
    .action(async (name: string, options: ClientOptions & { output: Format }) => {
      const host = await ask(options, `/v1/hosts/${encodeURIComponent(name)}`, isHostAnswer);
      const { output } = options;
      console.log(output === 'json' || output === 'yaml' ? await data(host, output) : text(host));
    });
}

function text(host: HostAnswer): string {
  const revision = ({ commit, sequence }: HostView['desired']): string =>
    sequence === 0 ? '-' : `${commit.slice(0, 12)} (sequence ${sequence})`;
  const labels = Object.entries(host.labels).map(([key, value]) => `${key}=${value}`);
  const facts: [string, string][] = [
    ['Name', host.name],
    ['State', `${host.state}: ${host.reason}`],
    ['Mode', host.mode],
    ['Address', host.address || '-'],
    ['Labels', labels.join(', ') || '-'],
    ['Desired', revision(host.desired)],
    ['Running', revision(host.running)],
    ['Last seen', host.lastSeen || 'never'],
    ['Agent', `${host.agentVersion} ${host.platform}`.trim() || '-'],
  ];
  const lines = [facts.map(([key, value]) => `${`${key}:`.padEnd(11)}${value}`).join('\n')];
  const { status } = host;
  if (status === null) return lines.join('\n');
  const conditions = status.conditions.map((c) => [c.type, c.status, c.reason, c.message]);
  if (conditions.length > 0) lines.push('', table(['CONDITION', 'STATUS', 'REASON', 'MESSAGE'], conditions));
  const resources = status.resources.map((r) => {
    const state = resourceState(r.conditions, status.at);
    const longPass = longPassOf(r);
    const concerns = concernsOf(r.conditions).map((c) => `${c.type}: ${c.message}`);
    const detail = [...(state === 'Ready' ? [] : [messageOf(r)]), longPass, ...concerns];
    return [
      r.key,
      shownState(state, status.mode),
      resourceReason(r.conditions),
      String(r.healedTotal),
      r.source,
      detail.filter((part) => part !== '').join('; '),
    ];
  });
  for (const b of status.brief ?? []) {
    const names = b.more === 0 ? b.keys.join(', ') : [...b.keys, `${b.more} more`].join(', ');
    const shown = shownState(b.state, status.mode);
    resources.push([
      `${b.keys.length + b.more} without detail`,
      shown,
      b.reason,
      String(b.healedTotal),
      '',
      names,
    ]);
  }
  if (resources.length > 0)
    lines.push('', table(['RESOURCE', 'STATE', 'REASON', 'HEALED', 'IN GIT', 'MESSAGE'], resources));
  const events = status.events
    .slice(-20)
    .reverse()
    .map((e) => [e.at, e.type, e.key, e.reason, e.message]);
  if (events.length > 0) lines.push('', table(['EVENT', 'TYPE', 'RESOURCE', 'REASON', 'MESSAGE'], events));
  return lines.join('\n');
}
